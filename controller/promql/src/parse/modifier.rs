//! What stands behind an expression: `[5m]`, `[5m:1m]`, `offset 5m`, `@ 123`.

use super::expression::number_of;
use super::token::{Keyword, Kind};
use super::{Fault, Parser};
use crate::ast::{At, BinaryOp, Expr, Moment, Node, Span, Subquery};

impl Parser<'_, '_> {
    /// An expression and all that stands behind it.
    pub(super) fn postfix(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.primary()?;
        let mut count = 0;
        loop {
            match self.token.kind {
                Kind::LeftBracket => expr = self.brackets(expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                Kind::At => self.at(&mut expr)?,
                _ => return Ok(expr),
            }
            count += 1;
            if count > 50 {
                return Err(Fault::new(expr.span, "expression is nested too deeply"));
            }
        }
    }

    fn brackets(&mut self, inner: Expr) -> Result<Expr, Fault> {
        let open = self.advance()?.span;
        let range_ms = self.duration("subquery or range selector", "duration", open)?;
        if range_ms <= 0 {
            return Err(Fault::new(open, "duration must be greater than 0"));
        }
        if self.take(Kind::Colon)? {
            return self.subquery(inner, range_ms, open);
        }
        let close = self
            .expect(Kind::RightBracket, "subquery or range", "\":\" or \"]\"")?
            .span;
        let span = Span {
            start: inner.span.start,
            end: close.end,
        };
        match inner.node {
            Node::Vector(selector) if selector.moment == Moment::default() => Ok(Expr {
                node: Node::Matrix(selector, range_ms),
                span,
            }),
            Node::Vector(selector) if selector.moment.offset_ms != 0 => {
                Err(Fault::new(open, "no offset modifiers allowed before range"))
            }
            Node::Vector(_) => Err(Fault::new(open, "no @ modifiers allowed before range")),
            _ => Err(Fault::new(open, "ranges only allowed for vector selectors")),
        }
    }

    fn subquery(&mut self, inner: Expr, range_ms: i64, open: Span) -> Result<Expr, Fault> {
        let step_ms = if self.token.kind == Kind::RightBracket {
            None
        } else {
            let step = self.duration("subquery selector", "duration or \"]\"", open)?;
            if step <= 0 {
                return Err(Fault::new(open, "duration must be greater than 0"));
            }
            Some(step)
        };
        let close = self
            .expect(Kind::RightBracket, "subquery selector", "\"]\"")?
            .span;
        let span = Span {
            start: inner.span.start,
            end: close.end,
        };
        let subquery = Subquery {
            expr: inner,
            range_ms,
            step_ms,
            moment: Moment::default(),
        };
        Ok(Expr {
            node: Node::Subquery(Box::new(subquery)),
            span,
        })
    }

    /// A duration, or a number of seconds, in milliseconds.
    fn duration(&mut self, context: &str, expected: &str, place: Span) -> Result<i64, Fault> {
        if !matches!(self.token.kind, Kind::Duration | Kind::Number) {
            return Err(self.unexpected(context, expected));
        }
        let token = self.advance()?;
        let seconds = number_of(token)?;
        milliseconds(seconds).ok_or_else(|| Fault::new(place, "duration out of range"))
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        let place = self.advance()?.span;
        let mut sign = 1;
        if let Kind::Operator(op @ (BinaryOp::Sub | BinaryOp::Add)) = self.token.kind {
            sign = if op == BinaryOp::Sub { -1 } else { 1 };
            self.advance()?;
        }
        let offset_ms = sign * self.duration("offset", "duration", place)?;
        let (span, end) = (expr.span, self.end);
        let Some(moment) = moment_of(expr) else {
            return Err(Fault::new(
                span,
                "offset modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ));
        };
        if moment.offset_ms != 0 {
            return Err(Fault::new(span, "offset may not be set multiple times"));
        }
        moment.offset_ms = offset_ms;
        expr.span.end = end;
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        self.advance()?;
        let at = self.at_time(expr.span)?;
        let (span, end) = (expr.span, self.end);
        let Some(moment) = moment_of(expr) else {
            return Err(Fault::new(
                span,
                "@ modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ));
        };
        if moment.at.is_some() {
            return Err(Fault::new(
                span,
                "@ <timestamp> may not be set multiple times",
            ));
        }
        moment.at = Some(at);
        expr.span.end = end;
        Ok(())
    }

    fn at_time(&mut self, place: Span) -> Result<At, Fault> {
        if self.token.kind == Kind::Identifier {
            let at = match self.token.text {
                "start" => At::Start,
                "end" => At::End,
                _ => return Err(self.unexpected("@", "timestamp")),
            };
            self.advance()?;
            self.expect(Kind::LeftParen, "@", "timestamp")?;
            self.expect(Kind::RightParen, "@", "timestamp")?;
            return Ok(at);
        }
        let mut sign = 1.0;
        if let Kind::Operator(op @ (BinaryOp::Sub | BinaryOp::Add)) = self.token.kind {
            sign = if op == BinaryOp::Sub { -1.0 } else { 1.0 };
            self.advance()?;
        }
        if !matches!(self.token.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected("@", "timestamp"));
        }
        let token = self.advance()?;
        let seconds = sign * number_of(token)?;
        milliseconds(seconds).map(At::Time).ok_or_else(|| {
            Fault::new(
                place,
                format!("timestamp out of bounds for @ modifier: {seconds:.6}"),
            )
        })
    }
}

/// Where the time of an expression is kept, if it has one.
fn moment_of(expr: &mut Expr) -> Option<&mut Moment> {
    match &mut expr.node {
        Node::Vector(selector) | Node::Matrix(selector, _) => Some(&mut selector.moment),
        Node::Subquery(subquery) => Some(&mut subquery.moment),
        _ => None,
    }
}

/// Seconds in milliseconds, rounded; nothing beyond what Go's nanoseconds can hold.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bound is checked first"
)]
fn milliseconds(seconds: f64) -> Option<i64> {
    const MAX_SECONDS: f64 = 9.2e15;
    (seconds.abs() < MAX_SECONDS).then(|| (seconds * 1000.0).round() as i64)
}
