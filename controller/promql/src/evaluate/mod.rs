//! Evaluation: every node gives its values at all steps at once.
//!
//! A selector reads its series once for the whole span; windows then slide over the steps of one
//! series after the other. Label sets are touched once per series, never once per step.

mod absent;
mod aggregate;
mod arithmetic;
mod binary;
mod call;
mod dates;
mod histogram;
mod instant;
mod invariant;
mod matching;
mod over_time;
mod range;
mod rank;
mod rate;
mod relabel;
mod select;
mod sets;
mod sort;
mod statistics;
mod steps;
mod table;

use std::cell::RefCell;

#[cfg(feature = "testing")]
pub(crate) use invariant::depends_on_step;
pub(crate) use steps::Steps;
pub(crate) use table::{Held, Row, Table};

use crate::annotation::{Annotation, AnnotationKind};
use crate::ast::{Expr, Node, Span, Subquery};
use crate::budget::Budget;
use crate::engine::Options;
use crate::error::QueryError;
use crate::parse::line_and_column;
use crate::storage::Storage;

/// The span of the whole query, for `start()`, `end()`, `range()`, `step()` and `@ start()`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) step_ms: i64,
}

/// One query in evaluation.
pub(crate) struct Evaluator<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) budget: &'a Budget,
    pub(crate) options: &'a Options,
    pub(crate) query: &'a str,
    pub(crate) whole: Whole,
    pub(crate) annotations: RefCell<Vec<Annotation>>,
}

/// The values of a node at all steps.
pub(crate) enum Evaluated<'a> {
    /// One number per step.
    Scalar(Vec<f64>),
    Vector(Table<'a>),
    /// The bytes of a text.
    Text(Vec<u8>),
}

/// What a step of a subquery costs beside the rows of its tables: its time, and scalars in between.
const BYTES_PER_INNER_STEP: u64 = 32;

/// A result, or why there is none.
pub(crate) type Result<T> = std::result::Result<T, QueryError>;

impl<'a> Evaluator<'a> {
    /// The values of an expression that is no range vector. `function` is the name of what the
    /// expression is an argument of; storages see it.
    pub(crate) fn evaluate(
        &self,
        expr: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Evaluated<'a>> {
        self.budget.check()?;
        if steps.count > 1 && invariant::is_invariant(expr) {
            return self.evaluate_once(expr, steps, function);
        }
        match &expr.node {
            Node::Number(value) => Ok(Evaluated::Scalar(vec![*value; steps.count])),
            Node::String(bytes) => Ok(Evaluated::Text(bytes.clone())),
            Node::Vector(selector) => self
                .vector(selector, steps, function)
                .map(Evaluated::Vector),
            Node::Call(call) => self.call(call, steps),
            Node::Aggregate(aggregate) => self
                .aggregate(aggregate, expr.span, steps)
                .map(Evaluated::Vector),
            Node::Binary(binary) => self.binary(binary, steps, function),
            Node::Negative(inner) => self.negative(inner, steps, function),
            Node::Positive(inner) | Node::Paren(inner) => self.evaluate(inner, steps, function),
            Node::Matrix(..) | Node::Subquery(_) => Err(unsupported("a range vector has no value")),
        }
    }

    /// What does not change with the step is computed at one and repeated.
    fn evaluate_once(
        &self,
        expr: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Evaluated<'a>> {
        if let Node::Number(value) = expr.node {
            return Ok(Evaluated::Scalar(vec![value; steps.count]));
        }
        let once = Steps { count: 1, ..steps };
        Ok(match self.evaluate(expr, once, function)? {
            Evaluated::Scalar(values) => Evaluated::Scalar(values.repeat(steps.count)),
            Evaluated::Vector(mut table) => {
                table.repeat(steps.count)?;
                Evaluated::Vector(table)
            }
            text @ Evaluated::Text(_) => text,
        })
    }

    /// An expression of type instant vector.
    pub(crate) fn evaluate_vector(
        &self,
        expr: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Table<'a>> {
        match self.evaluate(expr, steps, function)? {
            Evaluated::Vector(table) => Ok(table),
            _ => Err(unsupported("an instant vector is needed here")),
        }
    }

    /// An expression of type scalar, one number per step.
    pub(crate) fn evaluate_scalar(&self, expr: &Expr, steps: Steps) -> Result<Vec<f64>> {
        match self.evaluate(expr, steps, "")? {
            Evaluated::Scalar(values) => Ok(values),
            _ => Err(unsupported("a scalar is needed here")),
        }
    }

    fn negative(
        &self,
        inner: &Expr,
        steps: Steps,
        function: &'static str,
    ) -> Result<Evaluated<'a>> {
        Ok(match self.evaluate(inner, steps, function)? {
            Evaluated::Scalar(values) => {
                Evaluated::Scalar(values.into_iter().map(|value| -value).collect())
            }
            Evaluated::Vector(mut table) => {
                table.map(|value| -value);
                table.drop_names()?;
                Evaluated::Vector(table)
            }
            text @ Evaluated::Text(_) => text,
        })
    }

    /// The inner values of a subquery, and the steps at which they are.
    pub(crate) fn subquery(
        &self,
        subquery: &Subquery,
        look: Steps,
        function: &'static str,
    ) -> Result<(Table<'a>, Steps)> {
        let step_ms = subquery
            .step_ms
            .unwrap_or(self.options.default_step_ms)
            .max(1);
        let after = look.start_ms.saturating_sub(subquery.range_ms);
        // The first multiple of the step after the window's open beginning.
        let start_ms = after
            .div_euclid(step_ms)
            .saturating_mul(step_ms)
            .saturating_add(step_ms);
        let steps = Steps::between(start_ms, look.end_ms(), step_ms);
        // Times, scalars and rows of so many steps, before any is made.
        self.budget.charge_samples(steps.count as u64)?;
        self.budget
            .charge_bytes((steps.count as u64).saturating_mul(BYTES_PER_INNER_STEP))?;
        let table = if steps.count == 0 {
            Table::empty(self.budget, 0)
        } else {
            self.evaluate_vector(&subquery.expr, steps, function)?
        };
        Ok((table, steps))
    }

    pub(crate) fn warn(&self, span: Span, message: String) {
        self.annotate(AnnotationKind::Warning, span, message);
    }

    pub(crate) fn inform(&self, span: Span, message: String) {
        self.annotate(AnnotationKind::Info, span, message);
    }

    fn annotate(&self, kind: AnnotationKind, span: Span, message: String) {
        let mut annotations = self.annotations.borrow_mut();
        // Nobody reads more, and each costs a look at all before it and at the query's text.
        if annotations.len() >= MAX_ANNOTATIONS {
            return;
        }
        if annotations
            .iter()
            .any(|known| known.kind == kind && known.message == message)
        {
            return;
        }
        let (line, column) = line_and_column(self.query, span.start);
        annotations.push(Annotation {
            kind,
            message,
            line,
            column,
        });
    }
}

/// Warnings and remarks that one answer has at most.
const MAX_ANNOTATIONS: usize = 100;

/// An error of evaluation.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(QueryError::Execution(message.into()))
}

/// What the parser's checks have ruled out.
fn unsupported(what: &str) -> QueryError {
    QueryError::Execution(format!("unsupported expression: {what}"))
}
