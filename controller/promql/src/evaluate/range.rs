//! Functions of range vectors: windows that slide over each series.

use std::sync::Arc;

use super::select::{Aligned, step_of, windows};
use super::{Evaluator, Result, Row, Steps, Table, unsupported};
use crate::ast::{Call, Expr, Node, Span};
use crate::labels::{METRIC_NAME, quote};
use crate::number::{STALE, is_stale};
use crate::storage::{SelectHint, Series};

/// The samples that a step sees, oldest first, and where the window lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'w> {
    pub(super) times: &'w [i64],
    pub(super) values: &'w [f64],
    /// The window's end, included; milliseconds.
    pub(super) end_ms: i64,
    /// The window's length, milliseconds.
    pub(super) range_ms: i64,
    /// The time of the step, which `@` and `offset` do not move.
    pub(super) step_ms: i64,
}

/// The series under a range function.
pub(crate) struct Source {
    pub(crate) series: Vec<Series>,
    pub(crate) look: Steps,
    pub(crate) range_ms: i64,
}

impl<'a> Evaluator<'a> {
    /// The series of a range vector, without stale markers.
    pub(crate) fn source(
        &self,
        expr: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Source> {
        match &expr.unwrapped().node {
            Node::Matrix(selector, range_ms) => {
                let look = self.look(selector.moment, steps);
                let hint = SelectHint {
                    step_ms: step_of(look),
                    range_ms: *range_ms,
                    function: function.to_owned(),
                };
                let mut series = self.fetch(selector, look, *range_ms, hint)?;
                series.iter_mut().for_each(drop_stale);
                Ok(Source {
                    series,
                    look,
                    range_ms: *range_ms,
                })
            }
            Node::Subquery(subquery) => {
                let look = self.look(subquery.moment, steps);
                let (table, inner) = self.subquery(subquery, look, function)?;
                let times: Arc<[i64]> = inner.times().collect();
                let rows = table.rows.into_iter();
                let series = rows
                    .map(|row| {
                        let times = Arc::clone(&times);
                        let mut one = Series {
                            labels: row.labels,
                            times,
                            values: row.values.into(),
                        };
                        drop_stale(&mut one);
                        one
                    })
                    .collect();
                Ok(Source {
                    series,
                    look,
                    range_ms: subquery.range_ms,
                })
            }
            _ => Err(unsupported("a range vector is needed here")),
        }
    }

    /// The value of a range function: one series for each that has one.
    pub(super) fn range_call(&self, call: &Call, matrix: &Expr, steps: Steps) -> Result<Table<'a>> {
        let function = call.function;
        let source = self.source(matrix, steps, function.text)?;
        let mut parameters = Vec::new();
        for arg in call.args.iter().filter(|arg| !std::ptr::eq(*arg, matrix)) {
            parameters.push(self.evaluate_scalar(arg, steps)?);
        }
        let compute = super::over_time::Computation::of(function.name, &parameters)?;
        let mut table = Table::empty(self.budget, steps.count);
        let mut windows =
            Aligned::new(|times: &[i64]| windows(times, source.look, source.range_ms));
        for one in &source.series {
            self.budget.check()?;
            let windows = windows.of(&one.times);
            let frame = Frame {
                series: one,
                windows,
                steps,
                look: source.look,
                range_ms: source.range_ms,
            };
            let values = compute.run(&frame, self.budget)?;
            table.push(Row {
                labels: one.labels.clone(),
                values,
            })?;
        }
        self.remark(call, &table, &parameters);
        Ok(table)
    }

    /// What Prometheus remarks about range functions.
    fn remark(&self, call: &Call, table: &Table<'_>, parameters: &[Vec<f64>]) {
        use crate::functions::Name;
        let Some(first) = call.args.first() else {
            return;
        };
        match call.function.name {
            Name::Rate | Name::Increase => self.remark_non_counters(table, first.span),
            Name::QuantileOverTime if !table.rows.is_empty() => {
                for q in parameters.first().into_iter().flatten() {
                    self.check_quantile(*q, first.span);
                }
            }
            _ => {}
        }
    }

    fn remark_non_counters(&self, table: &Table<'_>, span: Span) {
        let mut last = "";
        for row in &table.rows {
            let name = row.labels.get(METRIC_NAME).unwrap_or_default();
            let counter = ["_total", "_sum", "_count", "_bucket"];
            if name.is_empty() || name == last || counter.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            last = name;
            self.inform(
                span,
                format!(
                    "metric might not be a counter, name does not end in \
                     _total/_sum/_count/_bucket: {}",
                    quote(name.as_bytes())
                ),
            );
        }
    }

    /// Warns of a quantile that is none.
    pub(super) fn check_quantile(&self, q: f64, span: Span) {
        if !(0.0..=1.0).contains(&q) {
            let q = crate::number::format_general(q);
            self.warn(
                span,
                format!("quantile value should be between 0 and 1, got {q}"),
            );
        }
    }
}

/// One series under the windows of all steps.
pub(super) struct Frame<'f> {
    pub(super) series: &'f Series,
    windows: &'f [(u32, u32)],
    pub(super) steps: Steps,
    look: Steps,
    range_ms: i64,
}

impl<'f> Frame<'f> {
    /// The bounds of the window of one step; under `@` all steps share one.
    pub(super) fn bounds(&self, step: usize) -> (usize, usize) {
        let index = if self.look.count == 1 { 0 } else { step };
        self.windows
            .get(index)
            .map_or((0, 0), |(low, high)| (*low as usize, *high as usize))
    }

    /// The window of one step, if it holds a sample.
    pub(super) fn window(&self, step: usize) -> Option<Window<'f>> {
        let (low, high) = self.bounds(step);
        let times = self.series.times.get(low..high)?;
        let values = self.series.values.get(low..high)?;
        let index = if self.look.count == 1 { 0 } else { step };
        (!values.is_empty()).then(|| Window {
            times,
            values,
            end_ms: self.look.time(index),
            range_ms: self.range_ms,
            step_ms: self.steps.time(step),
        })
    }
}

/// Leaves out stale markers; a series without any stays as it is, shared.
fn drop_stale(series: &mut Series) {
    if !series.values.iter().any(|value| is_stale(*value)) {
        return;
    }
    let kept = series
        .times
        .iter()
        .zip(series.values.iter())
        .filter(|(_, value)| !is_stale(**value));
    let (times, values): (Vec<i64>, Vec<f64>) = kept.map(|(time, value)| (*time, *value)).unzip();
    series.times = times.into();
    series.values = values.into();
}

/// No value: what a computation gives where the window is too short.
pub(super) const NOTHING: f64 = STALE;
