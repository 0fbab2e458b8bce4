//! The numbers of one interval: round trip, jitter and delay of the packets that were answered.
//!
//! Jitter is told twice, because contracts do: the mean change between neighbours (RFC 3393, as most
//! meters have it) and how far packets are behind the fastest of the interval (PDV, RFC 5481). Neither
//! needs clocks that agree; delay on one way does, so it is told only where both ends claim that theirs do.

/// The times of one packet, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From here and back, without the time that the reflector took. By a clock that nobody sets.
    pub round_trip: i64,
    /// There, by two wall clocks: only its changes mean anything unless both are right.
    pub forward: i64,
    /// Back, likewise.
    pub backward: i64,
    /// Both ends claimed that their clocks are right, with this error together.
    pub error: Option<i64>,
}

/// Least, middle, 95th of a hundred, most.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: i64,
    /// The middle one; the lower one of two.
    pub median: i64,
    /// Nineteen of twenty are no larger.
    pub p95: i64,
    /// The most.
    pub max: i64,
}

impl Spread {
    /// Of these; `None` of none.
    #[must_use]
    pub fn of(values: &mut [i64]) -> Option<Self> {
        values.sort_unstable();
        // By nearest rank, so that each is a value that was measured.
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Some(Self {
            min: *values.first()?,
            median: rank(50)?,
            p95: rank(95)?,
            max: *values.last()?,
        })
    }
}

/// What one way did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Way {
    /// Mean change between neighbours, nanoseconds, whatever its sign.
    pub ipdv_mean: Option<i64>,
    /// How far 95 of a hundred are at most behind the fastest.
    pub pdv_p95: Option<i64>,
    /// Delay; where both clocks are right.
    pub delay: Option<Spread>,
}

/// The numbers of an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Round trip.
    pub round_trip: Option<Spread>,
    /// Of the round trip: mean change between neighbours.
    pub ipdv_mean: Option<i64>,
    /// There and back.
    pub ways: [Way; 2],
    /// The most that the delays may be wrong, if all packets had clocks that claim to be right.
    pub error: Option<i64>,
}

/// Gathers an interval. It is bounded by how often it is asked: a link of 100 packets a second and five
/// minutes has 30,000.
#[derive(Debug, Default)]
pub struct Interval {
    round_trips: Vec<i64>,
    changes: [Changes; 3],
    ways: [Vec<i64>; 2],
    /// How far packets were behind the fastest, of the stretches that a set clock ended.
    behind: [Vec<i64>; 2],
    /// Where in `ways` the stretch under way began.
    stretch: usize,
    /// The packet before, if it was answered.
    before: Option<Times>,
    error: i64,
    unsure: bool,
    /// Whether no delay can be told because a clock was set.
    was_set: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Changes {
    sum: i64,
    count: i64,
}

impl Changes {
    fn add(&mut self, change: i64) {
        self.sum = self.sum.saturating_add(change.saturating_abs());
        self.count += 1;
    }

    fn mean(self) -> Option<i64> {
        self.sum.checked_div(self.count)
    }
}

impl Interval {
    /// Takes the next packet in the order of sending; `None` for one without times. Says whether a clock
    /// was set since the one before.
    pub fn add(&mut self, times: Option<Times>) -> bool {
        let Some(times) = times else {
            self.before = None;
            return false;
        };
        let was_set = self.before.is_some_and(|before| was_set(&before, &times));
        if was_set {
            self.end_stretch();
            self.was_set = true;
        } else if let Some(before) = self.before {
            let [round_trip, forward, backward] = &mut self.changes;
            round_trip.add(times.round_trip - before.round_trip);
            forward.add(times.forward - before.forward);
            backward.add(times.backward - before.backward);
        }
        self.round_trips.push(times.round_trip);
        let [forward, backward] = &mut self.ways;
        forward.push(times.forward);
        backward.push(times.backward);
        match times.error {
            Some(error) => self.error = self.error.max(error),
            None => self.unsure = true,
        }
        self.before = Some(times);
        was_set
    }

    /// The clock of this host was set: what comes is not compared with what was.
    pub fn clock_was_set(&mut self) {
        self.end_stretch();
        self.before = None;
        self.was_set = true;
    }

    fn end_stretch(&mut self) {
        for (way, behind) in self.ways.iter().zip(&mut self.behind) {
            let stretch = way.get(self.stretch..).unwrap_or_default();
            let least = stretch.iter().min().copied().unwrap_or_default();
            behind.extend(stretch.iter().map(|value| value - least));
        }
        self.stretch = self.round_trips.len();
    }

    /// The numbers, and an empty interval that goes on.
    pub fn take(&mut self) -> Summary {
        self.end_stretch();
        let sure = !self.unsure && !self.was_set && !self.round_trips.is_empty();
        let [round_trip, changes @ ..] = self.changes;
        let mut ways = [Way::default(); 2];
        let parts = self.ways.iter_mut().zip(&mut self.behind).zip(changes);
        for (way, ((values, behind), changes)) in ways.iter_mut().zip(parts) {
            *way = Way {
                ipdv_mean: changes.mean(),
                pdv_p95: Spread::of(behind).map(|spread| spread.p95),
                delay: Spread::of(values).filter(|_| sure),
            };
        }
        let summary = Summary {
            round_trip: Spread::of(&mut self.round_trips),
            ipdv_mean: round_trip.mean(),
            ways,
            error: sure.then_some(self.error),
        };
        *self = Self {
            before: self.before,
            ..Self::default()
        };
        summary
    }
}

/// Whether a wall clock was set between two packets: delay on one way is between nothing and the round trip,
/// so it cannot change by more than the longer of two round trips. A clock that is set by less is not seen.
fn was_set(before: &Times, now: &Times) -> bool {
    let most = before.round_trip.max(now.round_trip);
    let change = (now.forward - before.forward).saturating_abs();
    change > most || (now.backward - before.backward).saturating_abs() > most
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(forward: i64, backward: i64, offset: i64) -> Option<Times> {
        Some(Times {
            round_trip: forward + backward,
            forward: forward + offset,
            backward: backward - offset,
            error: (offset == 0).then_some(3),
        })
    }

    #[test]
    fn spreads_are_values_that_were_measured() {
        assert_eq!(Spread::of(&mut []), None);
        let mut hundred: Vec<i64> = (1..=100).rev().collect();
        let spread = Spread::of(&mut hundred).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.p95, spread.max),
            (1, 50, 95, 100)
        );
        let one = Spread::of(&mut [7]).unwrap();
        assert_eq!((one.min, one.median, one.p95, one.max), (7, 7, 7, 7));
    }

    #[test]
    fn delay_is_told_only_where_both_clocks_claim_to_be_right() {
        let mut interval = Interval::default();
        for step in 0..10 {
            interval.add(times(5000 + step % 2 * 100, 4000, 0));
        }
        let summary = interval.take();
        assert_eq!(summary.ways[0].delay.unwrap().median, 5000);
        assert_eq!(summary.ways[0].ipdv_mean, Some(100));
        assert_eq!(summary.ways[0].pdv_p95, Some(100));
        assert_eq!(summary.ways[1].ipdv_mean, Some(0));
        assert_eq!(summary.error, Some(3));
        interval.add(times(5000, 4000, 0));
        interval.add(times(5000, 4000, 9));
        let summary = interval.take();
        assert_eq!((summary.ways[0].delay, summary.error), (None, None));
        assert_eq!(summary.round_trip.unwrap().median, 9000);
    }

    #[test]
    fn a_lost_packet_is_no_neighbour() {
        let mut interval = Interval::default();
        interval.add(times(5000, 4000, 0));
        interval.add(None);
        interval.add(times(6000, 4000, 0));
        assert_eq!(interval.take().ways[0].ipdv_mean, None);
        // Neighbours go on across intervals.
        interval.add(times(6100, 4000, 0));
        assert_eq!(interval.take().ways[0].ipdv_mean, Some(100));
    }

    proptest! {
        #[test]
        fn a_clock_that_is_set_makes_no_jitter(
            delays in prop::collection::vec((1_000_000_i64..9_000_000, 1_000_000_i64..9_000_000), 2..50),
            at in 1_usize..49, step in prop::sample::select(vec![-3_600_000_000_000_i64, -40_000_000, 40_000_000, 5_000_000_000])
        ) {
            prop_assume!(at < delays.len());
            let (mut steady, mut set) = (Interval::default(), Interval::default());
            let mut seen = 0;
            for (place, (forward, backward)) in delays.iter().enumerate() {
                steady.add(times(*forward, *backward, 7));
                let offset = if place < at { 7 } else { step };
                seen += u32::from(set.add(times(*forward, *backward, offset)));
            }
            prop_assert_eq!(seen, 1);
            let (steady, set) = (steady.take(), set.take());
            prop_assert_eq!(steady.round_trip, set.round_trip);
            for (one, other) in steady.ways.iter().zip(&set.ways) {
                prop_assert!(other.pdv_p95 <= Some(8_000_000));
                prop_assert!(other.ipdv_mean.unwrap_or_default() <= 8_000_000);
                prop_assert_eq!(other.delay, None);
                prop_assert_eq!(one.delay, None);
            }
        }
    }
}
