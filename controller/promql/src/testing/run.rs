//! Running a script: loading, evaluating, counting.

use std::sync::atomic::AtomicBool;

use thiserror::Error;

use super::check::{check, check_value};
use super::command::{Command, Eval, Load, Span, parse_script};
use super::notation::Point;
use super::variant::{fixed, is_same_in_range};
use super::watch::Watch;
use crate::evaluate::Steps;
use crate::labels::Labels;
use crate::storage::Storage;
use crate::{Answer, Budget, Engine, Limits, QueryError, Sample, Value};

/// Around an instant, a range query looks one minute to both sides.
const MINUTE_MS: i64 = 60_000;

/// A script that cannot be read.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ScriptError(String);

/// A storage that scripts can fill.
pub trait Backend {
    /// Forgets all samples.
    fn clear(&mut self);

    /// Adds samples (Unix milliseconds, value) to a series, rising in time.
    ///
    /// # Errors
    /// If the storage refuses them; the text says why.
    fn append(&mut self, labels: &Labels, points: &[(i64, f64)]) -> Result<(), String>;

    /// What queries read.
    fn storage(&self) -> &dyn Storage;
}

/// How a case went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Needs what is not there yet; the text says what.
    Waiting(&'static str),
    /// Differs; the text says how.
    Failed(String),
}

/// One `eval` of a script.
#[derive(Clone, Debug)]
pub struct Case {
    /// Line in the script, from 1.
    pub line: usize,
    /// The query.
    pub query: String,
    /// How it went.
    pub outcome: Outcome,
}

/// All cases of a script, in order.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// The cases.
    pub cases: Vec<Case>,
}

impl Report {
    /// Number of cases that passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.outcome == Outcome::Passed)
            .count()
    }

    /// Cases that wait, with what for.
    pub fn waiting(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.cases.iter().filter_map(|case| match &case.outcome {
            Outcome::Waiting(reason) => Some((case, *reason)),
            _ => None,
        })
    }

    /// Cases that failed, with what differs.
    pub fn failed(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.cases.iter().filter_map(|case| match &case.outcome {
            Outcome::Failed(reason) => Some((case, reason.as_str())),
            _ => None,
        })
    }
}

/// Runs a script on an empty backend.
///
/// # Errors
/// If the script itself cannot be understood, or the backend refuses its samples.
pub fn run_script(
    script: &str,
    engine: &Engine,
    backend: &mut dyn Backend,
) -> Result<Report, ScriptError> {
    let mut report = Report::default();
    let mut histograms: Vec<(Labels, Vec<i64>)> = Vec::new();
    for command in parse_script(script).map_err(ScriptError)? {
        match command {
            Command::Clear => {
                backend.clear();
                histograms.clear();
            }
            Command::Load(load) => load_into(load, backend, &mut histograms)?,
            Command::Eval(eval) => {
                let outcome = evaluate(&eval, engine, backend.storage(), &histograms);
                report.cases.push(Case {
                    line: eval.line,
                    query: eval.query,
                    outcome,
                });
            }
        }
    }
    Ok(report)
}

/// Runs only the `load` commands of a script.
pub(super) fn load_all(script: &str, backend: &mut dyn Backend) -> Result<(), ScriptError> {
    for command in parse_script(script).map_err(ScriptError)? {
        match command {
            Command::Load(load) => load_into(load, backend, &mut Vec::new())?,
            _ => {
                return Err(ScriptError(
                    "only load commands are allowed here".to_owned(),
                ));
            }
        }
    }
    Ok(())
}

fn load_into(
    load: Load,
    backend: &mut dyn Backend,
    histograms: &mut Vec<(Labels, Vec<i64>)>,
) -> Result<(), ScriptError> {
    for (labels, points) in load.series {
        let (mut samples, mut native) = (Vec::new(), Vec::new());
        for (index, point) in (0..).zip(&points) {
            let time = load.interval_ms * index;
            match point {
                Point::Value(value) => samples.push((time, *value)),
                Point::Histogram => native.push(time),
                Point::Gap => {}
            }
        }
        if !samples.is_empty() {
            backend.append(&labels, &samples).map_err(ScriptError)?;
        }
        if !native.is_empty() {
            histograms.push((labels, native));
        }
    }
    Ok(())
}

fn evaluate(
    eval: &Eval,
    engine: &Engine,
    storage: &dyn Storage,
    histograms: &[(Labels, Vec<i64>)],
) -> Outcome {
    let watch = Watch {
        inner: storage,
        histograms,
        touched: AtomicBool::new(false),
    };
    let result = match eval.span {
        Span::Range {
            start_ms,
            end_ms,
            step_ms,
        } => {
            let budget = Budget::new(Limits::default());
            let outcome = engine.range(&watch, &eval.query, start_ms, end_ms, step_ms, &budget);
            check(eval, &outcome)
        }
        Span::Instant(time_ms) => instant(eval, engine, &watch, time_ms),
    };
    let expects_native = eval
        .series
        .iter()
        .any(|(_, points)| points.iter().any(|point| matches!(point, Point::Histogram)));
    match result {
        _ if watch.is_touched() || expects_native => Outcome::Waiting("native histograms"),
        Ok(()) => Outcome::Passed,
        Err(reason) => Outcome::Failed(reason),
    }
}

fn instant(eval: &Eval, engine: &Engine, storage: &Watch<'_>, time_ms: i64) -> Result<(), String> {
    let budget = Budget::new(Limits::default());
    let outcome = engine.instant(storage, &eval.query, time_ms, &budget);
    check(eval, &outcome)?;
    let (Ok(answer), Ok(expr)) = (outcome, crate::parse::parse_alone(&eval.query)) else {
        return Ok(());
    };
    if matches!(answer.value, Value::Matrix(_) | Value::String(..)) {
        return Ok(());
    }
    if is_same_in_range(&expr) {
        let steps = Steps::between(time_ms - MINUTE_MS, time_ms + MINUTE_MS, MINUTE_MS);
        let budget = Budget::new(Limits::default());
        let ranged = engine.range_of(
            storage,
            &eval.query,
            &expr,
            (steps, time_ms + MINUTE_MS),
            &budget,
        );
        check_middle(eval, &answer.value, ranged, time_ms)
            .map_err(|reason| format!("as a range query: {reason}"))?;
    }
    let Some((expr, times)) = fixed(&expr, time_ms) else {
        return Ok(());
    };
    for at in times {
        let budget = Budget::new(Limits::default());
        let outcome = engine.instant_of(storage, &eval.query, &expr, at, &budget);
        check(eval, &outcome).map_err(|reason| format!("fixed by @, at {at} ms: {reason}"))?;
    }
    Ok(())
}

/// The middle step of a range query must be the instant's answer; its order is another.
fn check_middle(
    eval: &Eval,
    instant: &Value,
    ranged: Result<Answer, QueryError>,
    time_ms: i64,
) -> Result<(), String> {
    let answer = ranged.map_err(|error| error.to_string())?;
    if eval.ordered {
        return Ok(());
    }
    let Value::Matrix(series) = answer.value else {
        return Err("no range vector".to_owned());
    };
    let mut samples = Vec::new();
    for one in series {
        let point = one.points.iter().find(|(time, _)| *time == time_ms);
        if let Some((_, value)) = point {
            samples.push(Sample {
                labels: one.labels,
                time_ms,
                value: *value,
            });
        }
    }
    let value = match (instant, samples.first()) {
        (Value::Scalar(..), Some(sample)) => Value::Scalar(time_ms, sample.value),
        _ => Value::Vector(samples),
    };
    check_value(eval, &value)
}
