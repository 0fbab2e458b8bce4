//! Reads bodies of remote write: what they hold in memory together and of one token is bounded as they
//! arrive, whatever length a sender announces, and who sends too slowly is given up.
//!
//! One token never holds more than a quarter, so that three more can go on beside one that sends
//! without end or stops in the middle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};
use xiezhi_metrics::remote_write::MAX_BODY_BYTES;

/// Bytes of bodies that are held at one time, compressed.
pub(super) const HELD_BYTES: usize = 64 << 20;
/// Of them, those that came with one token: two requests of the largest size.
pub(super) const HELD_BYTES_OF_ONE: usize = HELD_BYTES / 4;

/// Slowest sender that is waited for, after [`GRACE`]. A court's line of 64 kbit/s is twice as fast.
pub(super) const LEAST_BYTES_A_SECOND: u32 = 4096;
/// How long a sender may take to begin.
const GRACE: Duration = Duration::from_secs(5);

/// Counts the bytes that are held.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    by_token: HashMap<i64, usize>,
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shelf: Arc<Shelf>,
    token: i64,
    bytes: usize,
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// No room now, of all or of this token.
    Busy,
    /// Slower than [`LEAST_BYTES_A_SECOND`].
    Slow,
    /// More than [`MAX_BODY_BYTES`].
    TooLarge {
        /// Bytes that have come so far.
        found: usize,
    },
    /// The line failed, or the body is not what its headers say.
    Broken(axum::Error),
}

impl Shelf {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.held().bytes
    }
}

impl Place {
    /// A place without a byte.
    pub(super) fn of(shelf: &Arc<Shelf>, token: i64) -> Self {
        Self {
            shelf: Arc::clone(shelf),
            token,
            bytes: 0,
        }
    }

    /// Room for so many bytes more.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Unread> {
        let mut held = self.shelf.held();
        let of_one = held.by_token.get(&self.token).copied().unwrap_or(0);
        let (all, of_one) = (held.bytes.saturating_add(more), of_one.saturating_add(more));
        if all > HELD_BYTES || of_one > HELD_BYTES_OF_ONE {
            return Err(Unread::Busy);
        }
        held.bytes = all;
        held.by_token.insert(self.token, of_one);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shelf.held();
        held.bytes = held.bytes.saturating_sub(self.bytes);
        if let Some(of_one) = held.by_token.get_mut(&self.token) {
            *of_one = of_one.saturating_sub(self.bytes);
            if *of_one == 0 {
                held.by_token.remove(&self.token);
            }
        }
    }
}

/// A body to its end; `place` holds its bytes as they come.
pub(super) async fn read(pieces: &mut BodyDataStream, place: &mut Place) -> Result<Bytes, Unread> {
    let begun = Instant::now();
    let mut whole = Vec::new();
    loop {
        let due = begun + GRACE + time_for(whole.len());
        let piece = match timeout_at(due, pieces.next()).await {
            Err(_) => return Err(Unread::Slow),
            Ok(None) => return Ok(whole.into()),
            Ok(Some(Err(error))) => return Err(Unread::Broken(error)),
            Ok(Some(Ok(piece))) => piece,
        };
        let found = whole.len().saturating_add(piece.len());
        if found > MAX_BODY_BYTES {
            return Err(Unread::TooLarge { found });
        }
        place.grow(piece.len())?;
        whole.extend_from_slice(&piece);
    }
}

/// How long so many bytes may take.
fn time_for(bytes: usize) -> Duration {
    Duration::from_secs(1).saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
        / LEAST_BYTES_A_SECOND
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::tests::bodies::{body, piece};

    #[test]
    fn one_token_holds_a_quarter_and_the_others_the_rest() {
        let shelf = Arc::new(Shelf::default());
        let mut greedy = Place::of(&shelf, 1);
        greedy.grow(HELD_BYTES_OF_ONE).unwrap();
        let mut again = Place::of(&shelf, 1);
        assert!(matches!(again.grow(1), Err(Unread::Busy)));
        let mut others: Vec<Place> = (2..5).map(|token| Place::of(&shelf, token)).collect();
        for other in &mut others {
            other.grow(HELD_BYTES_OF_ONE).unwrap();
        }
        let mut fifth = Place::of(&shelf, 5);
        assert!(matches!(fifth.grow(1), Err(Unread::Busy)), "all is held");
        drop(greedy);
        fifth.grow(1).unwrap();
        again.grow(1).unwrap();
        drop((again, fifth, others));
        assert_eq!(shelf.bytes(), 0);
        assert!(shelf.held().by_token.is_empty());
    }

    #[tokio::test]
    async fn a_body_holds_what_has_come_and_no_more() {
        let shelf = Arc::new(Shelf::default());
        let mut place = Place::of(&shelf, 1);
        let mut small = body(stream::iter([piece(3), piece(4)]));
        assert_eq!(read(&mut small, &mut place).await.unwrap().len(), 7);
        assert_eq!(shelf.bytes(), 7);
        let mut large = body(stream::iter([piece(MAX_BODY_BYTES), piece(1)]));
        let read = read(&mut large, &mut place).await;
        assert!(matches!(read, Err(Unread::TooLarge { .. })), "{read:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_stops_is_given_up_and_a_slow_line_is_not() {
        let shelf = Arc::new(Shelf::default());
        let mut place = Place::of(&shelf, 1);
        let stops = stream::iter([piece(10)]).chain(stream::pending());
        let stopped = read(&mut body(stops), &mut place).await;
        assert!(matches!(stopped, Err(Unread::Slow)), "{stopped:?}");
        // 64 kbit/s, for a minute.
        let line = stream::iter(0..60).then(|_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            piece(8000)
        });
        let slow = read(&mut body(line), &mut place).await;
        assert_eq!(slow.unwrap().len(), 480_000);
    }
}
