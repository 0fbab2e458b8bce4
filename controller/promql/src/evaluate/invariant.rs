//! Which expressions have the same value at every step.

use crate::ast::{Expr, Node};
use crate::functions::Name;

/// Whether the expression has one value for all steps.
pub(super) fn is_invariant(expr: &Expr) -> bool {
    match &expr.node {
        Node::Number(_) | Node::String(_) => true,
        Node::Vector(selector) | Node::Matrix(selector, _) => selector.moment.at.is_some(),
        Node::Subquery(subquery) => subquery.moment.at.is_some(),
        Node::Call(call) => {
            !depends_on_step(call.function.name) && call.args.iter().all(is_invariant)
        }
        Node::Aggregate(aggregate) => {
            is_invariant(&aggregate.expr) && aggregate.param.as_ref().is_none_or(is_invariant)
        }
        Node::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        Node::Negative(inner) | Node::Positive(inner) | Node::Paren(inner) => is_invariant(inner),
    }
}

/// Functions that look at the time of the step itself.
pub(crate) fn depends_on_step(name: Name) -> bool {
    matches!(
        name,
        Name::DaysInMonth
            | Name::DayOfMonth
            | Name::DayOfWeek
            | Name::DayOfYear
            | Name::Hour
            | Name::Minute
            | Name::Month
            | Name::Year
            | Name::PredictLinear
            | Name::Time
            | Name::Timestamp
    )
}
