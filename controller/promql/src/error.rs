//! What can go wrong with a query, in Prometheus's words and kinds.

use thiserror::Error;

use crate::budget::Exhausted;
use crate::storage::StorageError;

/// A query text that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Byte within the line, from 1.
    pub column: usize,
    /// What is wrong, in Prometheus's words.
    pub message: String,
}

/// Why a query gave no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The text cannot be understood. `bad_data` in the HTTP API.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A parameter makes no sense: step, range, too many points. `bad_data` in the HTTP API.
    #[error("{0}")]
    BadData(String),
    /// The expression cannot be evaluated on this data. `execution` in the HTTP API.
    #[error("{0}")]
    Execution(String),
    /// The budget is used up, or somebody cancelled.
    #[error(transparent)]
    Stopped(#[from] Exhausted),
    /// The storage failed. `internal` in the HTTP API.
    #[error("cannot read samples")]
    Storage(#[source] StorageError),
}

impl QueryError {
    /// The `errorType` of Prometheus's HTTP API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::BadData(_) => "bad_data",
            Self::Stopped(Exhausted::Canceled) => "canceled",
            Self::Stopped(Exhausted::TimedOut) => "timeout",
            Self::Execution(_) | Self::Stopped(_) => "execution",
            Self::Storage(_) => "internal",
        }
    }
}

impl From<StorageError> for QueryError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Stopped(why) => Self::Stopped(why),
            StorageError::Refused(why) => Self::Execution(why),
            error @ StorageError::Failed(_) => Self::Storage(error),
        }
    }
}
