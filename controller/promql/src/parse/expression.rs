//! Operators, aggregations, calls: everything that nests.

use std::sync::Arc;

use super::lexer::Lexer;
use super::literal::why_no_number;
use super::token::{Keyword, Kind, Token};
use super::{Fault, check, parse_number, unquote};
use crate::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, Group, Grouping, Matching, Node, Span,
};
use crate::budget::{Budget, Limits};
use crate::error::{ParseError, QueryError};
use crate::pattern::Patterns;

/// How deep a tree may be. Prometheus has no bound but its stack grows; ours must not. A link of a
/// chain counts as one, a nested expression as two, because reading it takes more of the stack.
const MAX_DEPTH: usize = 250;

/// Binding of a unary sign: as `*`, so `-2^2` is -4 and `-2*3` is (-2)*3.
const UNARY: u8 = 5;

/// Reads a whole text into a checked expression, whose patterns are charged.
pub(crate) fn parse(query: &str, patterns: &Patterns<'_>) -> Result<Expr, QueryError> {
    let found = parse_unlocated(query, patterns);
    found.map_err(|fault| match patterns.stopped() {
        Some(why) => QueryError::Stopped(why),
        None => QueryError::Parse(fault.locate(query)),
    })
}

/// As [`parse`], where nobody waits for a query's answer: within the usual bounds.
pub(crate) fn parse_alone(query: &str) -> Result<Expr, ParseError> {
    let budget = Budget::new(Limits::default());
    let patterns = Patterns::new(&budget);
    parse_unlocated(query, &patterns).map_err(|fault| fault.locate(query))
}

fn parse_unlocated(query: &str, patterns: &Patterns<'_>) -> Result<Expr, Fault> {
    let mut parser = Parser::new(query, patterns)?;
    if parser.token.kind == Kind::End {
        return Err(Fault {
            at: 0,
            message: "no expression found in input".to_owned(),
        });
    }
    let expr = parser.expression(0)?;
    if parser.token.kind != Kind::End {
        return Err(parser.unexpected("", ""));
    }
    check::check(&expr)?;
    Ok(expr)
}

/// A text, the word at hand and the depth.
pub(crate) struct Parser<'a, 'p> {
    lexer: Lexer<'a>,
    pub(super) patterns: &'p Patterns<'p>,
    pub(super) token: Token<'a>,
    /// End of the word before.
    pub(super) end: usize,
    depth: usize,
}

impl<'a, 'p> Parser<'a, 'p> {
    pub(super) fn new(text: &'a str, patterns: &'p Patterns<'p>) -> Result<Self, Fault> {
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self {
            lexer,
            patterns,
            token,
            end: 0,
            depth: 0,
        })
    }

    /// Takes the word at hand and reads the next one.
    pub(super) fn advance(&mut self) -> Result<Token<'a>, Fault> {
        let next = self.lexer.next()?;
        self.end = self.token.span.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Takes the word at hand if it is of this kind.
    pub(super) fn take(&mut self, kind: Kind) -> Result<bool, Fault> {
        let found = self.token.kind == kind;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes a word of this kind or complains.
    pub(super) fn expect(
        &mut self,
        kind: Kind,
        context: &str,
        expected: &str,
    ) -> Result<Token<'a>, Fault> {
        if self.token.kind == kind {
            self.advance()
        } else {
            Err(self.unexpected(context, expected))
        }
    }

    /// The complaint about the word at hand, as Prometheus words it.
    pub(super) fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let mut message = format!("unexpected {}", self.token.describe());
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        Fault::new(self.token.span, message)
    }

    /// Operators that bind at least as strongly as `minimum`, by precedence climbing.
    pub(super) fn expression(&mut self, minimum: u8) -> Result<Expr, Fault> {
        self.depth += 2;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(
                self.token.span,
                "expression is nested too deeply",
            ));
        }
        let mut left = self.unary()?;
        let mut chained = 0;
        while let Kind::Operator(op) = self.token.kind {
            if op.precedence() < minimum {
                break;
            }
            let place = self.advance()?.span;
            let (matching, return_bool) = self.matching()?;
            let right_minimum = if op == BinaryOp::Pow {
                op.precedence()
            } else {
                op.precedence() + 1
            };
            let right = self.expression(right_minimum)?;
            let span = left.span.to(right.span);
            let binary = Binary {
                op,
                place,
                left,
                right,
                matching,
                return_bool,
            };
            left = Expr {
                node: Node::Binary(Box::new(binary)),
                span,
            };
            // A chain leans to the left: its tree is as deep as it is long.
            chained += 1;
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(Fault::new(left.span, "expression is nested too deeply"));
            }
        }
        self.depth -= chained + 2;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let start = self.token.span;
        let negative = match self.token.kind {
            Kind::Operator(BinaryOp::Sub) => true,
            Kind::Operator(BinaryOp::Add) => false,
            _ => return self.postfix(),
        };
        self.advance()?;
        let inner = self.expression(UNARY + 1)?;
        let span = start.to(inner.span);
        // A signed number is a number, as in Prometheus.
        if let Node::Number(value) = inner.node {
            let node = Node::Number(if negative { -value } else { value });
            return Ok(Expr { node, span });
        }
        let inner = Box::new(inner);
        let node = if negative {
            Node::Negative(inner)
        } else {
            Node::Positive(inner)
        };
        Ok(Expr { node, span })
    }

    /// What needs no operator.
    pub(super) fn primary(&mut self) -> Result<Expr, Fault> {
        match self.token.kind {
            Kind::Number | Kind::Duration => self.number(),
            Kind::String => {
                let token = self.advance()?;
                let node = Node::String(self.text_of(token)?);
                Ok(Expr {
                    node,
                    span: token.span,
                })
            }
            Kind::LeftParen => {
                let start = self.advance()?.span;
                let inner = Box::new(self.expression(0)?);
                let end = self.expect(Kind::RightParen, "", "")?.span;
                Ok(Expr {
                    node: Node::Paren(inner),
                    span: start.to(end),
                })
            }
            Kind::Aggregator(op) => self.aggregate_or_selector(op),
            Kind::Identifier => self.call_or_selector(),
            Kind::LeftBrace
            | Kind::MetricIdentifier
            | Kind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
            | Kind::Keyword(Keyword::By | Keyword::Without | Keyword::Offset) => self.selector(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn number(&mut self) -> Result<Expr, Fault> {
        let token = self.advance()?;
        let value = number_of(token)?;
        Ok(Expr {
            node: Node::Number(value),
            span: token.span,
        })
    }

    pub(super) fn text_of(&self, token: Token<'_>) -> Result<Vec<u8>, Fault> {
        unquote(token.text).map_err(|reason| Fault::new(token.span, reason))
    }

    fn call_or_selector(&mut self) -> Result<Expr, Fault> {
        let mut ahead = self.lexer.clone();
        if !ahead
            .next()
            .is_ok_and(|token| token.kind == Kind::LeftParen)
        {
            return self.selector();
        }
        let name = self.advance()?;
        let args = self.arguments()?;
        let span = Span {
            start: name.span.start,
            end: self.end,
        };
        let Some(function) = crate::functions::find(name.text) else {
            let quoted = crate::labels::quote(name.text.as_bytes());
            return Err(Fault::new(
                name.span,
                format!("unknown function with name {quoted}"),
            ));
        };
        Ok(Expr {
            node: Node::Call(Call { function, args }),
            span,
        })
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        self.expect(Kind::LeftParen, "", "")?;
        let mut args = Vec::new();
        if self.take(Kind::RightParen)? {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            let comma = self.token.span;
            if !self.take(Kind::Comma)? {
                self.expect(Kind::RightParen, "", "")?;
                return Ok(args);
            }
            if self.token.kind == Kind::RightParen {
                return Err(Fault::new(
                    comma,
                    "trailing commas not allowed in function call args",
                ));
            }
        }
    }

    fn aggregate_or_selector(&mut self, op: AggregateOp) -> Result<Expr, Fault> {
        let next = self.lexer.clone().next()?;
        let grouped = matches!(next.kind, Kind::Keyword(Keyword::By | Keyword::Without));
        if next.kind != Kind::LeftParen && !grouped {
            if matches!(next.kind, Kind::Identifier | Kind::Number | Kind::String) {
                self.advance()?;
                return Err(self.unexpected("", ""));
            }
            return self.selector();
        }
        let start = self.advance()?.span;
        let before = self.grouping()?;
        if self.token.kind != Kind::LeftParen {
            return Err(self.unexpected("", ""));
        }
        let args = self.arguments()?;
        let after = if before.is_none() {
            self.grouping()?
        } else {
            None
        };
        let grouping = before.or(after).unwrap_or(Grouping {
            labels: Vec::new(),
            without: false,
        });
        let span = Span {
            start: start.start,
            end: self.end,
        };
        let aggregate = aggregate(op, args, grouping, span)?;
        Ok(Expr {
            node: Node::Aggregate(Box::new(aggregate)),
            span,
        })
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Fault> {
        let without = match self.token.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(Grouping {
            labels: self.label_list()?,
            without,
        }))
    }

    /// `(a, b, "c")`
    fn label_list(&mut self) -> Result<Vec<Arc<str>>, Fault> {
        self.expect(Kind::LeftParen, "grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        while !self.take(Kind::RightParen)? {
            labels.push(self.grouping_label()?);
            if !self.take(Kind::Comma)? && self.token.kind != Kind::RightParen {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Result<Arc<str>, Fault> {
        let is_word = matches!(
            self.token.kind,
            Kind::Identifier | Kind::Keyword(_) | Kind::Aggregator(_) | Kind::Operator(_)
        ) && self
            .token
            .text
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if self.token.kind == Kind::String {
            let token = self.advance()?;
            return match String::from_utf8(self.text_of(token)?) {
                Ok(name) if !name.is_empty() => Ok(name.into()),
                _ => Err(Fault::new(
                    token.span,
                    format!("invalid label name {}", token.text),
                )),
            };
        }
        if !is_word {
            return Err(self.unexpected("grouping opts", "label"));
        }
        Ok(self.advance()?.text.into())
    }

    /// `bool on(…) group_left(…)`, each part optional.
    fn matching(&mut self) -> Result<(Matching, bool), Fault> {
        let return_bool = self.take(Kind::Keyword(Keyword::Bool))?;
        let mut matching = Matching::default();
        match self.token.kind {
            Kind::Keyword(Keyword::On) => matching.on = true,
            Kind::Keyword(Keyword::Ignoring) => {}
            _ => return Ok((matching, return_bool)),
        }
        self.advance()?;
        matching.labels = self.label_list()?;
        matching.group = match self.token.kind {
            Kind::Keyword(Keyword::GroupLeft) => Group::ManyToOne,
            Kind::Keyword(Keyword::GroupRight) => Group::OneToMany,
            _ => return Ok((matching, return_bool)),
        };
        self.advance()?;
        if self.token.kind == Kind::LeftParen {
            matching.include = self.label_list()?;
        }
        Ok((matching, return_bool))
    }
}

/// The value of a number, or a duration in seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "durations are below 2^53 milliseconds"
)]
pub(super) fn number_of(token: Token<'_>) -> Result<f64, Fault> {
    let value = match token.kind {
        Kind::Duration => super::parse_duration(token.text).map(|ms| ms as f64 / 1000.0),
        _ => parse_number(token.text),
    };
    value.ok_or_else(|| {
        if token.kind == Kind::Duration {
            let quoted = crate::labels::quote(token.text.as_bytes());
            return Fault::new(token.span, format!("not a valid duration string: {quoted}"));
        }
        let quoted = crate::labels::quote(token.text.as_bytes());
        Fault::new(
            token.span,
            format!(
                "error parsing number: strconv.ParseFloat: parsing {quoted}: {}",
                why_no_number(token.text)
            ),
        )
    })
}

fn aggregate(
    op: AggregateOp,
    args: Vec<Expr>,
    grouping: Grouping,
    span: Span,
) -> Result<Aggregate, Fault> {
    let wanted = if op.has_param() { 2 } else { 1 };
    let given = args.len();
    if given == 0 {
        return Err(Fault::new(
            span,
            "no arguments for aggregate expression provided",
        ));
    }
    let mut args = args.into_iter();
    let param = if op.has_param() { args.next() } else { None };
    match (args.next(), given == wanted) {
        (Some(expr), true) => Ok(Aggregate {
            op,
            param,
            expr,
            grouping,
        }),
        _ => Err(Fault::new(
            span,
            format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
            ),
        )),
    }
}
