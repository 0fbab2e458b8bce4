//! `histogram_quantile` and `histogram_fraction` of classic histograms: buckets as series with `le`.

use std::collections::HashMap;

use super::{Evaluator, Result, Row, Steps, Table, fail};
use crate::ast::{Call, Expr};
use crate::functions::Name;
use crate::labels::{Labels, METRIC_NAME, quote};
use crate::number::{STALE, format_value};

/// The label of a bucket's upper bound.
const BOUND: &str = "le";

/// Differences of counts that are taken for rounding.
const TOLERANCE: f64 = 1e-12;

/// A cumulative bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The buckets of one histogram: rows of the table with their bounds, sorted.
struct Histogram {
    labels: Labels,
    name: String,
    rows: Vec<(f64, usize)>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn histogram(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        match (call.function.name, call.args.as_slice()) {
            (Name::HistogramQuantile, [q, vector]) => {
                let q_values = self.evaluate_scalar(q, steps)?;
                q_values
                    .iter()
                    .for_each(|value| self.check_quantile(*value, q.span));
                let table = self.vector_arg(call, 1, steps)?;
                let histograms = self.histograms(&table, vector);
                let mut out = Table::empty(self.budget, steps.count);
                for histogram in &histograms {
                    let row = self.quantiles_of(histogram, &table, &q_values, vector)?;
                    out.push(row)?;
                }
                out.merge()?;
                Ok(out)
            }
            (Name::HistogramQuantiles, [vector, _, quantiles @ ..]) => {
                self.many_quantiles(call, vector, quantiles, steps)
            }
            (_, [lower, upper, vector]) => {
                let lower = self.evaluate_scalar(lower, steps)?;
                let upper = self.evaluate_scalar(upper, steps)?;
                let table = self.vector_arg(call, 2, steps)?;
                let mut out = Table::empty(self.budget, steps.count);
                for histogram in &self.histograms(&table, vector) {
                    let bounds: Vec<_> = lower.iter().copied().zip(upper.iter().copied()).collect();
                    let values =
                        self.over_steps(histogram, &table, &bounds, |buckets, (low, high)| {
                            fraction(low, high, buckets)
                        })?;
                    out.push(Row {
                        labels: histogram.labels.clone(),
                        values,
                    })?;
                }
                out.merge()?;
                Ok(out)
            }
            _ => fail("unsupported expression: wrong arguments of a histogram function"),
        }
    }

    /// `histogram_quantiles(vector, "label", q, …)`: one series per quantile, told apart by a label.
    fn many_quantiles(
        &self,
        call: &Call,
        vector: &Expr,
        quantiles: &[Expr],
        steps: Steps,
    ) -> Result<Table<'a>> {
        let label = String::from_utf8_lossy(self.text_arg(call, 1)?).into_owned();
        if label.is_empty() || label == METRIC_NAME {
            return fail(format!("invalid label name {}", quote(label.as_bytes())));
        }
        let table = self.vector_arg(call, 0, steps)?;
        let histograms = self.histograms(&table, vector);
        let mut out = Table::empty(self.budget, steps.count);
        for q in quantiles {
            let q_values = self.evaluate_scalar(q, steps)?;
            q_values
                .iter()
                .for_each(|value| self.check_quantile(*value, q.span));
            let text = format_value(q_values.first().copied().unwrap_or(f64::NAN));
            for histogram in &histograms {
                let mut row = self.quantiles_of(histogram, &table, &q_values, vector)?;
                let mut labels = row.labels.to_builder();
                labels.set(label.as_str(), text.as_str());
                row.labels = labels.build();
                out.push(row)?;
            }
        }
        out.merge()?;
        Ok(out)
    }

    /// Series that differ only in their bound, together.
    fn histograms(&self, table: &Table<'_>, vector: &Expr) -> Vec<Histogram> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut found: Vec<Histogram> = Vec::new();
        for (index, row) in table.rows.iter().enumerate() {
            let text = row.labels.get(BOUND).unwrap_or_default();
            let Some(bound) = text.parse::<f64>().ok() else {
                self.warn_of_bound(row, text, vector);
                continue;
            };
            let with_name = row.labels.without(|name| name == BOUND);
            let place = *places.entry(with_name).or_insert_with_key(|with_name| {
                found.push(Histogram {
                    labels: with_name.without_name(),
                    name: with_name.metric_name().to_owned(),
                    rows: Vec::new(),
                });
                found.len() - 1
            });
            if let Some(histogram) = found.get_mut(place) {
                histogram.rows.push((bound, index));
            }
        }
        for histogram in &mut found {
            histogram.rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        found
    }

    fn warn_of_bound(&self, row: &Row, text: &str, vector: &Expr) {
        let name = row.labels.metric_name();
        let mut message = format!(
            "bucket label \"le\" is missing or has a malformed value of {}",
            quote(text.as_bytes())
        );
        if !name.is_empty() {
            message.push_str(&format!(" for metric name {}", quote(name.as_bytes())));
        }
        self.warn(vector.span, message);
    }

    fn quantiles_of(
        &self,
        histogram: &Histogram,
        table: &Table<'_>,
        q: &[f64],
        vector: &Expr,
    ) -> Result<Row> {
        let forced = std::cell::Cell::new(false);
        let values = self.over_steps(histogram, table, q, |buckets, q| {
            let (value, was_forced) = quantile(q, buckets);
            forced.set(forced.get() || was_forced);
            value
        })?;
        if forced.get() {
            let mut message = "input to histogram_quantile needed to be fixed for monotonicity \
                (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
                .to_owned();
            if !histogram.name.is_empty() {
                message.push_str(&format!(
                    " for metric name {}",
                    quote(histogram.name.as_bytes())
                ));
            }
            self.inform(vector.span, message);
        }
        Ok(Row {
            labels: histogram.labels.clone(),
            values,
        })
    }

    /// One value per step that has a bucket.
    fn over_steps<P: Copy>(
        &self,
        histogram: &Histogram,
        table: &Table<'_>,
        parameters: &[P],
        compute: impl Fn(&mut Vec<Bucket>, P) -> f64,
    ) -> Result<Vec<f64>> {
        self.budget.check()?;
        let mut buckets = Vec::with_capacity(histogram.rows.len());
        let mut values = Vec::with_capacity(parameters.len());
        for (step, parameter) in parameters.iter().enumerate() {
            buckets.clear();
            let counts = histogram.rows.iter().filter_map(|(bound, row)| {
                let count = table.rows.get(*row)?.at(step)?;
                Some(Bucket {
                    bound: *bound,
                    count,
                })
            });
            buckets.extend(counts);
            values.push(if buckets.is_empty() {
                STALE
            } else {
                compute(&mut buckets, *parameter)
            });
        }
        Ok(values)
    }
}

/// Adds up buckets of the same bound; the input is sorted.
fn coalesce(buckets: &mut Vec<Bucket>) {
    #[expect(
        clippy::float_cmp,
        reason = "bounds are the same number or another bucket"
    )]
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Makes counts rise: tiny differences are rounding, others are remarked.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets.first().map_or(0.0, |bucket| bucket.count);
    for bucket in buckets.iter_mut().skip(1) {
        #[expect(clippy::float_cmp, reason = "equal counts need no correction")]
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The quantile, and whether counts had to be made rising.
fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if buckets
        .last()
        .is_none_or(|last| last.bound != f64::INFINITY)
    {
        return (f64::NAN, false);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let value = match buckets.as_slice() {
        [head @ .., second, top] if top.count != 0.0 => within(q * top.count, head, *second),
        _ => f64::NAN,
    };
    (value, forced)
}

/// The value below which `rank` observations lie; `head` and `second` are all finite buckets.
fn within(rank: f64, head: &[Bucket], second: Bucket) -> f64 {
    let mut below = Bucket {
        bound: 0.0,
        count: 0.0,
    };
    for (index, bucket) in head.iter().chain([&second]).enumerate() {
        if bucket.count >= rank {
            if index == 0 && bucket.bound <= 0.0 {
                return bucket.bound;
            }
            let share = (rank - below.count) / (bucket.count - below.count);
            return below.bound + (bucket.bound - below.bound) * share;
        }
        below = *bucket;
    }
    second.bound
}

/// The share of observations between two values.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets
        .last()
        .is_none_or(|last| last.bound != f64::INFINITY)
    {
        return f64::NAN;
    }
    coalesce(buckets);
    let total = buckets.last().map_or(0.0, |last| last.count);
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total
}

/// How many observations lie below a value.
fn rank_of(value: f64, buckets: &[Bucket], total: f64) -> f64 {
    let starts_at_zero = buckets.first().is_some_and(|first| first.bound > 0.0);
    let mut start = if starts_at_zero {
        0.0
    } else {
        f64::NEG_INFINITY
    };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= value {
            break;
        }
        if bucket.bound > value {
            rank += (bucket.count - rank) * (value - start) / (bucket.bound - start);
            return rank.min(total);
        }
        (start, rank) = (bucket.bound, bucket.count);
    }
    if start >= value {
        rank.min(total)
    } else {
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(bound, count)| Bucket {
                bound: *bound,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn quantiles_lie_on_the_line_within_a_bucket() {
        let mut all = buckets(&[(1.0, 10.0), (2.0, 20.0), (f64::INFINITY, 20.0)]);
        assert_eq!(quantile(0.75, &mut all).0, 1.5);
        assert_eq!(quantile(0.25, &mut all).0, 0.5);
    }

    #[test]
    fn falling_counts_are_raised_and_remarked() {
        let mut all = buckets(&[(1.0, 10.0), (2.0, 5.0), (f64::INFINITY, 20.0)]);
        assert!(quantile(0.4, &mut all).1);
    }

    #[test]
    fn fractions_count_from_zero_if_the_first_bound_is_positive() {
        let mut all = buckets(&[(1.0, 10.0), (f64::INFINITY, 20.0)]);
        assert_eq!(fraction(0.0, 0.5, &mut all), 0.25);
        assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY, &mut all), 1.0);
    }
}
