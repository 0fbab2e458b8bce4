//! Waits at random, so that many agents do not act as one.

use std::time::Duration;

/// Shortest wait after a failed attempt.
const BASE: Duration = Duration::from_secs(1);
/// Longest wait that a controller may ask for.
const LONGEST_HINT: Duration = Duration::from_secs(600);

/// A time between `low` and `high`, evenly spread.
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    // Without randomness the middle: agents then spread by when they started.
    let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
    low + high
        .saturating_sub(low)
        .mul_f64(f64::from(draw) / f64::from(u32::MAX))
}

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Retry {
    within: Duration,
    cap: Duration,
    previous: Duration,
}

impl Retry {
    pub(crate) fn new(within: Duration, cap: Duration) -> Self {
        Self {
            within,
            cap,
            previous: BASE.min(cap),
        }
    }

    /// After a session that was welcomed: anywhere within the first retry's time.
    pub(crate) fn after_session(&mut self) -> Duration {
        self.previous = BASE.min(self.cap);
        between(Duration::ZERO, self.within)
    }

    /// After a failed attempt: decorrelated jitter up to the cap; a controller that named a time is
    /// obeyed, with as much again at random.
    pub(crate) fn after_failure(&mut self, hint: Option<Duration>) -> Duration {
        let wait = between(BASE.min(self.cap), self.previous * 3).min(self.cap);
        self.previous = wait.max(BASE.min(self.cap));
        match hint.map(|hint| hint.min(LONGEST_HINT)) {
            Some(hint) => wait.max(between(hint, hint * 2)),
            None => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_spread_over_the_whole_time_and_stay_below_the_cap() {
        let mut retry = Retry::new(Duration::from_secs(30), Duration::from_secs(60));
        let waits: Vec<_> = (0..400).map(|_| retry.after_session()).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
        for third in 0..3 {
            let range = Duration::from_secs(third * 10)..Duration::from_secs(third * 10 + 10);
            let share = waits.iter().filter(|wait| range.contains(wait)).count();
            assert!((60..220).contains(&share), "{share} of 400 in {range:?}");
        }
        for _ in 0..50 {
            assert!(retry.after_failure(None) <= Duration::from_secs(60));
        }
    }

    #[test]
    fn a_named_time_is_obeyed_with_jitter() {
        let mut retry = Retry::new(Duration::from_secs(30), Duration::from_secs(60));
        for _ in 0..50 {
            let wait = retry.after_failure(Some(Duration::from_secs(100)));
            assert!((100..=200).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
