//! A series by its labels, as the test language writes them.

use super::{Fault, Parser};
use crate::ast::Node;
use crate::budget::{Budget, Limits};
use crate::error::ParseError;
use crate::labels::{Labels, LabelsBuilder};
use crate::matcher::MatchOp;
use crate::pattern::Patterns;

/// Reads a series' labels: `name{a="b"}`; gives them and what follows in the text.
pub(crate) fn parse_metric(text: &str) -> Result<(Labels, &str), ParseError> {
    let (metric, rest) = text.split_at(metric_length(text));
    let locate = |fault: Fault| fault.locate(metric);
    let budget = Budget::new(Limits::default());
    let patterns = Patterns::new(&budget);
    let expr = Parser::new(metric, &patterns)
        .and_then(|mut parser| parser.selector())
        .map_err(locate)?;
    let Node::Vector(selector) = expr.node else {
        return Err(locate(Fault::new(expr.span, "not a series")));
    };
    let mut labels = LabelsBuilder::default();
    for matcher in selector.matchers {
        if matcher.op != MatchOp::Equal {
            return Err(locate(Fault::new(
                expr.span,
                "a series needs label=\"value\"",
            )));
        }
        labels.set(matcher.name, matcher.value);
    }
    Ok((labels.build(), rest))
}

/// Bytes of the name and the braces at the beginning; what follows need not be the language.
fn metric_length(text: &str) -> usize {
    let name = text.find([' ', '\t', '{']).unwrap_or(text.len());
    if !text.get(name..).is_some_and(|rest| rest.starts_with('{')) {
        return name;
    }
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < name) {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"' | '\'')) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('}', None) => return at + 1,
            _ => {}
        }
    }
    text.len()
}
