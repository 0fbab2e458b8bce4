//! The same expression with its time fixed by `@`: it must give the same at any other time.

use crate::ast::{At, Expr, Moment, Node};
use crate::evaluate::depends_on_step;
use crate::functions::Name;

/// The expression with every selector fixed at a time, and the times to evaluate it at. Nothing if
/// it has a value that depends on those.
pub(super) fn fixed(expr: &Expr, time_ms: i64) -> Option<(Expr, Vec<i64>)> {
    let (on_step, on_span) = depends_on_query_span(expr);
    if on_step || on_span {
        return None;
    }
    let mut expr = expr.clone();
    fix(&mut expr, time_ms);
    let times = match time_ms {
        0 => vec![-1000, 0, 1000],
        time => vec![-10 * time, 0, time / 5, time, 10 * time],
    };
    Some((expr, times))
}

/// Whether the value at a time is the same in a range query.
pub(super) fn is_same_in_range(expr: &Expr) -> bool {
    !depends_on_query_span(expr).1
}

fn fix(expr: &mut Expr, time_ms: i64) {
    match &mut expr.node {
        Node::Number(_) | Node::String(_) => {}
        Node::Vector(selector) | Node::Matrix(selector, _) => {
            fix_moment(&mut selector.moment, time_ms)
        }
        // Selectors within keep the time of the subquery's steps.
        Node::Subquery(subquery) => fix_moment(&mut subquery.moment, time_ms),
        Node::Call(call) => call.args.iter_mut().for_each(|arg| fix(arg, time_ms)),
        Node::Aggregate(aggregate) => {
            aggregate
                .param
                .iter_mut()
                .for_each(|param| fix(param, time_ms));
            fix(&mut aggregate.expr, time_ms);
        }
        Node::Binary(binary) => {
            fix(&mut binary.left, time_ms);
            fix(&mut binary.right, time_ms);
        }
        Node::Negative(inner) | Node::Positive(inner) | Node::Paren(inner) => fix(inner, time_ms),
    }
}

fn fix_moment(moment: &mut Moment, time_ms: i64) {
    moment.at = moment.at.or(Some(At::Time(time_ms)));
}

/// Whether the value depends on the time of the step even if every selector is fixed, and whether
/// it depends on the span of the whole query.
fn depends_on_query_span(expr: &Expr) -> (bool, bool) {
    let own = match &expr.node {
        Node::Call(call) => {
            let name = call.function.name;
            let span = matches!(name, Name::Start | Name::End | Name::Range | Name::Step);
            (depends_on_step(name), span)
        }
        Node::Vector(selector) | Node::Matrix(selector, _) => (false, is_end(selector.moment)),
        Node::Subquery(subquery) => (false, is_end(subquery.moment)),
        _ => (false, false),
    };
    let within = children(expr).into_iter().map(depends_on_query_span);
    within.fold(own, |a, b| (a.0 || b.0, a.1 || b.1))
}

fn is_end(moment: Moment) -> bool {
    matches!(moment.at, Some(At::Start | At::End))
}

fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.node {
        Node::Number(_) | Node::String(_) | Node::Vector(_) | Node::Matrix(..) => Vec::new(),
        Node::Subquery(subquery) => vec![&subquery.expr],
        Node::Call(call) => call.args.iter().collect(),
        Node::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        Node::Binary(binary) => vec![&binary.left, &binary.right],
        Node::Negative(inner) | Node::Positive(inner) | Node::Paren(inner) => vec![inner],
    }
}
