//! The words of the language.

use crate::ast::{AggregateOp, BinaryOp, Span};

/// One word and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// What a word is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    End,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    At,
    Number,
    Duration,
    String,
    Identifier,
    /// An identifier with a colon in it.
    MetricIdentifier,
    Operator(BinaryOp),
    Aggregator(AggregateOp),
    Keyword(Keyword),
}

/// Words with a meaning of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Without,
}

impl Token<'_> {
    /// The word as Prometheus names it in messages.
    pub(crate) fn describe(&self) -> String {
        let quoted = || crate::labels::quote(self.text.as_bytes());
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", quoted()),
            Kind::MetricIdentifier => format!("metric identifier {}", quoted()),
            Kind::Number => format!("number {}", shortened(self.text)),
            Kind::Duration => format!("duration {}", shortened(self.text)),
            Kind::String => format!("string {}", shortened(self.text)),
            Kind::Operator(_) | Kind::At => format!("<op:{}>", self.text),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            Kind::Keyword(_) => format!("<{}>", self.text),
            _ => quoted(),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => {
            let head = text.get(..end).unwrap_or(text);
            format!("{}...", crate::labels::quote(head.as_bytes()))
        }
        None => crate::labels::quote(text.as_bytes()),
    }
}

/// What a word means, in any case of letters; nothing for an ordinary identifier.
pub(crate) fn word(text: &str) -> Option<Kind> {
    use AggregateOp as A;
    use BinaryOp as B;
    let lower = text.to_ascii_lowercase();
    Some(match lower.as_str() {
        "and" => Kind::Operator(B::And),
        "or" => Kind::Operator(B::Or),
        "unless" => Kind::Operator(B::Unless),
        "atan2" => Kind::Operator(B::Atan2),
        "sum" => Kind::Aggregator(A::Sum),
        "avg" => Kind::Aggregator(A::Avg),
        "count" => Kind::Aggregator(A::Count),
        "min" => Kind::Aggregator(A::Min),
        "max" => Kind::Aggregator(A::Max),
        "group" => Kind::Aggregator(A::Group),
        "stddev" => Kind::Aggregator(A::Stddev),
        "stdvar" => Kind::Aggregator(A::Stdvar),
        "topk" => Kind::Aggregator(A::Topk),
        "bottomk" => Kind::Aggregator(A::Bottomk),
        "count_values" => Kind::Aggregator(A::CountValues),
        "quantile" => Kind::Aggregator(A::Quantile),
        "limitk" => Kind::Aggregator(A::Limitk),
        "limit_ratio" => Kind::Aggregator(A::LimitRatio),
        "bool" => Kind::Keyword(Keyword::Bool),
        "by" => Kind::Keyword(Keyword::By),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "offset" => Kind::Keyword(Keyword::Offset),
        "on" => Kind::Keyword(Keyword::On),
        "without" => Kind::Keyword(Keyword::Without),
        "inf" | "nan" => Kind::Number,
        _ => return None,
    })
}
