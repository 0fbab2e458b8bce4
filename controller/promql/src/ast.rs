//! The tree of an expression: what the parser makes and the evaluator walks.
//!
//! Every node knows its place in the text, because errors and remarks name it.

use std::sync::Arc;

use crate::functions::Function;
use crate::matcher::Matcher;

/// A stretch of the query text, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// From the beginning of one to the end of the other.
    pub(crate) fn to(self, other: Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
        }
    }
}

/// The four types of PromQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Matrix,
    String,
}

impl Type {
    /// The type's name in Prometheus's documentation and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// An expression and its place.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) span: Span,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    /// Bytes, because escapes can spell what is not UTF-8.
    String(Vec<u8>),
    Vector(Selector),
    Matrix(Selector, i64),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Negative(Box<Expr>),
    /// A unary plus changes nothing but must not be given to a matrix.
    Positive(Box<Expr>),
    Paren(Box<Expr>),
}

/// Matchers, and the time that they are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// The name before the braces, if there is one; it is among the matchers too.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) moment: Moment,
    /// Where it stands, for remarks.
    pub(crate) span: Span,
}

/// `offset` and `@`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) offset_ms: i64,
    pub(crate) at: Option<At>,
}

/// The time of an `@`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum At {
    Time(i64),
    Start,
    End,
}

/// `expression[range:step]`.
#[derive(Clone, Debug)]
pub(crate) struct Subquery {
    pub(crate) expr: Expr,
    pub(crate) range_ms: i64,
    pub(crate) step_ms: Option<i64>,
    pub(crate) moment: Moment,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) args: Vec<Expr>,
}

/// An aggregation.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Expr>,
    pub(crate) expr: Expr,
    pub(crate) grouping: Grouping,
}

/// Which labels make a group.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) without: bool,
}

/// What an aggregation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// Whether it takes a parameter before the vector.
    pub(crate) fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }

    /// The operator's name in the language.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
}

/// A binary operation.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    /// Where the operator stands.
    pub(crate) place: Span,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) matching: Matching,
    pub(crate) return_bool: bool,
}

/// A binary operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// How strongly it binds; `^` is the only one that binds to the right.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            _ if self.is_comparison() => 3,
            Self::Add | Self::Sub => 4,
            Self::Pow => 6,
            _ => 5,
        }
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// The operator as it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

/// How the series of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matching {
    /// `on(…)` if true, `ignoring(…)` otherwise.
    pub(crate) on: bool,
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) group: Group,
    /// Labels that the many side takes from the one side.
    pub(crate) include: Vec<Arc<str>>,
}

/// Which side may have many series per match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Group {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

impl Expr {
    /// The type of the expression's value.
    pub(crate) fn kind(&self) -> Type {
        match &self.node {
            Node::Number(_) => Type::Scalar,
            Node::String(_) => Type::String,
            Node::Vector(_) | Node::Aggregate(_) => Type::Vector,
            Node::Matrix(..) | Node::Subquery(_) => Type::Matrix,
            Node::Call(call) => call.function.returns,
            Node::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Node::Negative(inner) | Node::Positive(inner) | Node::Paren(inner) => inner.kind(),
        }
    }

    /// The expression inside all parentheses around it.
    pub(crate) fn unwrapped(&self) -> &Self {
        let mut expr = self;
        while let Node::Paren(inner) = &expr.node {
            expr = inner;
        }
        expr
    }
}
