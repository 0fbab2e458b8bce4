//! Binary operations: which kind of operands meets which computation.

use super::arithmetic::{arithmetic, compare, scalar};
use super::{Evaluated, Evaluator, Result, Steps, Table, unsupported};
use crate::ast::{Binary, BinaryOp};
use crate::number::STALE;

impl<'a> Evaluator<'a> {
    pub(super) fn binary(
        &self,
        binary: &Binary,
        steps: Steps,
        function: &'static str,
    ) -> Result<Evaluated<'a>> {
        let left = self.evaluate(&binary.left, steps, function)?;
        let right = self.evaluate(&binary.right, steps, function)?;
        let op = binary.op;
        match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let values = left.into_iter().zip(right).map(|(a, b)| scalar(op, a, b));
                Ok(Evaluated::Scalar(values.collect()))
            }
            (Evaluated::Vector(table), Evaluated::Scalar(numbers)) => {
                with_scalar(binary, table, &numbers, false).map(Evaluated::Vector)
            }
            (Evaluated::Scalar(numbers), Evaluated::Vector(table)) => {
                with_scalar(binary, table, &numbers, true).map(Evaluated::Vector)
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => {
                let table = if op.is_set() {
                    self.set(op, &binary.matching, left, right, steps)?
                } else {
                    self.matched(binary, left, right, steps)?
                };
                Ok(Evaluated::Vector(table))
            }
            _ => Err(unsupported("texts have no operators")),
        }
    }
}

/// An operation between a vector and a scalar. A comparison keeps the vector's value.
fn with_scalar<'a>(
    binary: &Binary,
    mut table: Table<'a>,
    numbers: &[f64],
    scalar_first: bool,
) -> Result<Table<'a>> {
    let op = binary.op;
    table.map_steps(|step, value| {
        let number = numbers.get(step).copied().unwrap_or(f64::NAN);
        let (left, right) = if scalar_first {
            (number, value)
        } else {
            (value, number)
        };
        result(op, left, right, value, binary.return_bool)
    });
    table.prune();
    if !op.is_comparison() || binary.return_bool {
        table.drop_names()?;
    }
    Ok(table)
}

/// The value of an operation; `kept` is what a comparison that holds leaves.
#[inline]
pub(super) fn result(op: BinaryOp, left: f64, right: f64, kept: f64, return_bool: bool) -> f64 {
    match compare(op, left, right) {
        Some(holds) if return_bool => f64::from(u8::from(holds)),
        Some(true) => kept,
        Some(false) => STALE,
        None => arithmetic(op, left, right),
    }
}
