//! The evaluator's front door.

use crate::{Answer, Budget, QueryError, Storage};

/// What holds for every query of an engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far a selector looks back for the latest sample, milliseconds.
    pub lookback_ms: i64,
    /// Step of a subquery that names none, milliseconds: Prometheus's global evaluation interval.
    pub default_step_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            default_step_ms: 60_000,
        }
    }
}

/// Evaluates queries. Holds no data; clone or share it freely.
#[derive(Clone, Default, Debug)]
pub struct Engine {
    options: Options,
}

impl Engine {
    /// An engine with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// The value of `query` at one time, Unix milliseconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        time_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        let _ = (storage, query, time_ms, budget, &self.options);
        Err(QueryError::Execution("not evaluated yet".to_owned()))
    }

    /// The values of `query` from `start_ms` to `end_ms`, inclusive, every `step_ms` milliseconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, QueryError> {
        let _ = (storage, query, start_ms, end_ms, step_ms, budget);
        Err(QueryError::Execution("not evaluated yet".to_owned()))
    }
}
