//! Reading parts of a query where nothing is evaluated: `match[]` parameters, rule files.

use crate::ast::{Moment, Node};
use crate::error::ParseError;
use crate::matcher::Matcher;
use crate::parse;

/// The matchers of a series selector such as `up{job="node"}`.
///
/// # Errors
/// If the text is anything else, or its place in time is moved by `offset` or `@`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    match parse::parse(text)?.node {
        Node::Vector(selector) if selector.moment == Moment::default() => Ok(selector.matchers),
        _ => Err(ParseError {
            line: 1,
            column: 1,
            message: "a series selector is expected, such as up{job=\"node\"}".to_owned(),
        }),
    }
}

/// Checks a query's text and types without evaluating it, as rules are when they are loaded.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check_query(text: &str) -> Result<(), ParseError> {
    parse::parse(text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_selectors_are_taken() {
        let found = parse_selector("up{job=\"node\",mode!~\"a.*\"}").unwrap();
        let mut texts: Vec<_> = found.iter().map(Matcher::to_string).collect();
        texts.sort();
        assert_eq!(texts, ["__name__=\"up\"", "job=\"node\"", "mode!~\"a.*\""]);
        for text in ["", "up + 1", "up offset 5m", "up @ 1", "up[5m]", "1", "{"] {
            assert!(parse_selector(text).is_err(), "{text}");
        }
    }
}
