//! Series side by side: a label set and one value per step for each.

use std::collections::HashMap;

use super::{Result, fail};
use crate::budget::Budget;
use crate::labels::{Labels, METRIC_NAME};
use crate::number::is_stale;

/// Prometheus's words for two results that cannot be told apart.
pub(super) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// One series. Where it has no value it holds the stale marker, which no computation yields.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) values: Vec<f64>,
}

impl Row {
    /// Whether the series has any value.
    pub(crate) fn is_present(&self) -> bool {
        self.values.iter().any(|value| !is_stale(*value))
    }

    /// The value at one step.
    pub(crate) fn at(&self, step: usize) -> Option<f64> {
        self.values
            .get(step)
            .copied()
            .filter(|value| !is_stale(*value))
    }
}

/// What a series takes beside its values and labels.
const ROW_BYTES: u64 = 96;

/// Memory that is given back when this goes.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl<'a> Held<'a> {
    /// Nothing yet.
    pub(crate) fn nothing(budget: &'a Budget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Pays before it is allocated.
    pub(crate) fn pay(&mut self, bytes: u64) -> Result<()> {
        // What was refused counts as charged until it is given back, too.
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(self.budget.charge_bytes(bytes)?)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.release_bytes(self.bytes);
    }
}

/// All series of a node; every row has `steps` values.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) rows: Vec<Row>,
    steps: usize,
    held: Held<'a>,
}

impl<'a> Table<'a> {
    pub(crate) fn empty(budget: &'a Budget, steps: usize) -> Self {
        Self {
            rows: Vec::new(),
            steps,
            held: Held::nothing(budget),
        }
    }

    /// The label sets, in order.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.rows.iter().map(|row| &row.labels)
    }

    /// Pays for rows before they are made.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<()> {
        let row = (self.steps as u64)
            .saturating_mul(8)
            .saturating_add(ROW_BYTES);
        self.held.pay((rows as u64).saturating_mul(row))
    }

    /// The rows, and what is held for them.
    pub(crate) fn into_parts(self) -> (Vec<Row>, Held<'a>) {
        (self.rows, self.held)
    }

    /// Adds a series if it has a value anywhere.
    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        if row.is_present() {
            self.reserve(1)?;
            self.held.pay(row.labels.heap_bytes())?;
            self.rows.push(row);
        }
        Ok(())
    }

    /// A table of one series.
    pub(crate) fn single(budget: &'a Budget, labels: Labels, values: Vec<f64>) -> Result<Self> {
        let mut table = Self::empty(budget, values.len());
        table.push(Row { labels, values })?;
        Ok(table)
    }

    /// Repeats the only value of each series.
    pub(crate) fn repeat(&mut self, steps: usize) -> Result<()> {
        self.steps = steps;
        self.reserve(self.rows.len())?;
        for row in &mut self.rows {
            self.held.budget.check()?;
            row.values = row.values.repeat(steps);
        }
        Ok(())
    }

    /// Computes every value anew.
    pub(crate) fn map(&mut self, compute: impl Fn(f64) -> f64) {
        self.map_steps(|_, value| compute(value));
    }

    /// Computes every value anew; the stale marker as a result takes the value away.
    pub(crate) fn map_steps(&mut self, compute: impl Fn(usize, f64) -> f64) {
        for row in &mut self.rows {
            for (step, value) in row.values.iter_mut().enumerate() {
                if !is_stale(*value) {
                    *value = compute(step, *value);
                }
            }
        }
    }

    /// Removes series without any value.
    pub(crate) fn prune(&mut self) {
        self.rows.retain(Row::is_present);
    }

    /// Removes metric names. Series that become the same are joined if no step has both.
    pub(crate) fn drop_names(&mut self) -> Result<()> {
        if self.forget_names() {
            Ok(())
        } else {
            self.merge()
        }
    }

    /// Removes metric names; series that become the same are an error wherever their values are.
    pub(crate) fn drop_names_strictly(&mut self) -> Result<()> {
        if self.forget_names() {
            return Ok(());
        }
        let mut seen = std::collections::HashSet::with_capacity(self.rows.len());
        if self.rows.iter().all(|row| seen.insert(&row.labels)) {
            Ok(())
        } else {
            fail(SAME_LABELS)
        }
    }

    /// Removes names and tells whether all were equal, so that no two sets can have become equal.
    fn forget_names(&mut self) -> bool {
        let first = self
            .rows
            .first()
            .and_then(|row| row.labels.label(METRIC_NAME))
            .cloned();
        let mut same = true;
        for row in &mut self.rows {
            same &= row.labels.label(METRIC_NAME) == first.as_ref();
            row.labels = row.labels.without_name();
        }
        same
    }

    /// Joins series of the same labels; an error if a step has two values.
    pub(crate) fn merge(&mut self) -> Result<()> {
        let mut places: HashMap<Labels, usize> = HashMap::with_capacity(self.rows.len());
        let mut merged: Vec<Row> = Vec::with_capacity(self.rows.len());
        for row in std::mem::take(&mut self.rows) {
            let known = places
                .get(&row.labels)
                .and_then(|place| merged.get_mut(*place));
            match known {
                Some(known) => join(known, &row)?,
                None => {
                    places.insert(row.labels.clone(), merged.len());
                    merged.push(row);
                }
            }
        }
        self.rows = merged;
        Ok(())
    }
}

fn join(known: &mut Row, other: &Row) -> Result<()> {
    for (mine, theirs) in known.values.iter_mut().zip(&other.values) {
        if is_stale(*theirs) {
            continue;
        }
        if !is_stale(*mine) {
            return fail(SAME_LABELS);
        }
        *mine = *theirs;
    }
    Ok(())
}
