//! Types: what may stand where. Checked once, so that the evaluator need not.

use super::Fault;
use crate::ast::{AggregateOp, Binary, Call, Expr, Group, Matching, Node, Selector, Span, Type};
use crate::functions::Arity;
use crate::labels::{METRIC_NAME, quote};

/// Checks the expression and all within it, innermost first, as Prometheus does.
pub(super) fn check(expr: &Expr) -> Result<(), Fault> {
    match &expr.node {
        Node::Number(_) | Node::String(_) => Ok(()),
        Node::Vector(selector) | Node::Matrix(selector, _) => check_selector(selector, expr.span),
        Node::Paren(inner) => check(inner),
        Node::Negative(inner) | Node::Positive(inner) => {
            check(inner)?;
            match inner.kind() {
                Type::Scalar | Type::Vector => Ok(()),
                other => Err(Fault::new(
                    expr.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got {}",
                        quote(other.name().as_bytes())
                    ),
                )),
            }
        }
        Node::Subquery(subquery) => {
            check(&subquery.expr)?;
            match subquery.expr.kind() {
                Type::Vector => Ok(()),
                other => {
                    let got = short_name(other);
                    Err(Fault::new(
                        expr.span,
                        format!("subquery is only allowed on instant vector, got {got} instead"),
                    ))
                }
            }
        }
        Node::Aggregate(aggregate) => {
            expect_type(&aggregate.expr, Type::Vector, "aggregation expression")?;
            match &aggregate.param {
                Some(param) if aggregate.op == AggregateOp::CountValues => {
                    expect_type(param, Type::String, "aggregation parameter")
                }
                Some(param) => expect_type(param, Type::Scalar, "aggregation parameter"),
                None => Ok(()),
            }
        }
        Node::Call(call) => check_call(call, expr.span),
        Node::Binary(binary) => check_binary(binary, expr.span),
    }
}

fn short_name(kind: Type) -> &'static str {
    match kind {
        Type::Vector => "vector",
        Type::Matrix => "matrix",
        other => other.name(),
    }
}

fn expect_type(expr: &Expr, wanted: Type, context: &str) -> Result<(), Fault> {
    check(expr)?;
    if expr.kind() == wanted {
        return Ok(());
    }
    let (wanted, got) = (wanted.name(), expr.kind().name());
    Err(Fault::new(
        expr.span,
        format!("expected type {wanted} in {context}, got {got}"),
    ))
}

fn check_selector(selector: &Selector, span: Span) -> Result<(), Fault> {
    let name_count = selector
        .matchers
        .iter()
        .filter(|m| &*m.name == METRIC_NAME)
        .count();
    if let (Some(name), true) = (&selector.name, name_count > 1) {
        let other = selector.matchers.iter().find(|m| &*m.name == METRIC_NAME);
        let other = other.map(|m| &*m.value).unwrap_or_default();
        let (name, other) = (quote(name.as_bytes()), quote(other.as_bytes()));
        return Err(Fault::new(
            span,
            format!("metric name must not be set twice: {name} or {other}"),
        ));
    }
    if selector.name.is_some() || selector.matchers.iter().any(|m| !m.matches("")) {
        return Ok(());
    }
    Err(Fault::new(
        span,
        "vector selector must contain at least one non-empty matcher",
    ))
}

fn check_call(call: &Call, span: Span) -> Result<(), Fault> {
    let function = call.function;
    let (types, given) = (function.args.len(), call.args.len());
    let name = quote(function.text.as_bytes());
    let (least, most) = match function.arity {
        Arity::Exact => (types, types),
        Arity::UpTo(extra) => (types.saturating_sub(1), types.saturating_sub(1) + extra),
        Arity::Any => (types.saturating_sub(1), usize::MAX),
    };
    let wrong = match function.arity {
        Arity::Exact if given != types => Some(format!("expected {types}")),
        _ if given < least => Some(format!("expected at least {least}")),
        _ if given > most => Some(format!("expected at most {most}")),
        _ => None,
    };
    if let Some(expected) = wrong {
        return Err(Fault::new(
            span,
            format!("{expected} argument(s) in call to {name}, got {given}"),
        ));
    }
    for (index, arg) in call.args.iter().enumerate() {
        let wanted = function.args.get(index).or(function.args.last());
        let Some(&wanted) = wanted else { continue };
        check(arg)?;
        if arg.kind() != wanted {
            let (wanted, got) = (wanted.name(), arg.kind().name());
            let message = format!("expected type {wanted} in call to function {name}, got {got}");
            return Err(Fault::new(arg.span, message));
        }
    }
    Ok(())
}

fn check_binary(binary: &Binary, span: Span) -> Result<(), Fault> {
    check(&binary.left)?;
    check(&binary.right)?;
    let (left, right) = (binary.left.kind(), binary.right.kind());
    let op = binary.op;
    let place = binary.place;
    if binary.return_bool && !op.is_comparison() {
        let message = "bool modifier can only be used on comparison operators";
        return Err(Fault::new(place, message));
    }
    if op.is_comparison() && !binary.return_bool && left == Type::Scalar && right == Type::Scalar {
        return Err(Fault::new(
            place,
            "comparisons between scalars must use BOOL modifier",
        ));
    }
    let Matching {
        on,
        labels,
        include,
        group,
    } = &binary.matching;
    if let Some(twice) = include.iter().find(|label| *on && labels.contains(label)) {
        let twice = quote(twice.as_bytes());
        let message = format!("label {twice} must not occur in ON and GROUP clause at once");
        return Err(Fault::new(place, message));
    }
    for side in [&binary.left, &binary.right] {
        if !matches!(side.kind(), Type::Scalar | Type::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::new(side.span, message));
        }
    }
    let vectors = left == Type::Vector && right == Type::Vector;
    let symbol = quote(op.symbol().as_bytes());
    if !vectors && !labels.is_empty() {
        return Err(Fault::new(
            span,
            "vector matching only allowed between instant vectors",
        ));
    }
    if vectors && op.is_set() && *group != Group::OneToOne {
        return Err(Fault::new(
            span,
            format!("no grouping allowed for {symbol} operation"),
        ));
    }
    if !vectors && op.is_set() {
        let message = format!("set operator {symbol} not allowed in binary scalar expression");
        return Err(Fault::new(span, message));
    }
    Ok(())
}
