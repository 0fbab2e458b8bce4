//! Aggregations that make one series of each group.

use std::collections::HashMap;

use super::rank::Param;
use super::statistics::{Mean, Sum, quantile};
use super::{Evaluator, Result, Row, Steps, Table, fail, unsupported};
use crate::ast::{Aggregate, AggregateOp, Grouping, Node, Span};
use crate::labels::{Label, Labels, METRIC_NAME, quote};
use crate::number::{STALE, format_value, is_stale};

/// The rows of one group, in the order of the table.
pub(super) struct Members {
    pub(super) labels: Labels,
    pub(super) rows: Vec<usize>,
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
            (_, None) => self.folded(op, &table, &aggregate.grouping, steps),
        }
    }

    fn folded(
        &self,
        op: AggregateOp,
        table: &Table<'_>,
        grouping: &Grouping,
        steps: Steps,
    ) -> Result<Table<'a>> {
        match op {
            AggregateOp::Sum => self.fold::<Sum>(table, grouping, steps),
            AggregateOp::Avg => self.fold::<Mean>(table, grouping, steps),
            AggregateOp::Count => self.fold::<Count>(table, grouping, steps),
            AggregateOp::Group => self.fold::<One>(table, grouping, steps),
            AggregateOp::Min => self.fold::<Least>(table, grouping, steps),
            AggregateOp::Max => self.fold::<Greatest>(table, grouping, steps),
            AggregateOp::Stdvar => self.fold::<Variance>(table, grouping, steps),
            AggregateOp::Stddev => {
                let mut table = self.fold::<Variance>(table, grouping, steps)?;
                table.map(f64::sqrt);
                Ok(table)
            }
            _ => Err(unsupported("this aggregation needs a parameter")),
        }
    }

    /// Folds the values of each group at each step, one series after the other.
    fn fold<F: Fold>(
        &self,
        table: &Table<'_>,
        grouping: &Grouping,
        steps: Steps,
    ) -> Result<Table<'a>> {
        let mut out = Table::empty(self.budget, steps.count);
        let mut cells: Vec<Option<F>> = Vec::new();
        for group in self.groups(table, grouping)? {
            cells.clear();
            cells.resize_with(steps.count, || None);
            for row in group.rows.iter().filter_map(|row| table.rows.get(*row)) {
                self.budget.check()?;
                for (cell, value) in cells.iter_mut().zip(&row.values) {
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
        for group in self.groups(table, grouping)? {
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
    pub(super) fn groups(&self, table: &Table<'_>, grouping: &Grouping) -> Result<Vec<Members>> {
        if !grouping.without && grouping.labels.is_empty() {
            let rows: Vec<usize> = (0..table.rows.len()).collect();
            let all = Members {
                labels: Labels::default(),
                rows,
            };
            return Ok(if table.rows.is_empty() {
                Vec::new()
            } else {
                vec![all]
            });
        }
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<Members> = Vec::new();
        for (index, row) in table.rows.iter().enumerate() {
            let labels = group_labels(&row.labels, grouping);
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                groups.push(Members {
                    labels: labels.clone(),
                    rows: Vec::new(),
                });
                groups.len() - 1
            });
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
