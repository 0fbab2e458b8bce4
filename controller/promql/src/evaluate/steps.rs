//! The times at which an expression is evaluated.

/// Evenly spaced times. Arithmetic saturates: absurd times give empty answers, never a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Steps {
    pub(crate) start_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

impl Steps {
    /// A single time.
    pub(crate) fn at(time_ms: i64) -> Self {
        Self {
            start_ms: time_ms,
            step_ms: 1,
            count: 1,
        }
    }

    /// From `start_ms` to `end_ms`, both inclusive; none if the end is before the start.
    pub(crate) fn between(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let count = match end_ms.checked_sub(start_ms) {
            Some(span) if span >= 0 => {
                usize::try_from(span / step_ms).map_or(usize::MAX, |n| n.saturating_add(1))
            }
            Some(_) => 0,
            None => usize::MAX,
        };
        Self {
            start_ms,
            step_ms,
            count,
        }
    }

    /// The time of one step.
    pub(crate) fn time(self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.start_ms
            .saturating_add(index.saturating_mul(self.step_ms))
    }

    /// The last time.
    pub(crate) fn end_ms(self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    /// All times.
    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |index| self.time(index))
    }

    /// The same steps, earlier by `offset_ms`.
    pub(crate) fn earlier(self, offset_ms: i64) -> Self {
        Self {
            start_ms: self.start_ms.saturating_sub(offset_ms),
            ..self
        }
    }
}
