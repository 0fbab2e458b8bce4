//! `absent` and `absent_over_time`: a value where there is none.

use super::call::any_present;
use super::{Result, Steps, Table};
use crate::ast::{Expr, Node};
use crate::budget::Budget;
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::matcher::MatchOp;
use crate::number::STALE;

/// A series that is 1 wherever the table has no value.
pub(super) fn complement<'a>(
    table: &Table<'_>,
    labels: Labels,
    steps: Steps,
    budget: &'a Budget,
) -> Result<Table<'a>> {
    let value = |step| if any_present(table, step) { STALE } else { 1.0 };
    Table::single(budget, labels, (0..steps.count).map(value).collect())
}

/// The labels that the missing series would have: those that the selector fixes exactly once.
pub(super) fn labels_of(expr: &Expr) -> Labels {
    let (Node::Vector(selector) | Node::Matrix(selector, _)) = &expr.unwrapped().node else {
        return Labels::default();
    };
    let mut labels = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector
        .matchers
        .iter()
        .filter(|matcher| &*matcher.name != METRIC_NAME)
    {
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            labels.set(matcher.name.clone(), matcher.value.clone());
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}
