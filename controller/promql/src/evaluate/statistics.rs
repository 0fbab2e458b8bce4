//! Sums that keep their small parts, quantiles, regressions.

use super::range::Window;

/// Kahan's summation as improved by Neumaier: a sum and what rounding took from it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) lost: f64,
}

impl Sum {
    pub(super) fn of(value: f64) -> Self {
        Self {
            sum: value,
            lost: 0.0,
        }
    }

    /// Adds one value.
    #[inline]
    pub(super) fn plus(self, value: f64) -> Self {
        let total = self.sum + value;
        let lost = if total.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.lost + ((self.sum - total) + value)
        } else {
            self.lost + ((value - total) + self.sum)
        };
        Self { sum: total, lost }
    }

    /// The sum with what rounding took.
    pub(super) fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// A mean: by the sum as long as that does not overflow, by increments afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(super) fn of(value: f64) -> Self {
        Self {
            sum: Sum::of(value),
            count: 1.0,
            incremental: false,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let next = self.sum.plus(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        let shrunk = Sum {
            sum: share * self.sum.sum,
            lost: share * self.sum.lost,
        };
        self.sum = shrunk.plus(value / self.count);
    }

    pub(super) fn value(self) -> f64 {
        if self.incremental {
            self.sum.total()
        } else {
            self.sum.sum / self.count + self.sum.lost / self.count
        }
    }
}

/// Variance over time: Welford's way with Kahan's sums.
#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 samples")]
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for (index, value) in values.iter().enumerate() {
        let count = (index + 1) as f64;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / values.len() as f64
}

/// The quantile of values, which are sorted here; NaN counts as the smallest.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks lie between 0 and the number of values"
)]
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| nan_first(*a, *b));
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    let at = |index: f64| values.get(index as usize).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}

/// Rising, with NaN before everything.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// The median of the distances from the median; NaN if any value is.
pub(super) fn median_deviation(values: &[f64]) -> f64 {
    // A quantile would put NaN first and not show it.
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let median = quantile(0.5, &mut values);
    for value in &mut values {
        *value = (*value - median).abs();
    }
    quantile(0.5, &mut values)
}

/// Slope per second and value at `intercept_ms` of the line through the samples.
#[expect(
    clippy::cast_precision_loss,
    reason = "times are below 2^53 milliseconds"
)]
pub(super) fn regression(window: Window<'_>, intercept_ms: i64) -> (f64, f64) {
    let (mut x_sum, mut y_sum) = (Sum::default(), Sum::default());
    let (mut xy_sum, mut xx_sum) = (Sum::default(), Sum::default());
    let first = window.values.first().copied().unwrap_or_default();
    for (time, y) in window.times.iter().zip(window.values) {
        let x = time.saturating_sub(intercept_ms) as f64 / 1000.0;
        x_sum = x_sum.plus(x);
        y_sum = y_sum.plus(*y);
        xy_sum = xy_sum.plus(x * y);
        xx_sum = xx_sum.plus(x * x);
    }
    #[expect(
        clippy::float_cmp,
        reason = "a constant series has exactly equal values"
    )]
    if window.values.iter().all(|value| *value == first) {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let count = window.values.len() as f64;
    let (x, y) = (x_sum.total(), y_sum.total());
    let covariance = xy_sum.total() - x * y / count;
    let variance = xx_sum.total() - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_small_parts_beside_large_ones() {
        let sum = [1.0, 1e100, 1.0, -1e100]
            .iter()
            .fold(Sum::default(), |sum, v| sum.plus(*v));
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn a_mean_survives_a_sum_that_overflows() {
        let mut mean = Mean::of(1e308);
        mean.add(1e308);
        mean.add(1e308);
        assert_eq!(mean.value(), 1e308);
    }

    #[test]
    fn quantiles_interpolate_and_put_nan_first() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0]), 2.0);
        assert!(quantile(0.0, &mut [3.0, f64::NAN]).is_nan());
        assert_eq!(quantile(1.5, &mut [1.0]), f64::INFINITY);
    }
}
