//! What is asked of a device, how much of it at most, and what can be wrong with an object.

use xiezhi_profiles::Oid;

/// What is asked of a device in one poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Exact instances: objects with one value, with the `.0` at their end, and single cells of tables.
    pub scalars: Vec<Oid>,
    /// Columns of tables; those of one group share their index, so they are asked side by side.
    pub columns: Vec<Vec<Oid>>,
}

/// How much a device may tell before it is stopped: a broken one would go on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one column. The largest tables are address tables: 32,768 entries and more.
    pub rows: usize,
    /// Values of one poll; each takes some 60 bytes until it is read.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 50_000,
            values: 200_000,
        }
    }
}

/// An object whose rows are not all there, and why.
///
/// An object that the device simply does not have is none: it has no rows and no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The scalar or column.
    pub object: Oid,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an object. The rows that came before it are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The device told a row that does not come after the last one.
    #[error("the device goes round in circles: a row came again or out of order")]
    Loop,
    /// More rows than [`Limits`] allow.
    #[error("the device told more rows than a table may have")]
    Endless,
    /// Not even a single row fits into an answer of the device.
    #[error("the device says that its answer would be too big, even for one row")]
    TooBig,
    /// The device answers, but neither ends this object nor tells a row of it.
    #[error("the device answers without telling anything")]
    Empty,
    /// No answer came when this object was asked for, although others were answered.
    #[error("the device does not answer when asked for this")]
    Silent,
    /// The device answered with an error.
    #[error("the device refuses: {0}")]
    Refused(&'static str),
    /// The poll ended before: its time was up, or the device fell silent.
    #[error("the poll ended before all of this was asked")]
    Unfinished,
}
