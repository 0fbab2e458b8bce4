//! How far back to go when the cluster may have forgotten.
//!
//! A cluster acknowledges what it holds in memory. What it acknowledged within the last minute before
//! its last acknowledgement may be gone when the connection is; what is older is on its disk. Pure:
//! times and places in, a place out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use xiezhi_series::Place;

/// Times that the same samples are sent again because connections keep getting lost. A balancer that
/// ends them without a word twice a minute would otherwise hold sending in one place for ever.
const MOST_RETURNS: u32 = 5;

/// A place, and when what lies before it was acknowledged: acknowledgements of one second share one.
#[derive(Debug, Clone, Copy)]
struct Mark {
    place: Place,
    first: Instant,
    last: Instant,
}

/// Acknowledged places and when.
#[derive(Debug)]
pub(super) struct Marks {
    keep: Duration,
    /// Where to return to.
    certain: Place,
    /// Behind it, and younger than `keep`.
    marks: VecDeque<Mark>,
    /// The furthest that was ever acknowledged.
    high: Place,
    returns: u32,
    /// `high` at the first of these returns.
    high_then: Place,
}

impl Marks {
    /// Everything before `place` is certain.
    pub(super) fn new(place: Place, keep: Duration) -> Self {
        Self {
            keep,
            certain: place,
            marks: VecDeque::new(),
            high: place,
            returns: 0,
            high_then: place,
        }
    }

    /// Everything before this is certain.
    pub(super) fn certain(&self) -> Place {
        self.certain
    }

    /// The furthest that was ever acknowledged.
    pub(super) fn high(&self) -> Place {
        self.high
    }

    /// Everything before `place` was acknowledged now.
    pub(super) fn acknowledge(&mut self, place: Place, now: Instant) {
        let since = |at: Instant| now.saturating_duration_since(at);
        match self.marks.back_mut() {
            Some(mark) if since(mark.first) < Duration::from_secs(1) => {
                (mark.place, mark.last) = (place, now);
            }
            _ => self.marks.push_back(Mark {
                place,
                first: now,
                last: now,
            }),
        }
        while let Some(mark) = self.marks.front()
            && since(mark.last) >= self.keep
        {
            self.certain = mark.place;
            self.returns = 0;
            self.marks.pop_front();
        }
        self.high = self.high.max(place);
    }

    /// The connection was lost: where to go on from. `None` if nothing was acknowledged since the
    /// last time, so that nothing can have been forgotten.
    pub(super) fn go_back(&mut self) -> Option<Place> {
        if self.marks.is_empty() {
            return None;
        }
        if self.returns == 0 {
            self.high_then = self.high;
        }
        self.returns += 1;
        if self.returns > MOST_RETURNS {
            tracing::warn!(
                "connections to the cluster are lost more often than once a minute: what was sent \
                 {MOST_RETURNS} times is taken as stored"
            );
            self.returns = 0;
            self.certain = self.certain.max(self.high_then);
        }
        self.marks.clear();
        Some(self.certain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Place {
        Place {
            log: 1,
            offset,
            mark: 0,
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_acknowledged_within_a_minute_of_the_last_is_sent_again() {
        let start = Instant::now();
        let mut marks = Marks::new(at(0), MINUTE);
        for second in 1..=100u32 {
            marks.acknowledge(
                at(u64::from(second)),
                start + Duration::from_secs(1) * second,
            );
        }
        assert_eq!(marks.certain(), at(40));
        // However late it is noticed.
        assert_eq!(marks.go_back(), Some(at(40)));
        assert_eq!((marks.high(), marks.go_back()), (at(100), None));
        marks.acknowledge(at(41), start + Duration::from_secs(300));
        assert_eq!(marks.go_back(), Some(at(40)));
    }

    #[test]
    fn connections_that_never_last_a_minute_do_not_hold_sending_in_one_place() {
        let mut now = Instant::now();
        let mut marks = Marks::new(at(0), MINUTE);
        let mut furthest = 0;
        for round in 1..=60u64 {
            now += Duration::from_secs(20);
            marks.acknowledge(at(round * 10), now);
            furthest = marks.go_back().unwrap().offset;
        }
        assert!(furthest > 400, "{furthest}");
    }

    #[test]
    fn marks_are_bounded() {
        let start = Instant::now();
        let mut marks = Marks::new(at(0), MINUTE);
        for step in 1..=100_000u32 {
            marks.acknowledge(at(u64::from(step)), start + Duration::from_millis(3) * step);
        }
        assert!(marks.marks.len() <= 62, "{}", marks.marks.len());
        assert!(marks.certain() > at(70_000), "{:?}", marks.certain());
    }
}
