//! What steps answer in the place of samples.
//!
//! Each PromQL function gets the aggregate that suits it. With the values go the numbers of samples
//! that they stand for, so that counts, sums and means weigh them; the evaluator says in the answer
//! that steps gave it.

use std::cmp::Ordering;

use super::{AGGREGATES, FINE_MS};
use crate::chunk::Points;

/// Places of the aggregates that are asked for by name.
const LAST: usize = 0;
const COUNT: usize = 5;
const AGE: usize = 6;

/// Which value of a step answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A counter's growth is asked for: a counter without resets that ends at the last value.
    Growth,
    Least,
    Greatest,
    /// A value at a time is asked for: the last one if it is kept, otherwise the mean.
    Last,
    /// The mean; the last value of what is kept as a counter only.
    Usual,
}

/// Steps as points, ascending, and how many samples each stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) points: Points,
    pub(crate) counts: Vec<f64>,
    /// Whether they are a counter's values at the ends of its steps.
    pub(crate) are_ends: bool,
}

impl Answer {
    /// What suits a PromQL function or aggregation, over a window or at a time.
    pub(crate) fn to(function: &str, is_window: bool) -> Self {
        match function {
            "rate" | "increase" | "irate" => Self::Growth,
            "min_over_time" | "min" => Self::Least,
            "max_over_time" | "max" => Self::Greatest,
            "last_over_time" => Self::Last,
            _ if is_window => Self::Usual,
            _ => Self::Last,
        }
    }

    /// Whether a rollup may answer although the samples are there: only where the answer is the same
    /// but for what lies within a step of the window's ends. Everything else (a value at a time, a
    /// count, a quantile, what changed) would be another figure.
    pub(crate) fn is_faithful(function: &str) -> bool {
        matches!(
            function,
            "rate" | "increase" | "min_over_time" | "max_over_time"
        )
    }

    /// Whether an aggregate is needed for it.
    pub(crate) fn needs(self, number: usize) -> bool {
        let of_counter = matches!(number, LAST | AGE);
        of_counter
            || match self {
                Self::Growth => matches!(number, 1 | 4 | COUNT),
                Self::Least => number == 2,
                Self::Greatest => number == 3,
                Self::Usual | Self::Last => matches!(number, 4 | COUNT),
            }
    }

    /// The rows of a series, from the aggregates of its steps; where the one that suits is not kept,
    /// another stands in. If `step_ms` is not zero, each row is shown as rows of five minutes, because an
    /// instant selector looks back no further.
    pub(crate) fn rows(self, lanes: &mut [Points; AGGREGATES], step_ms: i64) -> Rows {
        join_last(lanes);
        for (number, lane) in lanes.iter_mut().enumerate() {
            join_equal(number, lane);
        }
        let [last, increase, least, greatest, sum, count, _] = lanes;
        let has_ends = !last.is_empty();
        let (suits, otherwise) = match self {
            Self::Growth if has_ends => {
                (growth(last, increase, means(sum, count)), Points::default())
            }
            Self::Growth => (Points::default(), means(sum, count)),
            Self::Least => (std::mem::take(least), std::mem::take(last)),
            Self::Greatest => (std::mem::take(greatest), std::mem::take(last)),
            Self::Last => (std::mem::take(last), means(sum, count)),
            Self::Usual => (means(sum, count), std::mem::take(last)),
        };
        let are_ends = has_ends && (matches!(self, Self::Growth | Self::Last) || suits.is_empty());
        let points = filled(suits, otherwise);
        let counts = counts_of(&points, count);
        let rows = Rows {
            points,
            counts,
            are_ends,
        };
        if step_ms > FINE_MS as i64 {
            finer(&rows, step_ms, self == Self::Growth)
        } else {
            rows
        }
    }
}

impl Answer {
    /// A step's value with a sample at its end, or with another step of the same end; each comes with
    /// the number of samples that it stands for.
    pub(crate) fn joined(self, is_counter: bool, one: (f64, f64), other: (f64, f64)) -> f64 {
        match self {
            // No sample of a step is later than one at its end.
            _ if is_counter => other.0,
            Self::Least => one.0.min(other.0),
            Self::Greatest => one.0.max(other.0),
            _ => (one.0 * one.1 + other.0 * other.1) / (one.1 + other.1),
        }
    }
}

fn means(sum: &mut Points, count: &Points) -> Points {
    let counts = counts_of(sum, count);
    let values = sum.values.iter().zip(counts);
    let values = values.map(|(sum, count)| sum / count.max(1.0)).collect();
    Points {
        times: std::mem::take(&mut sum.times),
        values,
    }
}

/// The rows of `suits`, and those of `otherwise` at times that it lacks: what is kept may change from day
/// to day.
fn filled(suits: Points, otherwise: Points) -> Points {
    if suits.is_empty() || otherwise.is_empty() || suits.times == otherwise.times {
        return if suits.is_empty() { otherwise } else { suits };
    }
    let is_lacking = |row: &(i64, f64)| suits.times.binary_search(&row.0).is_err();
    let mut rows: Vec<(i64, f64)> = otherwise.iter().filter(is_lacking).collect();
    rows.extend(suits.iter());
    rows.sort_by_key(|row| row.0);
    let mut all = Points::with_capacity(rows.len());
    rows.into_iter()
        .for_each(|(time_ms, value)| all.push(time_ms, value));
    all
}

/// The number of samples of each row; 1 where none was kept or is needed.
fn counts_of(rows: &Points, count: &Points) -> Vec<f64> {
    if rows.times == count.times {
        return count.values.clone();
    }
    let at = |time_ms: &i64| {
        let place = count.times.binary_search(time_ms).ok()?;
        count.values.get(place).copied()
    };
    let counts = rows.times.iter().map(at);
    counts.map(|known| known.unwrap_or(1.0)).collect()
}

fn ascends(times: &[i64]) -> bool {
    let ascend = |pair: &[i64]| matches!(pair, [left, right] if left < right);
    times.windows(2).all(ascend)
}

/// What two values of one step make, when late samples have a rollup of their own.
fn join(number: usize, one: f64, other: f64) -> f64 {
    match number {
        LAST | 3 => one.max(other),
        2 | AGE => one.min(other),
        _ => one + other,
    }
}

/// Of the last values of one step, that of the latest sample stays. Rows of earlier releases do not
/// say when that was; of those the greatest stays.
fn join_last(lanes: &mut [Points; AGGREGATES]) {
    let [last, .., age] = lanes;
    if ascends(&last.times) || last.times != age.times {
        return;
    }
    let told = last.iter().zip(&age.values);
    let mut rows: Vec<(i64, f64, f64)> = told
        .map(|((time_ms, value), &age)| (time_ms, age, value))
        .collect();
    let by_age = |one: f64, other: f64| one.partial_cmp(&other).unwrap_or(Ordering::Equal);
    rows.sort_by(|one, other| one.0.cmp(&other.0).then(by_age(one.1, other.1)));
    rows.dedup_by_key(|row| row.0);
    last.clear();
    age.clear();
    for (time_ms, distance, value) in rows {
        last.push(time_ms, value);
        age.push(time_ms, distance);
    }
}

fn join_equal(number: usize, lane: &mut Points) {
    if ascends(&lane.times) {
        return;
    }
    let mut rows: Vec<(i64, f64)> = lane.iter().collect();
    rows.sort_by_key(|row| row.0);
    lane.clear();
    for (time_ms, value) in rows {
        match (lane.times.last(), lane.values.last_mut()) {
            (Some(&last), Some(known)) if last == time_ms => {
                *known = join(number, *known, value);
            }
            _ => lane.push(time_ms, value),
        }
    }
}

/// A counter without its resets. A day of which only what suits a gauge is kept lends its means, which must
/// be in line with the rest before resets are taken out: a mean between rows that were shifted looks like the
/// growth of the whole counter.
fn growth(last: &mut Points, increase: &Points, means: Points) -> Points {
    let known: std::collections::HashMap<i64, f64> = last
        .times
        .iter()
        .copied()
        .zip(increase.values.iter().copied())
        .collect();
    let last = filled(std::mem::take(last), means);
    let increases = last.times.iter();
    let values = increases.map(|time_ms| known.get(time_ms).copied().unwrap_or(0.0));
    let increase = Points {
        times: last.times.clone(),
        values: values.collect(),
    };
    without_resets(&last, &increase)
}

/// A counter that never goes down and ends at the true last value, so that samples that follow
/// continue it.
fn without_resets(last: &Points, increase: &Points) -> Points {
    let mut values = last.values.clone();
    for index in (1..values.len()).rev() {
        let told = |points: &Points, index: usize| points.values.get(index).copied().unwrap_or(0.0);
        // Growth between two days is in neither day's steps, but in the difference.
        let between = told(last, index) - told(last, index - 1);
        let grown = told(increase, index).max(between);
        let now = values.get(index).copied().unwrap_or(0.0);
        if let Some(before) = values.get_mut(index - 1) {
            *before = now - grown;
        }
    }
    Points {
        times: last.times.clone(),
        values,
    }
}

fn finer(rows: &Rows, step_ms: i64, is_line: bool) -> Rows {
    let fine_ms = FINE_MS as i64;
    let parts = (step_ms / fine_ms).max(1);
    let mut shown = Rows {
        are_ends: rows.are_ends,
        ..Rows::default()
    };
    let mut before: Option<(i64, f64)> = None;
    for ((time_ms, value), count) in rows.points.iter().zip(&rows.counts) {
        let start = before.filter(|(earlier, _)| *earlier == time_ms - step_ms);
        for part in 1..=parts {
            let share = part as f64 / parts as f64;
            let value = match start {
                Some((_, earlier)) if is_line => earlier + (value - earlier) * share,
                _ => value,
            };
            shown.points.push(time_ms - (parts - part) * fine_ms, value);
            shown.counts.push(count / parts as f64);
        }
        before = Some((time_ms, value));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rows: &[(i64, f64)]) -> Points {
        let mut points = Points::default();
        rows.iter()
            .for_each(|&(time_ms, value)| points.push(time_ms, value));
        points
    }

    #[test]
    fn growth_between_two_days_is_not_lost() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        lanes[0] = points(&[(300_000, 100.0), (600_000, 150.0)]);
        lanes[1] = points(&[(300_000, 10.0), (600_000, 20.0)]);
        let grown = Answer::Growth.rows(&mut lanes, 300_000).points;
        assert_eq!(grown, points(&[(300_000, 100.0), (600_000, 150.0)]));
    }

    #[test]
    fn rows_of_an_hour_are_shown_every_five_minutes() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        lanes[0] = points(&[(3_600_000, 12.0), (7_200_000, 24.0)]);
        lanes[1] = points(&[(3_600_000, 12.0), (7_200_000, 12.0)]);
        let grown = Answer::Growth.rows(&mut lanes, 3_600_000).points;
        assert_eq!(grown.len(), 24);
        assert_eq!(grown.iter().nth(12), Some((3_900_000, 13.0)));
    }

    #[test]
    fn rows_of_five_minutes_made_of_an_hour_share_its_samples() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        lanes[4] = points(&[(3_600_000, 480.0)]);
        lanes[5] = points(&[(3_600_000, 240.0)]);
        let rows = Answer::Usual.rows(&mut lanes, 3_600_000);
        assert_eq!(rows.counts, [20.0; 12]);
        assert_eq!(rows.points.values, [2.0; 12]);
    }

    #[test]
    fn late_samples_join_the_step_that_they_belong_to() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        lanes[4] = points(&[(300_000, 6.0), (600_000, 1.0), (300_000, 4.0)]);
        lanes[5] = points(&[(300_000, 3.0), (600_000, 1.0), (300_000, 2.0)]);
        let rows = Answer::Usual.rows(&mut lanes, 300_000);
        assert_eq!(rows.points, points(&[(300_000, 2.0), (600_000, 1.0)]));
        assert_eq!(rows.counts, [5.0, 1.0]);
    }

    #[test]
    fn of_two_last_values_of_a_step_the_later_one_stays_however_small() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        // The counter was reset, and what it said before came late.
        lanes[0] = points(&[(300_000, 5.0), (600_000, 9.0), (300_000, 800.0)]);
        lanes[6] = points(&[(300_000, 15_000.0), (600_000, 0.0), (300_000, 90_000.0)]);
        let rows = Answer::Usual.rows(&mut lanes, 300_000);
        assert_eq!(rows.points, points(&[(300_000, 5.0), (600_000, 9.0)]));
        // A release that kept no distances: the greatest, as before.
        lanes[0] = points(&[(300_000, 5.0), (300_000, 800.0)]);
        lanes[6] = Points::default();
        let rows = Answer::Usual.rows(&mut lanes, 300_000);
        assert_eq!(rows.points, points(&[(300_000, 800.0)]));
    }

    #[test]
    fn a_question_chooses_among_what_is_kept_of_a_day() {
        // Of the first day all is kept, of the second only what suits a gauge.
        let lanes = || {
            let mut lanes: [Points; AGGREGATES] = Default::default();
            lanes[0] = points(&[(300_000, 9.0)]);
            lanes[1] = points(&[(300_000, 4.0)]);
            lanes[2] = points(&[(300_000, 5.0), (600_000, 1.0)]);
            lanes[3] = points(&[(300_000, 9.0), (600_000, 8.0)]);
            lanes[4] = points(&[(300_000, 21.0), (600_000, 9.0)]);
            lanes[5] = points(&[(300_000, 3.0), (600_000, 2.0)]);
            lanes
        };
        for (answer, expected) in [
            (Answer::Least, [5.0, 1.0]),
            (Answer::Greatest, [9.0, 8.0]),
            (Answer::Usual, [7.0, 4.5]),
            (Answer::Last, [9.0, 4.5]),
            // Less than before is a reset, and of what grew after it a mean tells nothing.
            (Answer::Growth, [4.5, 4.5]),
        ] {
            let rows = answer.rows(&mut lanes(), 300_000);
            assert_eq!(rows.points.times, [300_000, 600_000], "{answer:?}");
            assert_eq!(rows.points.values, expected, "{answer:?}");
            assert_eq!(rows.counts, [3.0, 2.0], "{answer:?}");
        }
    }

    #[test]
    fn a_day_kept_as_a_gauge_between_others_adds_no_growth() {
        let mut lanes: [Points; AGGREGATES] = Default::default();
        // It grows by 400, stands still for a day of which only means are kept, grows by 10, and is reset on
        // the way to 50.
        lanes[0] = points(&[
            (300_000, 5000.0),
            (600_000, 5400.0),
            (1_200_000, 5410.0),
            (1_500_000, 50.0),
        ]);
        lanes[1] = points(&[
            (300_000, 0.0),
            (600_000, 400.0),
            (1_200_000, 10.0),
            (1_500_000, 50.0),
        ]);
        lanes[4] = points(&[(900_000, 10_800.0)]);
        lanes[5] = points(&[(900_000, 2.0)]);
        let rows = Answer::Growth.rows(&mut lanes, 300_000).points;
        assert_eq!(rows.values, [-410.0, -10.0, -10.0, 0.0, 50.0]);
    }
}
