//! Functions of range vectors: windows that slide over each series.

use std::sync::Arc;

use super::over_time::Computation;
use super::rate::{Extrapolation, Shape};
use super::select::{Aligned, step_of, windows};
use super::{Evaluator, Held, Result, Row, Steps, Table, unsupported};
use crate::ast::{Call, Expr, Node, Span};
use crate::functions::Name;
use crate::labels::{METRIC_NAME, quote};
use crate::number::{STALE, is_stale};
use crate::storage::{SelectHint, Series};

/// The samples that a step sees, oldest first, and where the window lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'w> {
    pub(super) times: &'w [i64],
    pub(super) values: &'w [f64],
    /// How many samples each value stands for; each is one without it.
    pub(super) counts: Option<&'w [f64]>,
    /// The window's end, included; milliseconds.
    pub(super) end_ms: i64,
    /// The window's length, milliseconds.
    pub(super) range_ms: i64,
    /// The time of the step, which `@` and `offset` do not move.
    pub(super) step_ms: i64,
}

/// The series under a range function.
pub(crate) struct Source<'a> {
    pub(crate) series: Vec<Series>,
    pub(crate) look: Steps,
    pub(crate) range_ms: i64,
    /// What is held for series that were computed or copied.
    _held: Held<'a>,
}

impl<'a> Evaluator<'a> {
    /// The series of a range vector, without stale markers.
    pub(crate) fn source(
        &self,
        expr: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Source<'a>> {
        match &expr.unwrapped().node {
            Node::Matrix(selector, range_ms) => {
                let look = self.look(selector.moment, steps);
                let hint = SelectHint {
                    step_ms: step_of(look),
                    range_ms: *range_ms,
                    function: function.to_owned(),
                };
                let mut series = self.fetch(selector, look, *range_ms, hint)?;
                let mut held = Held::nothing(self.budget);
                for one in &mut series {
                    drop_stale(one, &mut held)?;
                }
                Ok(Source {
                    series,
                    look,
                    range_ms: *range_ms,
                    _held: held,
                })
            }
            Node::Subquery(subquery) => {
                let look = self.look(subquery.moment, steps);
                let (table, inner) = self.subquery(subquery, look, function)?;
                let times: Arc<[i64]> = inner.times().collect();
                let (rows, mut held) = table.into_parts();
                let series = rows.into_iter().map(|row| {
                    self.budget.check()?;
                    let mut one = Series {
                        labels: row.labels,
                        times: Arc::clone(&times),
                        values: row.values.into(),
                        coarse: None,
                    };
                    drop_stale(&mut one, &mut held)?;
                    Ok(one)
                });
                Ok(Source {
                    series: series.collect::<Result<_>>()?,
                    look,
                    range_ms: subquery.range_ms,
                    _held: held,
                })
            }
            _ => Err(unsupported("a range vector is needed here")),
        }
    }

    /// The value of a range function: one series for each that has one.
    pub(super) fn range_call(&self, call: &Call, matrix: &Expr, steps: Steps) -> Result<Table<'a>> {
        let source = self.source(matrix, steps, call.function.text)?;
        let parameters = self.parameters(call, matrix, steps)?;
        let mut slider = Slider::new(self, call, &source, &parameters, steps)?;
        let mut table = Table::empty(self.budget, steps.count);
        for (index, one) in source.series.iter().enumerate() {
            let values = slider.values(index)?;
            table.push(Row {
                labels: one.labels.clone(),
                values,
            })?;
        }
        Ok(table)
    }

    /// The arguments beside the range vector, one number per step each.
    pub(super) fn parameters(
        &self,
        call: &Call,
        matrix: &Expr,
        steps: Steps,
    ) -> Result<Vec<Vec<f64>>> {
        let others = call.args.iter().filter(|arg| !std::ptr::eq(*arg, matrix));
        others.map(|arg| self.evaluate_scalar(arg, steps)).collect()
    }

    /// What Prometheus remarks about the name of a rate's metric.
    fn remark_non_counter(&self, name: &str, span: Span) {
        let counter = ["_total", "_sum", "_count", "_bucket"];
        if name.is_empty() || counter.iter().any(|end| name.ends_with(end)) {
            return;
        }
        let quoted = quote(name.as_bytes());
        self.inform(
            span,
            format!(
                "metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: {quoted}"
            ),
        );
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

/// Slides a function over series, one after the other.
pub(super) struct Slider<'s, 'a> {
    evaluator: &'s Evaluator<'a>,
    call: &'s Call,
    source: &'s Source<'a>,
    parameters: &'s [Vec<f64>],
    compute: Computation<'s>,
    steps: Steps,
    windows: Aligned<(u32, u32)>,
    shapes: Aligned<Shape>,
    /// The metric that was remarked about last, if any.
    remarked: Option<Arc<str>>,
}

impl<'s, 'a> Slider<'s, 'a> {
    pub(super) fn new(
        evaluator: &'s Evaluator<'a>,
        call: &'s Call,
        source: &'s Source<'a>,
        parameters: &'s [Vec<f64>],
        steps: Steps,
    ) -> Result<Self> {
        let compute = Computation::of(call.function.name, parameters)?;
        let (windows, shapes) = (Aligned::default(), Aligned::default());
        Ok(Self {
            evaluator,
            call,
            source,
            parameters,
            compute,
            steps,
            windows,
            shapes,
            remarked: None,
        })
    }

    /// The values of one series at all steps.
    pub(super) fn values(&mut self, index: usize) -> Result<Vec<f64>> {
        let Source {
            series,
            look,
            range_ms,
            ..
        } = self.source;
        let budget = self.evaluator.budget;
        budget.check()?;
        let Some(series) = series.get(index) else {
            return Ok(Vec::new());
        };
        let (steps, look, range_ms) = (self.steps, *look, *range_ms);
        let windows = self
            .windows
            .of(&series.times, |times| windows(times, look, range_ms));
        let frame = Frame {
            series,
            windows,
            steps,
            look,
            range_ms,
        };
        let values = match Extrapolation::of(self.call.function.name) {
            Some(kind) if look.count == steps.count => {
                let shapes = self.shapes.of(&series.times, |_| kind.shapes(&frame));
                kind.changes(&series.values, shapes)
            }
            _ => self.compute.run(&frame, budget)?,
        };
        self.remark(series, &values);
        Ok(values)
    }

    fn remark(&mut self, series: &Series, values: &[f64]) {
        let name = self.call.function.name;
        let is_rate = matches!(name, Name::Rate | Name::Increase);
        if !is_rate && name != Name::QuantileOverTime {
            return;
        }
        let metric = series.labels.label(METRIC_NAME).map(|label| &label.value);
        let known = self.remarked.is_some() && (self.remarked.as_ref() == metric || !is_rate);
        let Some(first) = self.call.args.first() else {
            return;
        };
        if known || !values.iter().any(|value| !is_stale(*value)) {
            return;
        }
        self.remarked = Some(metric.cloned().unwrap_or_else(|| Arc::from("")));
        if is_rate {
            let metric = metric.map(|name| &**name).unwrap_or_default();
            self.evaluator.remark_non_counter(metric, first.span);
        } else {
            let quantiles = self.parameters.first().into_iter().flatten();
            quantiles.for_each(|q| self.evaluator.check_quantile(*q, first.span));
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
        let coarse = self.series.coarse.as_ref();
        let index = if self.look.count == 1 { 0 } else { step };
        (!values.is_empty()).then(|| Window {
            times,
            values,
            counts: coarse.and_then(|coarse| coarse.counts.get(low..high)),
            end_ms: self.look.time(index),
            range_ms: self.range_ms,
            step_ms: self.steps.time(step),
        })
    }
}

/// Leaves out stale markers; a series without any stays as it is, shared.
fn drop_stale(series: &mut Series, held: &mut Held<'_>) -> Result<()> {
    if !series.values.iter().any(|value| is_stale(*value)) {
        return Ok(());
    }
    held.pay(series.values.len() as u64 * 16)?;
    if let Some(coarse) = &mut series.coarse {
        let counts = coarse.counts.iter().zip(series.values.iter());
        let kept = counts.filter(|(_, value)| !is_stale(**value));
        coarse.counts = kept.map(|(count, _)| *count).collect();
    }
    let kept = series
        .times
        .iter()
        .zip(series.values.iter())
        .filter(|(_, value)| !is_stale(**value));
    let (times, values): (Vec<i64>, Vec<f64>) = kept.map(|(time, value)| (*time, *value)).unzip();
    series.times = times.into();
    series.values = values.into();
    Ok(())
}

/// No value: what a computation gives where the window is too short.
pub(super) const NOTHING: f64 = STALE;
