//! How a device likes to be asked.

use std::time::Duration;

/// How a device likes to be asked; every profile has these, most keep the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// Rows of one GETBULK, at most.
    pub max_repetitions: u32,
    /// Columns of one GETBULK, and objects of one GET, at most.
    pub max_oids: usize,
    /// How long one request waits for its answer.
    pub timeout: Duration,
    /// How often a request is sent again when no answer came.
    pub retries: u32,
    /// The device answers GETBULK wrongly or not at all: GETNEXT instead.
    pub no_getbulk: bool,
    /// Some rows come twice or out of order: the walk of a column goes on, as long as it ends.
    pub unordered: bool,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            // A table of 48 ports in one answer, of 100 in two; a device that cannot cuts its answer, or
            // says so, and is asked for less from then on.
            max_repetitions: 64,
            max_oids: 8,
            timeout: Duration::from_secs(2),
            retries: 2,
            no_getbulk: false,
            unordered: false,
        }
    }
}
