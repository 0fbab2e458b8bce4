//! Turns at something costly: so many at one time, and one of them for an account.
//!
//! An account waits for its own turn before it stands in the line of all, so that however much one asks
//! for, everybody else waits for one turn of it at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Lines = Arc<Mutex<HashMap<i64, Line>>>;

/// One account's.
#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    /// How many have a turn or wait for it.
    count: usize,
}

/// The turns of everybody.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    lines: Lines,
    most: usize,
}

/// A turn; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _stand: Stand,
}

/// A stand in an account's line.
#[derive(Debug)]
struct Stand {
    lines: Lines,
    user: i64,
}

impl Turns {
    /// `at_once` turns; of one account `most` have one or wait for it.
    pub(crate) fn new(at_once: usize, most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            lines: Arc::default(),
            most,
        }
    }

    /// A turn, when it comes; `None` if the account waits for enough of them.
    pub(crate) async fn take(&self, user: i64) -> Option<Turn> {
        let (stand, own) = self.stand(user)?;
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _all: all,
            _own: own,
            _stand: stand,
        })
    }

    fn stand(&self, user: i64) -> Option<(Stand, Arc<Semaphore>)> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(user).or_insert_with(|| Line {
            turn: Arc::new(Semaphore::new(1)),
            count: 0,
        });
        if line.count >= self.most {
            return None;
        }
        line.count += 1;
        let lines = Arc::clone(&self.lines);
        Some((Stand { lines, user }, Arc::clone(&line.turn)))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.user) {
            line.count -= 1;
            if line.count == 0 {
                lines.remove(&self.user);
            }
        }
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
        assert!(turns.lines.lock().unwrap().is_empty());
    }
}
