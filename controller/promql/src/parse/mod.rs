//! From text to a checked tree.
//!
//! A parser of our own, by precedence climbing, because messages and remarks must say where in the
//! text they belong (docs/adr/010). It reads Prometheus 3's language with what is experimental there
//! but used by its own tests; nesting is bounded, so no text can exhaust the stack.

mod check;
mod duration;
mod expression;
mod lexer;
mod literal;
#[cfg(feature = "testing")]
mod metric;
mod modifier;
mod selector;
mod token;

pub(crate) use duration::parse_duration;
pub(crate) use expression::{Parser, parse, parse_alone};
pub(crate) use literal::{parse_number, unquote};
#[cfg(feature = "testing")]
pub(crate) use metric::parse_metric;

use crate::ast::Span;
use crate::error::ParseError;

/// A fault and its place in bytes; becomes a [`ParseError`] when the text is at hand.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            at: span.start,
            message: message.into(),
        }
    }

    pub(crate) fn locate(self, query: &str) -> ParseError {
        let (line, column) = line_and_column(query, self.at);
        ParseError {
            line,
            column,
            message: self.message,
        }
    }
}

/// Line and byte in the line, both from 1.
pub(crate) fn line_and_column(query: &str, at: usize) -> (usize, usize) {
    let before = query.as_bytes().get(..at).unwrap_or(query.as_bytes());
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    (line, before.len() - line_start + 1)
}
