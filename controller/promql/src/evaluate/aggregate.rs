//! Aggregations that make one series of each group.

use std::borrow::Cow;
use std::collections::HashMap;

use super::invariant::is_invariant;
use super::range::{Slider, Source};
use super::rank::Param;
use super::statistics::{Mean, Sum, quantile};
use super::{Evaluator, Result, Row, Steps, Table, fail, unsupported};
use crate::ast::{Aggregate, AggregateOp, Grouping, Node, Span, Type};
use crate::functions::Name;
use crate::labels::{Label, Labels, METRIC_NAME, quote};
use crate::matcher::Matcher;
use crate::number::{STALE, format_value, is_stale};

/// The rows of one group, in the order of the table.
pub(super) struct Members {
    pub(super) labels: Labels,
    pub(super) rows: Vec<usize>,
}

/// The series that are folded: at hand, or still to be computed.
enum Input<'i, 'a> {
    Table(&'i Table<'a>),
    Sliding(Slider<'i, 'a>, &'i Source<'a>),
}

impl<'i> Input<'i, '_> {
    fn labels(&self) -> Box<dyn Iterator<Item = &'i Labels> + 'i> {
        match *self {
            Self::Table(table) => Box::new(table.labels()),
            Self::Sliding(_, source) => Box::new(source.series.iter().map(|one| &one.labels)),
        }
    }

    fn values(&mut self, row: usize) -> Result<Cow<'i, [f64]>> {
        match self {
            Self::Table(table) => {
                let values = table.rows.get(row).map(|row| row.values.as_slice());
                Ok(Cow::Borrowed(values.unwrap_or_default()))
            }
            Self::Sliding(slider, _) => slider.values(row).map(Cow::Owned),
        }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        span: Span,
        steps: Steps,
    ) -> Result<Table<'a>> {
        let op = aggregate.op;
        if op == AggregateOp::CountValues {
            return self.count_values(aggregate, steps);
        }
        let param = match &aggregate.param {
            Some(param) => Some(Param {
                values: self.evaluate_scalar(param, steps)?,
                span: param.span,
            }),
            None => None,
        };
        if param.is_none()
            && let Some(table) = self.folded_while_sliding(aggregate, steps)?
        {
            return Ok(table);
        }
        let table = self.evaluate_vector(&aggregate.expr, steps, op.name())?;
        match (op, param) {
            (AggregateOp::Quantile, Some(param)) => {
                param
                    .values
                    .iter()
                    .for_each(|q| self.check_quantile(*q, param.span));
                self.by_group(&table, &aggregate.grouping, steps, |rows, step| {
                    let q = param.values.get(step).copied().unwrap_or(f64::NAN);
                    let mut values: Vec<f64> = rows.collect();
                    if values.is_empty() {
                        STALE
                    } else {
                        quantile(q, &mut values)
                    }
                })
            }
            (_, Some(param)) => self.ranked(op, &param, table, &aggregate.grouping, steps, span),
            (_, None) => self.folded(op, Input::Table(&table), &aggregate.grouping, steps),
        }
    }

    /// An aggregation of a range function: each series is folded into its group as soon as it is
    /// computed, so that only the groups are held. Nothing if metric names keep that from being
    /// the same as one after the other.
    fn folded_while_sliding(
        &self,
        aggregate: &Aggregate,
        steps: Steps,
    ) -> Result<Option<Table<'a>>> {
        let Node::Call(call) = &aggregate.expr.unwrapped().node else {
            return Ok(None);
        };
        let Some(matrix) = call.args.iter().find(|arg| arg.kind() == Type::Matrix) else {
            return Ok(None);
        };
        let name = call.function.name;
        let keeps_name = matches!(
            name,
            Name::AbsentOverTime | Name::LastOverTime | Name::FirstOverTime
        );
        let by_name = aggregate
            .grouping
            .labels
            .iter()
            .any(|label| &**label == METRIC_NAME);
        if keeps_name || by_name || (steps.count > 1 && is_invariant(&aggregate.expr)) {
            return Ok(None);
        }
        // One metric only: dropping its name cannot make two series the same.
        let is_one_metric = match &matrix.unwrapped().node {
            Node::Matrix(selector, _) => selector.matchers.iter().any(Matcher::is_metric_name),
            _ => false,
        };
        if !is_one_metric {
            return Ok(None);
        }
        let source = self.source(matrix, steps, call.function.text)?;
        let parameters = self.parameters(call, matrix, steps)?;
        let slider = Slider::new(self, call, &source, &parameters, steps)?;
        let input = Input::Sliding(slider, &source);
        self.folded(aggregate.op, input, &aggregate.grouping, steps)
            .map(Some)
    }

    fn folded(
        &self,
        op: AggregateOp,
        input: Input<'_, 'a>,
        grouping: &Grouping,
        steps: Steps,
    ) -> Result<Table<'a>> {
        match op {
            AggregateOp::Sum => self.fold::<Sum>(input, grouping, steps),
            AggregateOp::Avg => self.fold::<Mean>(input, grouping, steps),
            AggregateOp::Count => self.fold::<Count>(input, grouping, steps),
            AggregateOp::Group => self.fold::<One>(input, grouping, steps),
            AggregateOp::Min => self.fold::<Least>(input, grouping, steps),
            AggregateOp::Max => self.fold::<Greatest>(input, grouping, steps),
            AggregateOp::Stdvar => self.fold::<Variance>(input, grouping, steps),
            AggregateOp::Stddev => {
                let mut table = self.fold::<Variance>(input, grouping, steps)?;
                table.map(f64::sqrt);
                Ok(table)
            }
            _ => Err(unsupported("this aggregation needs a parameter")),
        }
    }

    /// Folds the values of each group at each step, one series after the other.
    fn fold<F: Fold>(
        &self,
        mut input: Input<'_, 'a>,
        grouping: &Grouping,
        steps: Steps,
    ) -> Result<Table<'a>> {
        let mut out = Table::empty(self.budget, steps.count);
        let mut cells: Vec<Option<F>> = Vec::new();
        for group in self.groups(input.labels(), grouping)? {
            cells.clear();
            cells.resize_with(steps.count, || None);
            for row in group.rows {
                self.budget.check()?;
                for (cell, value) in cells.iter_mut().zip(input.values(row)?.iter()) {
                    match cell {
                        _ if is_stale(*value) => {}
                        Some(fold) => fold.add(*value),
                        None => *cell = Some(F::first(*value)),
                    }
                }
            }
            let values = cells
                .iter()
                .map(|cell| cell.as_ref().map_or(STALE, F::value))
                .collect();
            out.push(Row {
                labels: group.labels,
                values,
            })?;
        }
        Ok(out)
    }

    /// Computes each group at each step from all of its values.
    fn by_group(
        &self,
        table: &Table<'_>,
        grouping: &Grouping,
        steps: Steps,
        compute: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64,
    ) -> Result<Table<'a>> {
        let mut out = Table::empty(self.budget, steps.count);
        for group in self.groups(table.labels(), grouping)? {
            let rows: Vec<&Row> = group
                .rows
                .iter()
                .filter_map(|row| table.rows.get(*row))
                .collect();
            let mut values = Vec::with_capacity(steps.count);
            for step in 0..steps.count {
                self.budget.check()?;
                values.push(compute(
                    &mut rows.iter().filter_map(|row| row.at(step)),
                    step,
                ));
            }
            out.push(Row {
                labels: group.labels,
                values,
            })?;
        }
        Ok(out)
    }

    /// The groups in the order of their first series.
    pub(super) fn groups<'l>(
        &self,
        labels: impl Iterator<Item = &'l Labels>,
        grouping: &Grouping,
    ) -> Result<Vec<Members>> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<Members> = Vec::new();
        let together = !grouping.without && grouping.labels.is_empty();
        for (index, labels) in labels.enumerate() {
            let place = if together && !groups.is_empty() {
                0
            } else {
                let labels = group_labels(labels, grouping);
                *places.entry(labels).or_insert_with_key(|labels| {
                    groups.push(Members {
                        labels: labels.clone(),
                        rows: Vec::new(),
                    });
                    groups.len() - 1
                })
            };
            if let Some(group) = groups.get_mut(place) {
                group.rows.push(index);
            }
        }
        self.budget.check()?;
        Ok(groups)
    }

    /// One series per value: how many series have it.
    fn count_values(&self, aggregate: &Aggregate, steps: Steps) -> Result<Table<'a>> {
        let Some(Node::String(name)) = aggregate
            .param
            .as_ref()
            .map(|param| &param.unwrapped().node)
        else {
            return Err(unsupported("count_values needs a label name"));
        };
        let name = match std::str::from_utf8(name) {
            Ok(text) if !text.is_empty() => text,
            _ => return fail(format!("invalid label name {}", quote(name))),
        };
        let mut grouping = aggregate.grouping.clone();
        if !grouping.without {
            grouping.labels.push(name.into());
        }
        let table = self.evaluate_vector(&aggregate.expr, steps, aggregate.op.name())?;
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut out = Table::empty(self.budget, steps.count);
        for row in &table.rows {
            for (step, value) in row
                .values
                .iter()
                .enumerate()
                .filter(|(_, value)| !is_stale(**value))
            {
                self.budget.check()?;
                let mut labels = row.labels.to_builder();
                labels.set(name, format_value(*value));
                let labels = group_labels(&labels.build(), &grouping);
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        out.reserve(1)?;
                        places.insert(labels.clone(), out.rows.len());
                        out.rows.push(Row {
                            labels,
                            values: vec![STALE; steps.count],
                        });
                        out.rows.len() - 1
                    }
                };
                let cell = out
                    .rows
                    .get_mut(place)
                    .and_then(|row| row.values.get_mut(step));
                if let Some(cell) = cell {
                    *cell = if is_stale(*cell) { 1.0 } else { *cell + 1.0 };
                }
            }
        }
        Ok(out)
    }
}

/// The labels that make the group of a series.
fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    let listed = |name: &str| grouping.labels.iter().any(|label| &**label == name);
    if grouping.without {
        return labels.without(|name| name == METRIC_NAME || listed(name));
    }
    let kept: Vec<Label> = labels
        .iter()
        .filter(|label| listed(&label.name))
        .cloned()
        .collect();
    Labels::from_sorted(kept)
}

/// What an aggregation keeps of the values that it has seen.
trait Fold {
    fn first(value: f64) -> Self;
    fn add(&mut self, value: f64);
    fn value(&self) -> f64;
}

impl Fold for Sum {
    fn first(value: f64) -> Self {
        Self::of(value)
    }

    fn add(&mut self, value: f64) {
        *self = self.plus(value);
    }

    fn value(&self) -> f64 {
        self.total()
    }
}

impl Fold for Mean {
    fn first(value: f64) -> Self {
        Self::of(value)
    }

    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }

    fn value(&self) -> f64 {
        Self::value(*self)
    }
}

struct Count(f64);

impl Fold for Count {
    fn first(_: f64) -> Self {
        Self(1.0)
    }

    fn add(&mut self, _: f64) {
        self.0 += 1.0;
    }

    fn value(&self) -> f64 {
        self.0
    }
}

struct One;

impl Fold for One {
    fn first(_: f64) -> Self {
        Self
    }

    fn add(&mut self, _: f64) {}

    fn value(&self) -> f64 {
        1.0
    }
}

struct Least(f64);

impl Fold for Least {
    fn first(value: f64) -> Self {
        Self(value)
    }

    fn add(&mut self, value: f64) {
        if value < self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn value(&self) -> f64 {
        self.0
    }
}

struct Greatest(f64);

impl Fold for Greatest {
    fn first(value: f64) -> Self {
        Self(value)
    }

    fn add(&mut self, value: f64) {
        if value > self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn value(&self) -> f64 {
        self.0
    }
}

/// Welford's running variance.
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Fold for Variance {
    fn first(value: f64) -> Self {
        let squares = if value.is_finite() { 0.0 } else { f64::NAN };
        Self {
            count: 1.0,
            mean: value,
            squares,
        }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn value(&self) -> f64 {
        self.squares / self.count
    }
}
