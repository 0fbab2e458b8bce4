//! How much one request asks for: found out by asking, and remembered from poll to poll.

use xiezhi_profiles::Hints;

/// Answers in a row after which a request may grow again by a quarter.
const ANSWERS_TO_GROW: u32 = 6;

/// How much one request asks for. A device that could not cope gets less, at once; more, slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Rows of a GETBULK.
    pub(super) repetitions: u32,
    /// Columns side by side, or objects of a GET.
    pub(super) columns: usize,
    /// The fewest values that the device said were too many for one answer.
    pub(super) too_many: usize,
    answered: u32,
}

impl Pace {
    /// The pace of a device that nobody has asked yet.
    #[must_use]
    pub fn new(hints: &Hints) -> Self {
        Self {
            repetitions: hints.max_repetitions.max(1),
            columns: hints.max_oids.max(1),
            too_many: usize::MAX,
            answered: 0,
        }
    }

    /// Columns of the next request, of `open` that are left.
    pub(super) fn columns_of(self, open: usize) -> usize {
        self.columns.min(open).min(self.too_many - 1).max(1)
    }

    /// Rows of the next request with `columns`, if `rows` are still expected in each: as even as
    /// possible, because the rows that a device tells beyond the end of a table are told in vain.
    pub(super) fn repetitions_of(self, columns: usize, rows: Option<usize>) -> u32 {
        let fits = (self.too_many - 1) / columns.max(1);
        let most = self
            .repetitions
            .min(u32::try_from(fits).unwrap_or(u32::MAX));
        let most = most.max(1);
        let Some(rows) = rows.and_then(|rows| u32::try_from(rows).ok()) else {
            return most;
        };
        let rows = rows.max(1);
        rows.div_ceil(rows.div_ceil(most))
    }

    /// Half as much as in a request of this size; `false` if there is nothing to halve.
    pub(super) fn shrink(&mut self, columns: usize, repetitions: u32) -> bool {
        self.answered = 0;
        if repetitions > 1 {
            self.repetitions = repetitions / 2;
        } else if columns > 1 {
            self.columns = columns / 2;
        } else {
            return false;
        }
        true
    }

    /// Half as much, and never again as much as this, for the device said that it cannot.
    pub(super) fn too_big(&mut self, columns: usize, repetitions: u32) -> bool {
        let values = columns.saturating_mul(repetitions as usize);
        if values > 1 {
            self.too_many = self.too_many.min(values);
        }
        self.shrink(columns, repetitions)
    }

    /// One object and one row a request, to find the one that the device does not answer.
    pub(super) fn single(&mut self) {
        self.answered = 0;
        self.repetitions = 1;
        self.columns = 1;
    }

    /// The culprit was found: half of what the profile allows.
    pub(super) fn resume(&mut self, hints: &Hints) {
        self.answered = 0;
        self.repetitions = (hints.max_repetitions / 2).max(1);
        self.columns = (hints.max_oids / 2).max(1);
    }

    /// An answer came.
    pub(super) fn answered(&mut self, hints: &Hints) {
        self.answered += 1;
        if self.answered < ANSWERS_TO_GROW {
            return;
        }
        self.answered = 0;
        let columns = self.columns + self.columns.div_ceil(4);
        let repetitions = self.repetitions + self.repetitions.div_ceil(4);
        self.columns = columns.min(hints.max_oids.max(1));
        self.repetitions = repetitions.min(hints.max_repetitions.max(1));
    }
}
