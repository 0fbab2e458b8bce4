//! `rate`, `increase`, `delta`, `irate`, `idelta`, with Prometheus's extrapolation.

use super::Result;
use super::range::{Frame, NOTHING, Window};
use crate::budget::Budget;

/// Extrapolated change over each window, per second if `per_second`.
///
/// Counter resets are numbered once per series: a window without one needs its two ends only.
pub(super) fn extrapolated(
    frame: &Frame<'_>,
    budget: &Budget,
    is_counter: bool,
    per_second: bool,
) -> Result<Vec<f64>> {
    let resets = if is_counter {
        count_resets(&frame.series.values)
    } else {
        Vec::new()
    };
    let mut out = Vec::with_capacity(frame.steps.count);
    for step in 0..frame.steps.count {
        if step % 4096 == 4095 {
            budget.check()?;
        }
        let Some(window) = frame.window(step) else {
            out.push(NOTHING);
            continue;
        };
        let (low, high) = frame.bounds(step);
        let has_reset = resets.get(low) != resets.get(high.saturating_sub(1));
        out.push(change(window, is_counter, per_second, has_reset));
    }
    Ok(out)
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

#[expect(
    clippy::cast_precision_loss,
    reason = "times are below 2^53 milliseconds"
)]
fn change(window: Window<'_>, is_counter: bool, per_second: bool, has_reset: bool) -> f64 {
    let Window {
        times,
        values,
        end_ms,
        range_ms,
        ..
    } = window;
    let ([first, .., last], [first_ms, .., last_ms]) = (values, times) else {
        return NOTHING;
    };
    let mut result = last - first;
    if has_reset {
        let mut before = *first;
        for value in values {
            if *value < before {
                result += before;
            }
            before = *value;
        }
    }
    let start_ms = end_ms.saturating_sub(range_ms);
    let mut to_start = (first_ms - start_ms) as f64 / 1000.0;
    let mut to_end = (end_ms - last_ms) as f64 / 1000.0;
    let sampled = (last_ms - first_ms) as f64 / 1000.0;
    let between = sampled / (values.len() - 1) as f64;
    // A sample is missing if the gap is more than a tenth above the usual distance.
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && result > 0.0 && *first >= 0.0 {
        // A counter was never below zero, so the line is not drawn beyond the zero point.
        to_start = to_start.min(sampled * (first / result));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= range_ms as f64 / 1000.0;
    }
    result * factor
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
