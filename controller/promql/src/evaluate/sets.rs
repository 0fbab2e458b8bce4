//! `and`, `or`, `unless`: which series stay.

use super::matching::pairs;
use super::{Evaluator, Result, Row, Steps, Table};
use crate::ast::{BinaryOp, Matching};
use crate::number::{STALE, is_stale};

impl<'a> Evaluator<'a> {
    pub(super) fn set(
        &self,
        op: BinaryOp,
        matching: &Matching,
        mut left: Table<'a>,
        mut right: Table<'a>,
        steps: Steps,
    ) -> Result<Table<'a>> {
        for pair in pairs(&left, &right, matching) {
            self.budget.check()?;
            if op == BinaryOp::Or {
                let here = presence(&left, &pair.left, steps);
                keep(&mut right, &pair.right, &here, false);
            } else {
                let here = presence(&right, &pair.right, steps);
                keep(&mut left, &pair.left, &here, op == BinaryOp::And);
            }
        }
        if op == BinaryOp::Or {
            right.prune();
            left.reserve(right.rows.len())?;
            left.rows.append(&mut right.rows);
            left.merge()?;
        }
        left.prune();
        Ok(left)
    }
}

/// At which steps any of the rows has a value.
fn presence(table: &Table<'_>, rows: &[usize], steps: Steps) -> Vec<bool> {
    let mut here = vec![false; steps.count];
    for row in rows.iter().filter_map(|row| table.rows.get(*row)) {
        for (here, value) in here.iter_mut().zip(&row.values) {
            *here |= !is_stale(*value);
        }
    }
    here
}

/// Takes away the values at steps where the other side is not as wanted.
fn keep(table: &mut Table<'_>, rows: &[usize], other: &[bool], wanted: bool) {
    for index in rows {
        let Some(Row { values, .. }) = table.rows.get_mut(*index) else {
            continue;
        };
        for (value, here) in values.iter_mut().zip(other) {
            if *here != wanted {
                *value = STALE;
            }
        }
    }
}
