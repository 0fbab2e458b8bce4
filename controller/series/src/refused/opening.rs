//! How patient a start is with a disk that refuses, and where its patience ends.
//!
//! What is refused is asked for again for half a minute, all files together. A disk may take seconds to
//! refuse: when so much time went with that as well, nothing more is asked of a file that was refused once, and
//! after five minutes of any file, so that a start ends. What was not asked for waits like what was refused.

use std::collections::BTreeSet;
use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Refusals, is_refusal};
use crate::disk::{self, Disk};

/// First and longest pause before a start asks again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// Time that a start spends at most with waiting for refusals, once it has no more patience.
const MOST_SPENT: Duration = Duration::from_secs(30);
/// Time that it spends at most with the first refusal of file after file.
const MOST_SPENT_AT_ALL: Duration = Duration::from_secs(300);
/// Files that are tried at least before a disk is said to be gone.
const LEAST_TRIED: usize = 16;

/// How long a start goes on asking.
#[derive(Debug)]
pub(super) struct Opening {
    pause: Duration,
    /// From the first refusal on.
    until: Option<Instant>,
    /// Time that refusals took since then.
    spent: Duration,
    /// Files of which something was refused after it.
    refused: BTreeSet<String>,
}

impl Refusals {
    /// The store is being opened: what is refused is asked for again for a while.
    pub(crate) fn begin(&self) {
        *self.opening() = Some(Opening {
            pause: PAUSES[0],
            until: None,
            spent: Duration::ZERO,
            refused: BTreeSet::new(),
        });
    }

    /// The store is open.
    pub(crate) fn end(&self) {
        *self.opening() = None;
    }

    fn opening(&self) -> MutexGuard<'_, Option<Opening>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reading was refused that began at a time. Waits a little, if a start still asks again.
    pub(super) fn may_ask_again(&self, name: &str, begun: Instant, error: &io::Error) -> bool {
        match self.note_refusal(name, begun, error) {
            Some(pause) => {
                std::thread::sleep(pause);
                true
            }
            None => false,
        }
    }

    /// A reading was refused that began at a time. How long a start waits before it asks again; nothing, if it
    /// does not.
    pub(super) fn note_refusal(
        &self,
        name: &str,
        begun: Instant,
        error: &io::Error,
    ) -> Option<Duration> {
        let mut guard = self.opening();
        let opening = guard.as_mut()?;
        let now = self.now();
        let patience = self.ask_again.opening;
        if opening.until.is_none() {
            tracing::warn!(file = name, %error, seconds = patience.as_secs(),
                "the disk refuses to read; the start asks again for so long, then goes on without");
        }
        let until = *opening.until.get_or_insert(begun + patience);
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            opening.spent += now.saturating_duration_since(begun.max(until));
            opening.refused.insert(name.to_owned());
            return None;
        }
        let pause = opening.pause.min(left);
        opening.pause = (opening.pause * 2).min(PAUSES[1]);
        Some(pause)
    }

    /// Whether a start asks no more of a file: the disk refused it once, or refused so many others that nothing
    /// more is asked of any.
    pub(super) fn is_given_up(&self, name: &str) -> bool {
        let guard = self.opening();
        guard.as_ref().is_some_and(|opening| {
            let is_second = opening.refused.contains(name) && opening.spent >= MOST_SPENT;
            is_second || opening.spent >= MOST_SPENT_AT_ALL
        })
    }

    /// Waits until the disk gives one of these files at least, as long as a start may.
    ///
    /// # Errors
    /// It gave none.
    pub(crate) fn await_one(&self, disk: &dyn Disk, names: &[&String]) -> io::Result<()> {
        loop {
            let begun = self.now();
            match self.gives_one(disk, names) {
                Err(error) if self.may_ask_again("", begun, &error) => {}
                given => return given,
            }
        }
    }

    /// Whether the disk gives the beginning of one of these files at least. If it takes long to refuse, a few of
    /// them stand for all, from here and there.
    ///
    /// # Errors
    /// It refuses them all, and there are several: that is no bad sector.
    fn gives_one(&self, disk: &dyn Disk, names: &[&String]) -> io::Result<()> {
        let begun = self.now();
        let mut refused = None;
        for (tried, place) in spread(names.len()).enumerate() {
            let until = self.opening().as_ref().and_then(|opening| opening.until);
            let until = until.unwrap_or(begun + self.ask_again.opening);
            if tried >= LEAST_TRIED && self.now() >= until {
                break;
            }
            let Some(name) = names.get(place) else {
                continue;
            };
            let read = disk
                .open(name)
                .and_then(|file| disk::read_block(&*file, 0, 1));
            match read {
                Err(error) if is_refusal(&error) => refused = Some(error),
                _ => return Ok(()),
            }
        }
        match refused {
            Some(error) if names.len() > 1 => Err(error),
            _ => Ok(()),
        }
    }
}

/// All places below `count`, in an order in which the first few lie far from each other.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let mut step = (count * 5 / 8).max(1);
    while common_divisor(step, count) > 1 {
        step += 1;
    }
    (0..count).scan(0, move |place, _| {
        let this = *place;
        *place = (this + step) % count;
        Some(this)
    })
}

fn common_divisor(left: usize, right: usize) -> usize {
    match right {
        0 => left,
        _ => common_divisor(right, left % right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_come_once_and_the_first_few_lie_far_from_each_other() {
        for count in 0..300 {
            let mut places: Vec<usize> = spread(count).collect();
            if count >= 100 {
                let early = places.iter().take(LEAST_TRIED);
                let early: BTreeSet<usize> = early.map(|place| place * 4 / count).collect();
                assert_eq!(early.len(), 4, "{count}: {places:?}");
            }
            places.sort_unstable();
            assert!(places.into_iter().eq(0..count), "{count}");
        }
    }
}
