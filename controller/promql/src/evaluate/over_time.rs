//! What each range function computes from a window.

use super::range::{Frame, NOTHING, Window};
use super::statistics::{Mean, Sum, median_deviation, quantile, regression, variance};
use super::{Result, fail, rate, unsupported};
use crate::budget::Budget;
use crate::functions::Name;

/// Samples that are looked at between two looks at the budget.
const WORK_BETWEEN_CHECKS: usize = 1 << 16;

/// A range function with its parameters, one number per step each.
pub(super) struct Computation<'p> {
    name: Name,
    parameters: &'p [Vec<f64>],
}

impl<'p> Computation<'p> {
    /// Fails if a parameter is out of its range.
    pub(super) fn of(name: Name, parameters: &'p [Vec<f64>]) -> Result<Self> {
        if matches!(name, Name::HoltWinters | Name::DoubleExponentialSmoothing) {
            for (what, values) in ["smoothing", "trend"].iter().zip(parameters) {
                if let Some(wrong) = values.iter().find(|value| **value <= 0.0 || **value >= 1.0) {
                    let short = if *what == "smoothing" { "sf" } else { "tf" };
                    return fail(format!(
                        "invalid {what} factor. Expected: 0 < {short} < 1, got: {wrong:.6}"
                    ));
                }
            }
        }
        Ok(Self { name, parameters })
    }

    /// The values of one series at all steps.
    pub(super) fn run(&self, frame: &Frame<'_>, budget: &Budget) -> Result<Vec<f64>> {
        let over = |compute: &dyn Fn(Window<'_>, usize) -> f64| over(frame, budget, compute);
        let parameter = |index: usize, step: usize| {
            self.parameters
                .get(index)
                .and_then(|values| values.get(step))
                .copied()
                .unwrap_or(f64::NAN)
        };
        match self.name {
            Name::Rate | Name::Increase | Name::Delta => {
                let Some(kind) = rate::Extrapolation::of(self.name) else {
                    return Err(unsupported("not a rate"));
                };
                Ok(kind.changes(&frame.series.values, &kind.shapes(frame)))
            }
            Name::Irate => over(&|window, _| rate::last_two(window, true)),
            Name::Idelta => over(&|window, _| rate::last_two(window, false)),
            Name::AvgOverTime => over(&|window, _| match window.counts {
                None => average(window.values),
                Some(counts) => sum(weighed(window.values, counts)) / sum(counts.iter().copied()),
            }),
            Name::SumOverTime => over(&|window, _| match window.counts {
                None => sum(window.values.iter().copied()),
                Some(counts) => sum(weighed(window.values, counts)),
            }),
            Name::CountOverTime => over(&|window, _| match window.counts {
                None => count(window.values.len()),
                Some(counts) => sum(counts.iter().copied()),
            }),
            Name::MinOverTime => over(&|window, _| extreme(window.values, |new, old| new < old)),
            Name::MaxOverTime => over(&|window, _| extreme(window.values, |new, old| new > old)),
            Name::LastOverTime => {
                over(&|window, _| window.values.last().copied().unwrap_or(NOTHING))
            }
            Name::FirstOverTime => {
                over(&|window, _| window.values.first().copied().unwrap_or(NOTHING))
            }
            Name::PresentOverTime | Name::AbsentOverTime => over(&|_, _| 1.0),
            Name::StdvarOverTime => over(&|window, _| variance(window.values)),
            Name::StddevOverTime => over(&|window, _| variance(window.values).sqrt()),
            Name::MadOverTime => over(&|window, _| median_deviation(window.values)),
            Name::QuantileOverTime => {
                over(&|window, step| quantile(parameter(0, step), &mut window.values.to_vec()))
            }
            Name::Changes => over(&|window, _| changes(window.values)),
            Name::Resets => over(&|window, _| resets(window.values)),
            Name::Deriv => over(
                &|window, _| match (window.values.len(), window.times.first()) {
                    (2.., Some(first)) => regression(window, *first).0,
                    _ => NOTHING,
                },
            ),
            Name::PredictLinear => over(&|window, step| {
                if window.values.len() < 2 {
                    return NOTHING;
                }
                let (slope, intercept) = regression(window, window.step_ms);
                slope * parameter(0, step) + intercept
            }),
            Name::HoltWinters | Name::DoubleExponentialSmoothing => over(&|window, step| {
                smoothed(window.values, parameter(0, step), parameter(1, step))
            }),
            Name::TsOfFirstOverTime => over(&|window, _| seconds(window.times.first())),
            Name::TsOfLastOverTime => over(&|window, _| seconds(window.times.last())),
            Name::TsOfMinOverTime => over(&|window, _| time_of(window, |new, old| new <= old)),
            Name::TsOfMaxOverTime => over(&|window, _| time_of(window, |new, old| new >= old)),
            _ => Err(unsupported("not a function of range vectors")),
        }
    }
}

fn over(
    frame: &Frame<'_>,
    budget: &Budget,
    compute: &dyn Fn(Window<'_>, usize) -> f64,
) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(frame.steps.count);
    let mut work = 0;
    for step in 0..frame.steps.count {
        let window = frame.window(step);
        work += 1 + window.map_or(0, |window| window.values.len());
        if work > WORK_BETWEEN_CHECKS {
            budget.check()?;
            work = 0;
        }
        values.push(window.map_or(NOTHING, |window| compute(window, step)));
    }
    Ok(values)
}

#[expect(clippy::cast_precision_loss, reason = "no window has 2^53 samples")]
fn count(length: usize) -> f64 {
    length as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times are below 2^53 milliseconds"
)]
fn seconds(time: Option<&i64>) -> f64 {
    time.map_or(NOTHING, |time| *time as f64 / 1000.0)
}

fn average(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return NOTHING;
    };
    let mut mean = Mean::of(*first);
    rest.iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// Values, each times the number of samples that it stands for.
fn weighed(values: &[f64], counts: &[f64]) -> impl Iterator<Item = f64> {
    let pairs = values.iter().zip(counts);
    pairs.map(|(value, count)| value * count)
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let sum = values.fold(Sum::default(), Sum::plus);
    if sum.sum.is_infinite() {
        sum.sum
    } else {
        sum.total()
    }
}

fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = values.first().copied().unwrap_or(NOTHING);
    for value in values {
        if better(*value, best) || best.is_nan() {
            best = *value;
        }
    }
    best
}

fn time_of(window: Window<'_>, better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best: Option<(&i64, f64)> = None;
    for (time, value) in window.times.iter().zip(window.values) {
        match best {
            Some((_, old)) if !(better(*value, old) || old.is_nan()) => {}
            _ => best = Some((time, *value)),
        }
    }
    seconds(best.map(|(time, _)| time))
}

#[expect(clippy::float_cmp, reason = "any difference is a change")]
fn changes(values: &[f64]) -> f64 {
    let changed = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
    count(pairs(values).filter(|(a, b)| changed(*a, *b)).count())
}

fn resets(values: &[f64]) -> f64 {
    count(pairs(values).filter(|(a, b)| b < a).count())
}

/// Neighbours.
fn pairs(values: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    values.iter().copied().zip(values.iter().copied().skip(1))
}

/// Double exponential smoothing, also known as Holt and Winters'.
fn smoothed(values: &[f64], smoothing: f64, trend_factor: f64) -> f64 {
    let [first, second, ..] = values else {
        return NOTHING;
    };
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (index, value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let carried = (1.0 - smoothing) * (level + trend);
        (before, level) = (level, scaled + carried);
    }
    level
}
