//! `topk`, `bottomk`, `limitk`, `limit_ratio`: aggregations that keep some series of each group.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::aggregate::Members;
use super::statistics::nan_first;
use super::{Evaluator, Result, Row, Steps, Table, fail};
use crate::ast::{AggregateOp, Grouping, Span};
use crate::labels::Labels;
use crate::number::{STALE, format_general};

/// An aggregation's parameter at each step, and its place in the text.
pub(super) struct Param {
    pub(super) values: Vec<f64>,
    pub(super) span: Span,
}

impl Param {
    fn max(&self) -> f64 {
        self.values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }

    fn min(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn has_nan(&self) -> bool {
        self.values.iter().any(|value| value.is_nan())
    }
}

impl<'a> Evaluator<'a> {
    /// Keeps the values that the aggregation picks; the rest becomes absent.
    pub(super) fn ranked(
        &self,
        op: AggregateOp,
        param: &Param,
        mut table: Table<'a>,
        grouping: &Grouping,
        steps: Steps,
        _span: Span,
    ) -> Result<Table<'a>> {
        if !self.is_usable(op, param)? {
            return Ok(Table::empty(self.budget, steps.count));
        }
        let groups = self.groups(table.labels(), grouping)?;
        let mut keep: Vec<Vec<bool>> = vec![vec![false; steps.count]; table.rows.len()];
        let mut order = Vec::new();
        for step in 0..steps.count {
            self.budget.check()?;
            let amount = param.values.get(step).copied().unwrap_or(f64::NAN);
            for group in &groups {
                for row in pick(op, amount, group, &table, step) {
                    if let Some(cell) = keep.get_mut(row).and_then(|cells| cells.get_mut(step)) {
                        *cell = true;
                    }
                    if steps.count == 1 {
                        order.push(row);
                    }
                }
            }
        }
        for (row, kept) in table.rows.iter_mut().zip(&keep) {
            for (value, _) in row.values.iter_mut().zip(kept).filter(|(_, kept)| !**kept) {
                *value = STALE;
            }
        }
        if steps.count == 1 {
            // An instant query shows them in the order of their rank.
            let rows = std::mem::take(&mut table.rows);
            let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
            let ranked = order
                .into_iter()
                .filter_map(|row| rows.get_mut(row)?.take());
            table.rows = ranked.collect();
        }
        table.prune();
        Ok(table)
    }

    /// Whether the parameter lets anything through, and remarks if it is out of bounds.
    fn is_usable(&self, op: AggregateOp, param: &Param) -> Result<bool> {
        if op == AggregateOp::LimitRatio {
            if param.has_nan() {
                return fail("Ratio value is NaN");
            }
            for (value, bound) in [(param.max(), 1.0), (param.min(), -1.0)] {
                if value * bound > 1.0 {
                    let (got, cap) = (format_general(value), format_general(bound));
                    self.warn(
                        param.span,
                        format!(
                            "ratio value should be between -1 and 1, got {got}, capping to {cap}"
                        ),
                    );
                }
            }
            return Ok(true);
        }
        if param.has_nan() {
            return fail("Parameter value is NaN");
        }
        if param.max() < 1.0 {
            return Ok(false);
        }
        if param.min() <= -9_223_372_036_854_775_808.0 {
            return fail(format!(
                "Scalar value {} underflows int64",
                format_general(param.min())
            ));
        }
        if param.max() >= 9_223_372_036_854_774_784.0 {
            return fail(format!(
                "Scalar value {} overflows int64",
                format_general(param.max())
            ));
        }
        Ok(true)
    }
}

/// The rows of a group that are kept at a step, in their order.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the amount was checked, and casts saturate"
)]
fn pick(
    op: AggregateOp,
    amount: f64,
    group: &Members,
    table: &Table<'_>,
    step: usize,
) -> Vec<usize> {
    let present = group
        .rows
        .iter()
        .filter_map(|row| Some((*row, table.rows.get(*row)?)));
    let mut values = present.filter_map(|(index, row)| Some((index, row.at(step)?, &row.labels)));
    let amount_of = |amount: f64| amount.max(0.0) as usize;
    if op == AggregateOp::LimitRatio {
        return values
            .filter(|(.., labels)| is_sampled(labels, amount))
            .map(|v| v.0)
            .collect();
    }
    if op == AggregateOp::Limitk {
        return values
            .by_ref()
            .take(amount_of(amount))
            .map(|v| v.0)
            .collect();
    }
    let mut ranked: Vec<(usize, f64)> = values.map(|(index, value, _)| (index, value)).collect();
    let order = |a: &(usize, f64), b: &(usize, f64)| match (a.1.is_nan(), b.1.is_nan()) {
        (false, false) if op == AggregateOp::Topk => nan_first(b.1, a.1),
        (false, false) => nan_first(a.1, b.1),
        // NaN is behind everything in both directions.
        _ => nan_first(b.1, a.1),
    };
    let order = |a: &(usize, f64), b: &(usize, f64)| order(a, b).then(a.0.cmp(&b.0));
    let count = amount_of(amount);
    if count == 0 {
        return Vec::new();
    }
    if count < ranked.len() {
        ranked.select_nth_unstable_by(count, order);
        ranked.truncate(count);
    }
    ranked.sort_unstable_by(order);
    ranked.into_iter().map(|(index, _)| index).collect()
}

/// Whether a series belongs to a share of all: the same answer every time, and `-r` picks exactly
/// what `1-r` leaves out.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
fn is_sampled(labels: &Labels, ratio: f64) -> bool {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    let place = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio >= 0.0 {
        place < ratio
    } else {
        place >= 1.0 + ratio
    }
}
