//! Reading parts of a query where nothing is evaluated: `match[]` parameters, rule files.

use crate::ast::{Expr, Moment, Node};
use crate::budget::Budget;
use crate::error::{ParseError, QueryError};
use crate::matcher::Matcher;
use crate::parse;
use crate::pattern::Patterns;

/// The matchers of a series selector such as `up{job="node"}`, within the usual bounds.
///
/// # Errors
/// If the text is anything else, or its place in time is moved by `offset` or `@`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    plain(parse::parse_alone(text)?)
}

/// The matchers of each selector that one request names. Together they may cost what one query may.
///
/// # Errors
/// As [`parse_selector`] of the first that is wrong; if they are too long, or the budget ends.
pub fn parse_selectors<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    budget: &Budget,
) -> Result<Vec<Vec<Matcher>>, QueryError> {
    let patterns = Patterns::new(budget);
    let limit = budget.limits().text_bytes;
    let (mut length, mut all) = (0_usize, Vec::new());
    for text in texts {
        // An empty one costs a little, too.
        length = length.saturating_add(text.len().max(1));
        if length > limit {
            return Err(QueryError::BadData(format!(
                "selectors are longer than {limit} bytes together"
            )));
        }
        budget.check()?;
        all.push(plain(parse::parse(text, &patterns)?)?);
    }
    Ok(all)
}

fn plain(expr: Expr) -> Result<Vec<Matcher>, ParseError> {
    match expr.node {
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
    parse::parse_alone(text).map(|_| ())
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
