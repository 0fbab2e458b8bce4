//! The clocks of this host, and what it claims of them.

use nix::time::{ClockId, clock_gettime};

use crate::stamp::ErrorEstimate;

/// This instant by both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instant {
    /// Unix nanoseconds, by the clock that people and NTP set.
    pub wall_ns: i64,
    /// Nanoseconds by the clock that nobody sets.
    pub steady_ns: i64,
}

/// Now.
#[must_use]
pub fn now() -> Instant {
    Instant {
        wall_ns: read(ClockId::CLOCK_REALTIME),
        steady_ns: read(ClockId::CLOCK_MONOTONIC),
    }
}

fn read(clock: ClockId) -> i64 {
    // Linux has had both for ever; the call cannot fail.
    let time = clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
    time.0.saturating_mul(1_000_000_000).saturating_add(time.1)
}

impl Instant {
    /// The instant of an arrival that the kernel dated `wall_ns`, a moment ago as seen from `self`. If the
    /// wall clock was set in between, the arrival is now.
    #[must_use]
    pub const fn dated(self, wall_ns: i64) -> Self {
        /// What was dated longer ago than this waited for no reason that is known here.
        const LONGEST_NS: i64 = 1_000_000_000;
        let ago = self.wall_ns.saturating_sub(wall_ns);
        if ago < 0 || ago > LONGEST_NS {
            return self;
        }
        Self {
            wall_ns,
            steady_ns: self.steady_ns - ago,
        }
    }
}

/// What this host claims of its wall clock, from adjtimex(2): the kernel's bound on its error, if anything
/// keeps it right.
#[must_use]
pub fn error_estimate() -> ErrorEstimate {
    /// `STA_UNSYNC` of <linux/timex.h>.
    const UNSYNCHRONIZED: i64 = 0x40;
    /// `TIME_ERROR`.
    const ERROR: i32 = 5;
    let mut request = rtime_clock::adjtime::Timex::new();
    let state = rtime_clock::adjtime::adjtimex(&mut request);
    let found = &request.0;
    let is_right =
        state.is_ok_and(|state| state != ERROR) && i64::from(found.status) & UNSYNCHRONIZED == 0;
    let bound = is_right.then(|| u64::try_from(found.maxerror).unwrap_or_default());
    ErrorEstimate::of(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_dated_back_unless_the_clock_was_set() {
        let now = Instant {
            wall_ns: 5_000_000_000,
            steady_ns: 700,
        };
        let dated = now.dated(4_999_999_900);
        assert_eq!((dated.wall_ns, dated.steady_ns), (4_999_999_900, 600));
        // Set back and forth.
        assert_eq!(now.dated(5_000_000_001), now);
        assert_eq!(now.dated(3_000_000_000), now);
    }
}
