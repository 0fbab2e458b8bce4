//! Selectors: a name, matchers in braces, names in quotes.

use super::token::Kind;
use super::{Fault, Parser};
use crate::ast::{BinaryOp, Expr, Moment, Node, Selector, Span};
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};

/// Matchers of one selector, its name's among them. A storage may keep a bit for each.
const MAX_MATCHERS: usize = 64;

impl Parser<'_, '_> {
    pub(super) fn selector(&mut self) -> Result<Expr, Fault> {
        let start = self.token.span;
        let name = match self.token.kind {
            Kind::LeftBrace => None,
            Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Aggregator(_)
            | Kind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
            | Kind::Keyword(_) => Some(self.advance()?.text),
            _ => return Err(self.unexpected("", "")),
        };
        let mut end = Span {
            start: self.end,
            end: self.end,
        };
        let mut matchers = Vec::new();
        if self.token.kind == Kind::LeftBrace {
            (matchers, end) = self.matchers()?;
        }
        if let Some(name) = name {
            matchers.push(self.named(name.to_owned(), start)?);
        }
        let name = name.map(Into::into);
        let selector = Selector {
            name,
            matchers,
            moment: Moment::default(),
            span: start.to(end),
        };
        Ok(Expr {
            span: selector.span,
            node: Node::Vector(selector),
        })
    }

    fn matchers(&mut self) -> Result<(Vec<Matcher>, Span), Fault> {
        self.advance()?;
        let mut matchers = Vec::new();
        loop {
            if self.token.kind == Kind::RightBrace {
                return Ok((matchers, self.advance()?.span));
            }
            if matchers.len() + 1 >= MAX_MATCHERS {
                let message = format!("more than {MAX_MATCHERS} label matchers in one selector");
                return Err(Fault::new(self.token.span, message));
            }
            matchers.push(self.matcher()?);
            if self.token.kind == Kind::Comma {
                self.advance()?;
            } else if self.token.kind != Kind::RightBrace {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, Fault> {
        let quoted = self.token.kind == Kind::String;
        if !quoted && self.token.kind != Kind::Identifier {
            return Err(self.unexpected("label matching", "identifier or \"}\""));
        }
        let label = self.advance()?;
        let name = if quoted {
            self.utf8_of(label)?
        } else {
            label.text.to_owned()
        };
        let op = match self.token.kind {
            Kind::Assign => MatchOp::Equal,
            Kind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::Matches => MatchOp::Regex,
            Kind::MatchesNot => MatchOp::NotRegex,
            Kind::Comma | Kind::RightBrace if quoted => {
                return self.named(name, label.span);
            }
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.advance()?;
        let value = self.expect(Kind::String, "label matching", "string")?;
        let bytes = self.text_of(value)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Matcher::within(self.patterns, name, op, text)
            .map_err(|error| Fault::new(label.span.to(value.span), error.to_string()))
    }

    /// The matcher for a metric's name.
    fn named(&self, name: String, span: Span) -> Result<Matcher, Fault> {
        Matcher::within(self.patterns, METRIC_NAME, MatchOp::Equal, name)
            .map_err(|error| Fault::new(span, error.to_string()))
    }

    fn utf8_of(&self, token: super::token::Token<'_>) -> Result<String, Fault> {
        match String::from_utf8(self.text_of(token)?) {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => Err(Fault::new(
                token.span,
                format!("invalid label name {}", token.text),
            )),
        }
    }
}
