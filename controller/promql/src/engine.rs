//! The evaluator's front door: one time or many.

use std::cell::RefCell;

use crate::ast::{Expr, Type};
use crate::evaluate::{Evaluated, Evaluator, Row, Steps, Table, Whole};
use crate::number::is_stale;
use crate::pattern::Patterns;
use crate::{Answer, Budget, QueryError, RangeSeries, Sample, Storage, Value};

/// Times beyond this many milliseconds from 1970 are refused: arithmetic on them would overflow.
const MAX_TIME_MS: i64 = i64::MAX / 1000;

/// What an answer takes: a point, and a series beside its points.
const ANSWER_POINT_BYTES: u64 = size_of::<(i64, f64)>() as u64;
const ANSWER_SERIES_BYTES: u64 = size_of::<RangeSeries>() as u64;

/// A text up to this length is not worth counting; of a longer one each byte may become so many bytes of
/// tree.
const ORDINARY_TEXT_BYTES: usize = 64 << 10;
const TREE_BYTES: u64 = 128;

/// What holds for every query of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far a selector looks back for the latest sample, milliseconds.
    pub lookback_ms: i64,
    /// Step of a subquery that names none, milliseconds: Prometheus's global evaluation interval.
    pub default_step_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            default_step_ms: 60_000,
        }
    }
}

/// Evaluates queries. Holds no data; clone or share it freely.
#[derive(Clone, Default, Debug)]
pub struct Engine {
    options: Options,
}

impl Engine {
    /// An engine with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// The value of `query` at one time, Unix milliseconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        time_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        let expr = parse(query, budget)?;
        self.instant_of(storage, query, &expr, time_ms, budget)
    }

    /// The values of `query` from `start_ms` to `end_ms`, inclusive, every `step_ms` milliseconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        let steps = span(start_ms, end_ms, step_ms, budget)?;
        let expr = parse(query, budget)?;
        self.range_of(storage, query, &expr, (steps, end_ms), budget)
    }

    /// As [`Self::range`], of a tree, at these steps of a span that ends at `end_ms`.
    pub(crate) fn range_of(
        &self,
        storage: &dyn Storage,
        query: &str,
        expr: &Expr,
        (steps, end_ms): (Steps, i64),
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        if !matches!(expr.kind(), Type::Scalar | Type::Vector) {
            let kind = expr.kind().name();
            return Err(QueryError::BadData(format!(
                "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
            )));
        }
        // `end()` is the end that was asked for, even if no step falls on it.
        let whole = Whole {
            start_ms: steps.start_ms,
            end_ms,
            step_ms: steps.step_ms,
        };
        let evaluator = self.evaluator(storage, query, whole, budget);
        let table = match evaluator.evaluate(expr, steps, "")? {
            Evaluated::Scalar(values) => Table::single(budget, crate::Labels::default(), values)?,
            Evaluated::Vector(table) => table,
            Evaluated::Text(_) => Table::empty(budget, 0),
        };
        let mut series = ranges(table, steps, budget)?;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Answer {
            value: Value::Matrix(series),
            annotations: evaluator.annotations.into_inner(),
        })
    }

    pub(crate) fn instant_of(
        &self,
        storage: &dyn Storage,
        query: &str,
        expr: &Expr,
        time_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        check_time(time_ms)?;
        let whole = Whole {
            start_ms: time_ms,
            end_ms: time_ms,
            step_ms: 0,
        };
        let evaluator = self.evaluator(storage, query, whole, budget);
        let steps = Steps::at(time_ms);
        let value = if expr.kind() == Type::Matrix {
            Value::Matrix(matrix(&evaluator, expr, steps)?)
        } else {
            match evaluator.evaluate(expr, steps, "")? {
                Evaluated::Scalar(values) => {
                    Value::Scalar(time_ms, values.first().copied().unwrap_or(f64::NAN))
                }
                Evaluated::Text(bytes) => {
                    Value::String(time_ms, String::from_utf8_lossy(&bytes).into_owned())
                }
                Evaluated::Vector(table) => Value::Vector(vector(table, time_ms, budget)?),
            }
        };
        Ok(Answer {
            value,
            annotations: evaluator.annotations.into_inner(),
        })
    }

    fn evaluator<'a>(
        &'a self,
        storage: &'a dyn Storage,
        query: &'a str,
        whole: Whole,
        budget: &'a Budget,
    ) -> Evaluator<'a> {
        let options = &self.options;
        let annotations = RefCell::default();
        Evaluator {
            storage,
            budget,
            options,
            query,
            whole,
            annotations,
        }
    }
}

/// Reads a query of bounded length.
pub(crate) fn parse(query: &str, budget: &Budget) -> Result<Expr, QueryError> {
    let limit = budget.limits().text_bytes;
    if query.len() > limit {
        let length = query.len();
        return Err(QueryError::BadData(format!(
            "query of {length} bytes is longer than {limit} bytes: ask in several queries"
        )));
    }
    if query.len() > ORDINARY_TEXT_BYTES {
        budget.charge_bytes(query.len() as u64 * TREE_BYTES)?;
    }
    crate::parse::parse(query, &Patterns::new(budget))
}

fn check_time(time_ms: i64) -> Result<(), QueryError> {
    if (-MAX_TIME_MS..=MAX_TIME_MS).contains(&time_ms) {
        return Ok(());
    }
    Err(QueryError::BadData(format!(
        "time {time_ms} ms is out of range"
    )))
}

/// The steps of a range query, with Prometheus's words for what makes none.
fn span(start_ms: i64, end_ms: i64, step_ms: i64, budget: &Budget) -> Result<Steps, QueryError> {
    check_time(start_ms)?;
    check_time(end_ms)?;
    let bad = |message: &str| Err(QueryError::BadData(message.to_owned()));
    if end_ms < start_ms {
        return bad("end timestamp must not be before start time");
    }
    if step_ms <= 0 {
        return bad(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        );
    }
    let steps = Steps::between(start_ms, end_ms, step_ms);
    // Prometheus counts the distances, not the points.
    if steps.count as u64 - 1 > budget.limits().points {
        return bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
             resolution (?step=XX)",
        );
    }
    Ok(steps)
}

/// The samples of a range vector, at their own times.
fn matrix(
    evaluator: &Evaluator<'_>,
    expr: &Expr,
    steps: Steps,
) -> Result<Vec<RangeSeries>, QueryError> {
    let source = evaluator.source(expr, steps, "")?;
    let mut out = Vec::new();
    for one in source.series {
        let (start, end) = (
            source.look.start_ms.saturating_sub(source.range_ms),
            source.look.end_ms(),
        );
        let points = one.times.iter().copied().zip(one.values.iter().copied());
        let points = points.filter(|(time, _)| *time > start && *time <= end);
        let budget = evaluator.budget;
        budget.check()?;
        let count = points.clone().count() as u64;
        budget.charge_bytes(ANSWER_SERIES_BYTES + count * ANSWER_POINT_BYTES)?;
        let points: Vec<_> = points.collect();
        if !points.is_empty() {
            out.push(RangeSeries {
                labels: one.labels,
                points,
            });
        }
    }
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(out)
}

fn vector(mut table: Table<'_>, time_ms: i64, budget: &Budget) -> Result<Vec<Sample>, QueryError> {
    budget.charge_bytes(table.rows.len() as u64 * ANSWER_SERIES_BYTES)?;
    let sample = |row: Row| {
        row.at(0).map(|value| Sample {
            labels: row.labels,
            time_ms,
            value,
        })
    };
    let rows = std::mem::take(&mut table.rows).into_iter();
    Ok(rows.filter_map(sample).collect())
}

fn ranges(
    mut table: Table<'_>,
    steps: Steps,
    budget: &Budget,
) -> Result<Vec<RangeSeries>, QueryError> {
    let rows = std::mem::take(&mut table.rows).into_iter();
    let series = |row: Row| {
        budget.check()?;
        let present = || {
            let each = row.values.iter().enumerate();
            each.filter(|(_, value)| !is_stale(**value))
        };
        let count = present().count() as u64;
        budget.charge_bytes(ANSWER_SERIES_BYTES + count * ANSWER_POINT_BYTES)?;
        let mut points = Vec::with_capacity(count as usize);
        points.extend(present().map(|(step, value)| (steps.time(step), *value)));
        Ok(RangeSeries {
            labels: row.labels,
            points,
        })
    };
    rows.map(series).collect()
}
