//! Who waits for what: of one account only so many at one time, and turns at what is costly.
//!
//! An account waits for its own turn before it stands in the line of all, so that however much one asks
//! for, everybody else waits for one turn of it at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many stand where, by account.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    lines: Arc<Mutex<HashMap<i64, Line>>>,
    most: usize,
}

/// One account's.
#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    count: usize,
}

/// A stand in an account's line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stand {
    lines: Lines,
    user: i64,
    /// The one turn of the account.
    turn: Arc<Semaphore>,
}

impl Lines {
    /// Each account has so many stands.
    pub(crate) fn new(most: usize) -> Self {
        let lines = Arc::default();
        Self { lines, most }
    }

    /// One of them, if there is one left.
    pub(crate) fn stand(&self, user: i64) -> Option<Stand> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(user).or_insert_with(|| Line {
            turn: Arc::new(Semaphore::new(1)),
            count: 0,
        });
        if line.count >= self.most {
            return None;
        }
        line.count += 1;
        Some(Stand {
            lines: self.clone(),
            user,
            turn: Arc::clone(&line.turn),
        })
    }

    #[cfg(test)]
    pub(crate) fn count(&self, user: i64) -> usize {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(&user).map_or(0, |line| line.count)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let lines = self.lines.lines.lock();
        let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.user) {
            line.count -= 1;
            if line.count == 0 {
                lines.remove(&self.user);
            }
        }
    }
}

/// The turns of everybody.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    lines: Lines,
}

/// A turn; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _stand: Stand,
}

impl Turns {
    /// `at_once` turns; of one account `most` have one or wait for it.
    pub(crate) fn new(at_once: usize, most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            lines: Lines::new(most),
        }
    }

    /// How many turns an account has or waits for.
    #[cfg(test)]
    pub(crate) fn standing(&self, user: i64) -> usize {
        self.lines.count(user)
    }

    /// A turn, when it comes; `None` if the account waits for enough of them.
    pub(crate) async fn take(&self, user: i64) -> Option<Turn> {
        let stand = self.lines.stand(user)?;
        let own = Arc::clone(&stand.turn).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _all: all,
            _own: own,
            _stand: stand,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_account_takes_one_turn_and_waits_for_few() {
        let turns = Turns::new(2, 3);
        let first = turns.take(1).now_or_never().flatten().unwrap();
        let mut second = Box::pin(turns.take(1));
        let mut third = Box::pin(turns.take(1));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(turns.take(1).await.is_none(), "a fourth is refused");
        let other = turns.take(2).now_or_never().flatten().unwrap();
        let mut waits = Box::pin(turns.take(3));
        assert!(waits.as_mut().now_or_never().is_none(), "both are taken");
        drop((other, third));
        let waits = waits.now_or_never().flatten().unwrap();
        drop(first);
        let second = second.now_or_never().flatten().unwrap();
        drop((second, waits));
        assert!(turns.lines.lines.lock().unwrap().is_empty());
    }
}
