//! Label matchers: `=`, `!=`, `=~`, `!~`, regular expressions anchored at both ends.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::pattern::{Pattern, Patterns};

/// How a matcher compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// A pattern that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct MatcherError(pub(crate) String);

/// How messages about a pattern's own text begin.
pub(crate) const SYNTAX: &str = "error parsing regexp";

impl MatcherError {
    /// Whether the pattern itself is wrong, and not too dear.
    pub(crate) fn is_syntax(&self) -> bool {
        self.0.starts_with(SYNTAX)
    }
}

/// One condition on one label. A label that a series lacks has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: Arc<str>,
    /// Comparison.
    pub op: MatchOp,
    /// Value, or the pattern as it was written.
    pub value: Arc<str>,
    pattern: Option<Pattern>,
}

impl Matcher {
    /// A matcher of the program's own; those of a query are charged to it.
    ///
    /// # Errors
    /// If `op` compares with a regular expression and `value` is none, or one that is too big.
    pub fn new(
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, MatcherError> {
        Self::compiled(name, op, value, Pattern::new)
    }

    /// A matcher of a query.
    pub(crate) fn within(
        patterns: &Patterns<'_>,
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, MatcherError> {
        patterns.count_matcher()?;
        Self::compiled(name, op, value, |pattern| patterns.compile(pattern))
    }

    fn compiled(
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
        compile: impl FnOnce(&str) -> Result<Pattern, MatcherError>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(&value)?),
        };
        Ok(Self {
            name: name.into(),
            op,
            value,
            pattern,
        })
    }

    /// A matcher for one exact value.
    pub fn equal(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            pattern: None,
        }
    }

    /// A matcher that is only written down: a pattern is not compiled, and matches nothing here.
    pub fn written(name: impl Into<Arc<str>>, op: MatchOp, value: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            op,
            value: value.into(),
            pattern: None,
        }
    }

    /// Whether it asks for exactly one metric by its name.
    pub(crate) fn is_metric_name(&self) -> bool {
        self.op == MatchOp::Equal && &*self.name == crate::labels::METRIC_NAME
    }

    /// Whether a label value satisfies the matcher; pass the empty text for a missing label.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => value == &*self.value,
            (MatchOp::NotEqual, _) => value != &*self.value,
            (MatchOp::Regex, Some(pattern)) => pattern.is_match(value),
            (MatchOp::NotRegex, Some(pattern)) => !pattern.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(
            f,
            "{}{op}{}",
            self.name,
            crate::labels::quote(self.value.as_bytes())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_and_dots_match_line_breaks() {
        let matcher = Matcher::new("a", MatchOp::Regex, "b.*|c").unwrap();
        assert!(matcher.matches("b\nx"));
        assert!(matcher.matches("c"));
        assert!(!matcher.matches("xc"));
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(Matcher::new("a", MatchOp::Regex, "((a{100}){100}){100}").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "(").is_err());
    }
}
