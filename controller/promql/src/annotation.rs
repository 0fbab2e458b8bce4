//! Warnings and remarks that come with an answer, in Prometheus's words.

use std::fmt;

/// How much an annotation matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnotationKind {
    /// The result is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

/// One remark about a query, with its place in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Annotation {
    /// How much it matters.
    pub kind: AnnotationKind,
    /// What it says, without prefix and place.
    pub message: String,
    /// Line in the query, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
}

/// `PromQL warning: … (1:7)`, as the HTTP API shows it.
impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AnnotationKind::Warning => "warning",
            AnnotationKind::Info => "info",
        };
        write!(
            f,
            "PromQL {kind}: {} ({}:{})",
            self.message, self.line, self.column
        )
    }
}
