//! What a query gives back.

use crate::annotation::Annotation;
use crate::labels::Labels;

/// One series at one time.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Labels of the result.
    pub labels: Labels,
    /// Unix milliseconds: the time of the evaluation.
    pub time_ms: i64,
    /// Value.
    pub value: f64,
}

/// One series over time.
#[derive(Clone, PartialEq, Debug)]
pub struct RangeSeries {
    /// Labels of the result.
    pub labels: Labels,
    /// Unix milliseconds and values, rising.
    pub points: Vec<(i64, f64)>,
}

/// The four shapes of an answer. A range query gives only `Matrix`.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A number without labels, and its time in Unix milliseconds.
    Scalar(i64, f64),
    /// A text, and its time in Unix milliseconds.
    String(i64, String),
    /// Series at one time, sorted only if the query sorts.
    Vector(Vec<Sample>),
    /// Series over time, sorted by labels.
    Matrix(Vec<RangeSeries>),
}

impl Value {
    /// The `resultType` of Prometheus's HTTP API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(..) => "scalar",
            Self::String(..) => "string",
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
        }
    }
}

/// A value and what the user should know about it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Warnings and remarks, each once, in the order in which they arose.
    pub annotations: Vec<Annotation>,
}

impl Answer {
    /// Texts of the warnings, as the HTTP API lists them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.texts(crate::AnnotationKind::Warning)
    }

    /// Texts of the remarks, as the HTTP API lists them under `infos`.
    #[must_use]
    pub fn infos(&self) -> Vec<String> {
        self.texts(crate::AnnotationKind::Info)
    }

    fn texts(&self, kind: crate::AnnotationKind) -> Vec<String> {
        self.annotations
            .iter()
            .filter(|a| a.kind == kind)
            .map(Annotation::to_string)
            .collect()
    }
}
