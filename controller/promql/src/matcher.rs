//! Label matchers: `=`, `!=`, `=~`, `!~`, regular expressions anchored at both ends.
//!
//! Patterns are Go's dialect; [`translate`] rewrites the few places where the `regex` crate reads
//! the same text otherwise. Patterns run in linear time, and their compiled size is bounded.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

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
pub struct MatcherError(String);

/// One condition on one label. A label that a series lacks has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: Arc<str>,
    /// Comparison.
    pub op: MatchOp,
    /// Value, or the pattern as it was written.
    pub value: Arc<str>,
    pattern: Option<Regex>,
}

impl Matcher {
    /// A matcher.
    ///
    /// # Errors
    /// If `op` compares with a regular expression and `value` is none, or one that is too big.
    pub fn new(
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(&value)?),
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

/// The pattern, anchored at both ends, where a dot also matches a line break.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, MatcherError> {
    RegexBuilder::new(&format!("^(?s:{})$", translate(pattern)))
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .nest_limit(100)
        .build()
        .map_err(|error| MatcherError(reason(pattern, &error)))
}

fn reason(pattern: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("error parsing regexp: expression needs more than {limit} bytes: `{pattern}`")
        }
        // The last line names the fault; those before it draw the pattern.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            let fault = last.strip_prefix("error: ").unwrap_or(last);
            format!("error parsing regexp: {fault}: `{pattern}`")
        }
    }
}

/// Rewrites what Go's dialect reads otherwise than the `regex` crate: `\Q…\E`, a brace that starts
/// no count, and in a class a bracket, `&&`, `--`, `~~`, which are plain characters in Go.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    let mut class_starts = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if c == '\\' {
            rest = escape(after, &mut out);
            class_starts = false;
            continue;
        }
        rest = after;
        if !in_class {
            match c {
                '[' => (in_class, class_starts) = (true, true),
                '{' if !is_count(after) => out.push('\\'),
                _ => {}
            }
            out.push(c);
            continue;
        }
        match c {
            '^' if class_starts => {
                out.push(c);
                continue;
            }
            ']' if class_starts => out.push('\\'),
            ']' => in_class = false,
            '[' if after.starts_with(':') => {
                let end = after.find(":]").map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                class_starts = false;
                continue;
            }
            '[' | '&' | '~' => out.push('\\'),
            '-' if after.starts_with('-') => out.push('\\'),
            _ => {}
        }
        out.push(c);
        class_starts = false;
    }
    out
}

/// Copies what follows a backslash and gives what is left.
fn escape<'a>(after: &'a str, out: &mut String) -> &'a str {
    if let Some(quoted) = after.strip_prefix('Q') {
        let (text, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(text));
        return rest;
    }
    out.push('\\');
    let Some(c) = after.chars().next() else {
        return after;
    };
    out.push(c);
    after.get(c.len_utf8()..).unwrap_or_default()
}

/// Whether the text after a brace makes it a count: `3}`, `3,}`, `3,5}`.
fn is_count(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
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
    fn go_patterns_mean_what_they_mean_in_go() {
        for (pattern, text) in [
            (r"\Qa.b\E+", "a.bb"),
            ("a{b", "a{b"),
            ("{a}", "{a}"),
            ("a{2}", "aa"),
            ("[[a]", "["),
            ("[a&&b]", "&"),
            ("[]a]", "]"),
            ("[^]a]", "b"),
            ("[[:digit:]x]+", "1x2"),
            (r"(?i:pro)\.x", "PRO.x"),
            ("(?i)pro", "PRO"),
        ] {
            let matcher = Matcher::new("a", MatchOp::Regex, pattern).unwrap();
            assert!(matcher.matches(text), "{pattern} should match {text}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(Matcher::new("a", MatchOp::Regex, "((a{100}){100}){100}").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "(").is_err());
    }
}
