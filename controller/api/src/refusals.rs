//! How many refused sign-ins the audit log takes one by one.
//!
//! The first of a flood are entries of their own; the rest are counted, and one entry a minute
//! says how many there were. So a flood can neither fill the log nor go unseen.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Entries of their own within one period.
const FIRST: u32 = 20;
/// After it the count is written down, and the next ones are entries of their own again.
pub(crate) const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    /// When it began, by the controller's clock; `None` while nothing happens.
    since_ms: Option<i64>,
    written: u32,
    counted: u64,
}

/// What to do with one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// An entry of its own.
    pub(crate) write: bool,
    /// It is the first of a period: [`Refusals::close`] must be called when that has passed.
    pub(crate) opened: bool,
}

impl Refusals {
    /// Takes note of a refusal.
    pub(crate) fn note(&self, now_ms: i64) -> Verdict {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = period.since_ms.is_none();
        period.since_ms.get_or_insert(now_ms);
        let write = period.written < FIRST;
        if write {
            period.written += 1;
        } else {
            period.counted = period.counted.saturating_add(1);
        }
        Verdict { write, opened }
    }

    /// Ends the period: when it began, and how many refusals have no entry of their own.
    pub(crate) fn close(&self) -> Option<(i64, u64)> {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::take(&mut *period);
        ended
            .since_ms
            .filter(|_| ended.counted > 0)
            .map(|since_ms| (since_ms, ended.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_written_and_the_rest_are_counted_once() {
        let refusals = Refusals::default();
        let verdicts: Vec<Verdict> = (0..100).map(|now_ms| refusals.note(now_ms + 7)).collect();
        let written = verdicts.iter().filter(|verdict| verdict.write).count();
        let opened = verdicts.iter().filter(|verdict| verdict.opened).count();
        assert_eq!((written, opened), (FIRST as usize, 1));
        assert_eq!(refusals.close(), Some((7, 80)));
        assert_eq!(refusals.close(), None);
        assert!(refusals.note(1000).write);
        assert_eq!(refusals.close(), None, "all of them have entries");
    }
}
