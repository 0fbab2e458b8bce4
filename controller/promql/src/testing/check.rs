//! Comparing an answer with what a case expects.

use super::command::{Annotated, Eval, Span, Text};
use super::notation::Point;
use crate::labels::Labels;
use crate::{Answer, QueryError, RangeSeries, Sample, Value, is_stale};

/// Relative difference that counts as equal.
const TOLERANCE: f64 = 1e-6;

/// Checks the outcome of a case; an error says what differs.
pub(super) fn check(eval: &Eval, outcome: &Result<Answer, QueryError>) -> Result<(), String> {
    let answer = match (outcome, &eval.fail) {
        (Err(error), Some(texts)) => return check_failure(&error.to_string(), texts),
        (Err(error), None) => return Err(format!("failed: {error}")),
        (Ok(_), Some(_)) => return Err("expected to fail, but gave an answer".to_owned()),
        (Ok(answer), None) => answer,
    };
    check_annotations("warning", &eval.warn, &answer.warnings())?;
    check_annotations("info", &eval.info, &answer.infos())?;
    check_value(eval, &answer.value)
}

fn check_failure(error: &str, texts: &[Text]) -> Result<(), String> {
    match texts.iter().all(|text| text.matches(error)) {
        true => Ok(()),
        false => Err(format!("failed with another message: {error}")),
    }
}

fn check_annotations(kind: &str, expected: &Annotated, got: &[String]) -> Result<(), String> {
    if expected.none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if let Some(missing) = expected
        .texts
        .iter()
        .find(|text| !got.iter().any(|g| text.matches(g)))
    {
        return Err(format!("no {kind} matches {missing:?}; got {got:?}"));
    }
    let unknown = got
        .iter()
        .find(|text| !expected.texts.iter().any(|e| e.matches(text)));
    match unknown {
        Some(text) if !expected.texts.is_empty() => Err(format!("unexpected {kind}: {text}")),
        _ => Ok(()),
    }
}

/// Checks a value against the expected series.
pub(super) fn check_value(eval: &Eval, value: &Value) -> Result<(), String> {
    match (value, eval.span, &eval.string, eval.range_vector) {
        (Value::String(_, got), _, Some(expected), _) if got == expected => Ok(()),
        (Value::String(_, got), ..) => Err(format!("got the text {got:?}")),
        (Value::Scalar(_, got), ..) => check_scalar(eval, *got),
        (Value::Vector(samples), ..) => check_vector(eval, samples),
        (
            Value::Matrix(series),
            Span::Range {
                start_ms, step_ms, ..
            },
            ..,
        ) => check_matrix(eval, series, start_ms, step_ms),
        (Value::Matrix(series), _, _, Some((start_ms, _, step_ms))) => {
            check_matrix(eval, series, start_ms, step_ms)
        }
        (Value::Matrix(_), ..) => Err("got a range vector".to_owned()),
    }
}

fn check_scalar(eval: &Eval, got: f64) -> Result<(), String> {
    let points = eval.series.first().map(|(_, points)| points.as_slice());
    match points {
        Some([Point::Value(expected)]) if almost_equal(*expected, got) => Ok(()),
        _ => Err(format!("got the scalar {got}")),
    }
}

fn check_vector(eval: &Eval, samples: &[Sample]) -> Result<(), String> {
    if samples.len() != eval.series.len() {
        let (expected, got) = (eval.series.len(), samples.len());
        return Err(format!(
            "expected {expected} series, got {got}: {}",
            show(samples)
        ));
    }
    for (index, (labels, points)) in eval.series.iter().enumerate() {
        let found = if eval.ordered {
            samples.get(index).filter(|sample| sample.labels == *labels)
        } else {
            samples.iter().find(|sample| sample.labels == *labels)
        };
        let equal = match (found, points.as_slice()) {
            (Some(sample), [Point::Value(expected)]) => almost_equal(*expected, sample.value),
            _ => false,
        };
        if !equal {
            return Err(format!(
                "expected {labels} {points:?}, got {}",
                show(samples)
            ));
        }
    }
    Ok(())
}

fn show(samples: &[Sample]) -> String {
    let lines = samples
        .iter()
        .map(|sample| format!("\n    {} {}", sample.labels, sample.value));
    lines.collect()
}

fn check_matrix(
    eval: &Eval,
    series: &[RangeSeries],
    start_ms: i64,
    step_ms: i64,
) -> Result<(), String> {
    for one in series {
        if !eval.series.iter().any(|(labels, _)| *labels == one.labels) {
            return Err(format!("unexpected series {} {:?}", one.labels, one.points));
        }
    }
    for (labels, points) in &eval.series {
        let got = series.iter().find(|one| one.labels == *labels);
        let got = got.map(|one| one.points.as_slice()).unwrap_or_default();
        compare_points(labels, points, got, start_ms, step_ms)?;
    }
    Ok(())
}

fn compare_points(
    labels: &Labels,
    points: &[Point],
    got: &[(i64, f64)],
    start_ms: i64,
    step_ms: i64,
) -> Result<(), String> {
    let times = (0..).map(|index: i64| start_ms + index * step_ms);
    let expected: Vec<(i64, f64)> = times
        .zip(points)
        .filter_map(|(time, point)| match point {
            Point::Value(value) => Some((time, *value)),
            Point::Gap | Point::Histogram => None,
        })
        .collect();
    let equal = expected.len() == got.len()
        && expected
            .iter()
            .zip(got)
            .all(|((time, value), (at, got))| time == at && almost_equal(*value, *got));
    if equal {
        Ok(())
    } else {
        Err(format!("expected {labels} {expected:?}, got {got:?}"))
    }
}

/// Equal up to rounding, as the original decides it.
fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    #[expect(clippy::float_cmp, reason = "equal numbers need no tolerance")]
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
