//! What the evaluator asks of whoever keeps the samples.

use std::sync::Arc;

use thiserror::Error;

use crate::budget::{Budget, Exhausted};
use crate::labels::Labels;
use crate::matcher::Matcher;

/// One selection: every series that satisfies all matchers, with its samples of a span of time.
#[derive(Clone, Debug)]
pub struct Select {
    /// All must hold. At least one refuses the empty text, unless the API asks for everything.
    pub matchers: Vec<Matcher>,
    /// First time that matters, Unix milliseconds, inclusive.
    pub start_ms: i64,
    /// Last time that matters, Unix milliseconds, inclusive.
    pub end_ms: i64,
    /// What will be done with the samples. A storage may use it to choose a coarser resolution, and
    /// may ignore it.
    pub hint: SelectHint,
}

/// What the evaluator will do with a selection.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SelectHint {
    /// Distance of the steps, milliseconds; 0 for a single step.
    pub step_ms: i64,
    /// Length of the window before each step, milliseconds; 0 if only the latest sample counts.
    pub range_ms: i64,
    /// The function or aggregation around the selector, empty if none.
    pub function: String,
}

/// The samples of one series.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels, `__name__` included.
    pub labels: Labels,
    /// Times, Unix milliseconds, strictly rising. Agents align their samples, so thousands of
    /// series can share one column; the evaluator then places its windows once for all of them.
    pub times: Arc<[i64]>,
    /// Values, one per time; [`crate::STALE`] where the series ended.
    pub values: Arc<[f64]>,
    /// What the values stand for, if some are no samples; none if each is one.
    pub coarse: Option<Coarse>,
}

/// Steps that stand for several samples each: what a storage keeps when the samples are gone.
///
/// A step's time is its end. Its value is the mean of its samples, unless the function that
/// [`SelectHint`] names has an aggregate of its own (least, greatest, a counter's last value).
/// `count_over_time`, `sum_over_time` and `avg_over_time` weigh each value with its count, and the
/// evaluator remarks on every answer that has steps in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Coarse {
    /// Length of the longest step, milliseconds.
    pub step_ms: i64,
    /// How many samples each value stands for, one per time: 1 for a sample. Not always whole.
    pub counts: Arc<[f64]>,
}

/// Why a storage gave nothing.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The query's budget ended in the middle of reading.
    #[error(transparent)]
    Stopped(#[from] Exhausted),
    /// More is asked than the storage reads at once; says what to ask instead.
    #[error("{0}")]
    Refused(String),
    /// Reading failed.
    #[error("{0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Samples by label. All times are Unix milliseconds, all spans inclusive at both ends.
///
/// Samples outside the asked span may be returned and are left out here. Series may come in any
/// order; in the order of their labels, ties of `topk` and the picks of `limitk` are the same every
/// time. Implementations charge what they read to the budget and stop when it says so.
pub trait Storage: Send + Sync {
    /// Series that satisfy all matchers, each with at least one sample in the span.
    ///
    /// # Errors
    /// If reading fails or the budget ends.
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError>;

    /// What the readings since the last call had to leave out or may lack, and what to do about it, for
    /// whoever asks; none if they are whole. An answer carries each as a warning.
    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }

    /// Label sets that satisfy all matchers and have a sample in the span; `request.hint` is empty.
    ///
    /// # Errors
    /// If reading fails or the budget ends.
    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError>;

    /// Names of the labels of those series, sorted, each once. No matcher means every series.
    ///
    /// # Errors
    /// If reading fails or the budget ends.
    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError>;

    /// Values of one label among those series, sorted, each once. No matcher means every series.
    ///
    /// # Errors
    /// If reading fails or the budget ends.
    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError>;
}
