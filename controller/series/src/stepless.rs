//! Samples that are due to go for their age while there is no room for their steps.
//!
//! A disk is full for an hour, steps are kept for years. So a block whose steps do not fit stays, and that
//! is doubted as it is doubted when the disk refuses to read ([`crate::refused`]): twice, with a pause
//! before it is tried again. The third time the oldest goes without its steps, because what it leaves is
//! room for those of the others, and because retention is what frees a disk. What went so is counted,
//! and told to whoever looks at the store. A start forgets both.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::frame::WithoutSteps;
use crate::refused::DOUBTED;

/// What waits for room, and what went without steps.
#[derive(Debug, Default)]
pub(crate) struct Stepless(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the name of the block: how often it did not fit, and when that was tried last.
    waiting: BTreeMap<String, (u32, Instant)>,
    lost: Option<WithoutSteps>,
}

impl Stepless {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the steps of a block did not fit less than `pause` ago.
    pub(crate) fn was_just_tried(&self, name: &str, pause: Duration) -> bool {
        let state = self.state();
        let tried = state.waiting.get(name);
        tried.is_some_and(|(_, at)| at.elapsed() < pause)
    }

    /// The steps of a block did not fit. Whether that is believed now.
    pub(crate) fn is_believed(&self, name: &str) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let (times, at) = state.waiting.entry(name.to_owned()).or_insert((0, now));
        (*times, *at) = (times.saturating_add(1), now);
        *times > DOUBTED
    }

    /// Forgets what is no longer due: it has its steps, is gone, or is a part of a larger block.
    pub(crate) fn keep(&self, is_due: impl Fn(&str) -> bool) {
        self.state().waiting.retain(|name, _| is_due(name));
    }

    /// Samples of a file are gone, and there are no steps of them.
    pub(crate) fn note_lost(&self, now_ms: i64) {
        let mut state = self.state();
        let lost = state.lost.get_or_insert(WithoutSteps {
            files: 0,
            since_ms: now_ms,
            last_ms: now_ms,
        });
        lost.files += 1;
        lost.last_ms = now_ms;
    }

    /// What went without steps since the store was opened.
    pub(crate) fn lost(&self) -> Option<WithoutSteps> {
        self.state().lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_believed_the_third_time_and_forgotten_with_the_file() {
        let stepless = Stepless::default();
        for _ in 0..2 {
            let believed = [(); 3].map(|()| stepless.is_believed("a"));
            assert_eq!(believed, [false, false, true]);
            stepless.keep(|name| name == "b");
        }
    }

    #[test]
    fn what_was_just_tried_is_not_tried_again() {
        let stepless = Stepless::default();
        let hour = Duration::from_secs(3600);
        assert!(!stepless.was_just_tried("a", hour));
        assert!(!stepless.is_believed("a"));
        assert!(stepless.was_just_tried("a", hour));
        assert!(!stepless.was_just_tried("a", Duration::ZERO));
        assert!(!stepless.was_just_tried("b", hour));
    }

    #[test]
    fn what_went_is_counted_from_the_first_to_the_last() {
        let stepless = Stepless::default();
        assert_eq!(stepless.lost(), None);
        stepless.note_lost(5);
        stepless.note_lost(9);
        let told = WithoutSteps {
            files: 2,
            since_ms: 5,
            last_ms: 9,
        };
        assert_eq!(stepless.lost(), Some(told));
    }
}
