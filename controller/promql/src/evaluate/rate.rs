//! `rate`, `increase`, `delta`, `irate`, `idelta`, with Prometheus's extrapolation.
//!
//! What the times of a window say is computed once for all series that share them; the rest is a
//! subtraction, a division and a multiplication per window.

use super::range::{Frame, NOTHING, Window};
use crate::functions::Name;

/// Which of the extrapolating functions it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extrapolation {
    is_counter: bool,
    per_second: bool,
}

/// What the times of a window's samples say about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// First sample of the window, and the one behind its last.
    low: usize,
    high: usize,
    /// Seconds between the first and the last sample.
    sampled: f64,
    /// Seconds that the line is drawn on before the first and behind the last sample.
    to_start: f64,
    to_end: f64,
    /// The window's length in seconds for a rate, otherwise 1.
    divisor: f64,
    /// What the change between the samples is multiplied by.
    factor: f64,
}

impl Shape {
    fn factor(&self, to_start: f64) -> f64 {
        (self.sampled + to_start + self.to_end) / self.sampled / self.divisor
    }
}

impl Extrapolation {
    pub(super) fn of(name: Name) -> Option<Self> {
        let (is_counter, per_second) = match name {
            Name::Rate => (true, true),
            Name::Increase => (true, false),
            Name::Delta => (false, false),
            _ => return None,
        };
        Some(Self {
            is_counter,
            per_second,
        })
    }

    /// The shapes of the windows of all steps.
    pub(super) fn shapes(self, frame: &Frame<'_>) -> Vec<Shape> {
        (0..frame.steps.count)
            .map(|step| self.shape(frame, step))
            .collect()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times are below 2^53 milliseconds"
    )]
    fn shape(self, frame: &Frame<'_>, step: usize) -> Shape {
        let (low, high) = frame.bounds(step);
        let divisor = 1.0;
        let (sampled, to_start, to_end, factor) = (0.0, 0.0, 0.0, 0.0);
        let empty = Shape {
            low,
            high: low,
            sampled,
            to_start,
            to_end,
            divisor,
            factor,
        };
        let Some(Window {
            times,
            end_ms,
            range_ms,
            ..
        }) = frame.window(step)
        else {
            return empty;
        };
        let [first_ms, .., last_ms] = times else {
            return empty;
        };
        let start_ms = end_ms.saturating_sub(range_ms);
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let between = sampled / (times.len() - 1) as f64;
        // A sample is missing if the gap is more than a tenth above the usual distance.
        let drawn_on = |gap_ms: i64| match gap_ms as f64 / 1000.0 {
            gap if gap >= between * 1.1 => between / 2.0,
            gap => gap,
        };
        let (to_start, to_end) = (drawn_on(first_ms - start_ms), drawn_on(end_ms - last_ms));
        let divisor = if self.per_second {
            range_ms as f64 / 1000.0
        } else {
            1.0
        };
        let mut shape = Shape {
            low,
            high,
            sampled,
            to_start,
            to_end,
            divisor,
            factor,
        };
        shape.factor = shape.factor(to_start);
        shape
    }

    /// The extrapolated change over each window.
    ///
    /// Counter resets are numbered once per series: a window without one needs its two ends only.
    pub(super) fn changes(self, values: &[f64], shapes: &[Shape]) -> Vec<f64> {
        let resets = if self.is_counter {
            count_resets(values)
        } else {
            Vec::new()
        };
        let change = |shape: &Shape| {
            let last = shape.high.wrapping_sub(1);
            let has_reset = !resets.is_empty() && resets.get(shape.low) != resets.get(last);
            let window = values.get(shape.low..shape.high).unwrap_or_default();
            self.change(window, shape, has_reset)
        };
        shapes.iter().map(change).collect()
    }

    #[inline]
    fn change(self, window: &[f64], shape: &Shape, has_reset: bool) -> f64 {
        let [first, .., last] = window else {
            return NOTHING;
        };
        let mut result = last - first;
        if has_reset {
            let mut before = *first;
            for value in window {
                if *value < before {
                    result += before;
                }
                before = *value;
            }
        }
        let mut factor = shape.factor;
        if self.is_counter && result > 0.0 && *first >= 0.0 {
            // A counter was never below zero, so the line is not drawn beyond the zero point.
            let to_zero = shape.sampled * (first / result);
            if to_zero < shape.to_start {
                factor = shape.factor(to_zero);
            }
        }
        result * factor
    }
}

/// For each sample how many resets there were up to it; empty if there was none at all.
fn count_resets(values: &[f64]) -> Vec<u32> {
    if !values
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if b < a))
    {
        return Vec::new();
    }
    let mut count = 0;
    let mut before = f64::NEG_INFINITY;
    values
        .iter()
        .map(|value| {
            count += u32::from(*value < before);
            before = *value;
            count
        })
        .collect()
}

/// The change between the last two samples, per second for a counter.
#[expect(
    clippy::cast_precision_loss,
    reason = "times are below 2^53 milliseconds"
)]
pub(super) fn last_two(window: Window<'_>, is_counter: bool) -> f64 {
    let ([.., before, last], [.., before_ms, last_ms]) = (window.values, window.times) else {
        return NOTHING;
    };
    let change = if is_counter && last < before {
        *last
    } else {
        last - before
    };
    let interval = (last_ms - before_ms) as f64 / 1000.0;
    if is_counter {
        change / interval
    } else {
        change
    }
}
