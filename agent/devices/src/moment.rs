//! When something was, by two clocks, and whether a device went on in between.
//!
//! Our wall clock may be set, and a device's uptime may wrap, stand still or be reset by itself. What
//! passed between two polls is measured by the clock that nobody sets, as long as this host did not
//! restart; whether the device restarted is judged from its uptime and cross-checked with the time of
//! its SNMP engine, where it tells that.

use std::time::Duration;

/// Hundredths of a second after which sysUpTime starts again: 497 days.
const WRAP: u64 = 1 << 32;

/// How far a device's clock may go wrong between two polls, beside a fiftieth of the time.
const TOLERANCE: Duration = Duration::from_secs(30);

/// When something was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Unix milliseconds.
    pub unix_ms: i64,
    /// Milliseconds since this host started, sleep included; nobody sets it.
    pub boot_ms: u64,
    /// Which start of this host that was: any number that differs from start to start.
    pub boot: u64,
}

impl Moment {
    /// How long this is after `earlier`; zero if the wall clock is all there is and went back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        if self.boot == earlier.boot && self.boot_ms >= earlier.boot_ms {
            return Duration::from_millis(self.boot_ms - earlier.boot_ms);
        }
        let ms = self.unix_ms.saturating_sub(earlier.unix_ms);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }
}

/// The clocks that a device told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    /// sysUpTime, hundredths of a second.
    pub uptime_ticks: Option<u32>,
    /// How often that wrapped since the device started, as far as anybody saw.
    pub wraps: u32,
    /// snmpEngineTime, seconds.
    pub engine_time_s: Option<u32>,
}

/// Whether a device went on between two polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It did, or nothing says that it did not.
    Same,
    /// It started again.
    Restarted,
}

impl Clocks {
    /// Seconds since the device started; by the engine's time where its uptime must have wrapped unseen.
    #[must_use]
    pub fn uptime_s(&self) -> Option<u64> {
        let ticks = u64::from(self.uptime_ticks?);
        Some((ticks + u64::from(self.wraps) * WRAP) / 100)
    }

    /// Judges whether the device went on since it told `before`, and counts the wraps on.
    pub fn follow(&mut self, before: &Self, elapsed: Duration) -> Continuity {
        let (Some(was), Some(is)) = (before.uptime_ticks, self.uptime_ticks) else {
            self.wraps = before.wraps;
            return match engine(before, self, elapsed) {
                Some(false) => Continuity::Restarted,
                _ => Continuity::Same,
            };
        };
        let passed = ticks(elapsed);
        let tolerance = ticks(TOLERANCE) + passed / 50;
        // How far it is from where it should be, round the wrap.
        let expected = u64::from(was).wrapping_add(passed) % WRAP;
        let behind = (expected + WRAP - u64::from(is)) % WRAP;
        let is_on_track = behind.min(WRAP - behind) <= tolerance;
        let began_in_between = u64::from(is) < passed.saturating_add(tolerance);
        let looks_restarted = !is_on_track && (is < was || began_in_between);
        let wrapped = is < was && u64::from(was - is) > WRAP / 2;
        let restarted = match engine(before, self, elapsed) {
            // Its engine went on, so its uptime alone was reset or wrapped early.
            Some(true) => false,
            // Just when its uptime was about to wrap, it restarted.
            Some(false) => looks_restarted || wrapped,
            None => looks_restarted,
        };
        if restarted {
            self.wraps = 0;
            return Continuity::Restarted;
        }
        self.wraps = before.wraps.saturating_add(u32::from(wrapped));
        Continuity::Same
    }
}

/// Whether the engine went on; `None` if it does not tell.
fn engine(before: &Clocks, now: &Clocks, elapsed: Duration) -> Option<bool> {
    let was = u64::from(before.engine_time_s?);
    let is = u64::from(now.engine_time_s?);
    let tolerance = TOLERANCE.as_secs() + elapsed.as_secs() / 50;
    Some(is >= was && is + tolerance >= was + elapsed.as_secs())
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / 10).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clocks(uptime_s: u64, engine_time_s: Option<u32>) -> Clocks {
        Clocks {
            uptime_ticks: Some((uptime_s * 100 % WRAP) as u32),
            wraps: 0,
            engine_time_s,
        }
    }

    fn judged(before: Clocks, mut now: Clocks, elapsed_s: u64) -> (Continuity, u32) {
        let continuity = now.follow(&before, Duration::from_secs(elapsed_s));
        (continuity, now.wraps)
    }

    const WRAP_S: u64 = WRAP / 100;

    #[test]
    fn a_restart_is_told_from_a_wrap_and_from_a_slow_clock() {
        use Continuity::{Restarted, Same};
        for (before, now, elapsed, expected) in [
            (clocks(1000, None), clocks(1060, None), 60, (Same, 0)),
            (clocks(1000, None), clocks(20, None), 60, (Restarted, 0)),
            // It had run for 300 days.
            (
                clocks(26_000_000, None),
                clocks(5, None),
                60,
                (Restarted, 0),
            ),
            // 497 days are over.
            (
                clocks(WRAP_S - 10, None),
                clocks(WRAP_S + 50, None),
                60,
                (Same, 1),
            ),
            // It was away for an hour and started again in between, at more than it had before.
            (clocks(100, None), clocks(1800, None), 3600, (Restarted, 0)),
            // Its clock is slow, and it has run for longer than we were away.
            (clocks(9000, None), clocks(9100, None), 3600, (Same, 0)),
            // Its uptime was reset, its engine went on.
            (
                clocks(5000, Some(5000)),
                clocks(3, Some(5060)),
                60,
                (Same, 0),
            ),
            // It restarted just when the uptime would have wrapped.
            (
                clocks(WRAP_S - 10, Some(900)),
                clocks(WRAP_S + 50, Some(50)),
                60,
                (Restarted, 0),
            ),
            // Its SNMP service alone restarted.
            (
                clocks(5000, Some(5000)),
                clocks(5060, Some(9)),
                60,
                (Same, 0),
            ),
        ] {
            assert_eq!(judged(before, now, elapsed), expected, "{before:?} {now:?}");
        }
        let silent = Clocks::default();
        assert_eq!(judged(silent, clocks(1, None), 60), (Same, 0));
        let engine = |seconds| Clocks {
            engine_time_s: Some(seconds),
            ..silent
        };
        assert_eq!(judged(engine(500), engine(7), 60), (Restarted, 0));
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_no_time_between_polls() {
        let first = Moment {
            unix_ms: 1_000_000,
            boot_ms: 500,
            boot: 7,
        };
        let set = Moment {
            unix_ms: 5,
            boot_ms: 60_500,
            boot: 7,
        };
        assert_eq!(set.since(&first), Duration::from_secs(60));
        let other_start = Moment {
            unix_ms: 1_030_000,
            boot_ms: 10,
            boot: 8,
        };
        assert_eq!(other_start.since(&first), Duration::from_secs(30));
        assert_eq!(first.since(&other_start), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_device_that_runs_on_never_restarts(
            start in any::<u32>(), steps in prop::collection::vec(1_u64..200_000, 1..20), drift in -15_i64..15
        ) {
            let (mut before, mut total) = (clocks(u64::from(start), None), u64::from(start) * 100);
            before.wraps = (total / WRAP) as u32;
            for elapsed in steps {
                total += elapsed * 100;
                total = total.saturating_add_signed(drift * 100);
                let mut now = Clocks { uptime_ticks: Some((total % WRAP) as u32), ..Clocks::default() };
                prop_assert_eq!(now.follow(&before, Duration::from_secs(elapsed)), Continuity::Same);
                prop_assert_eq!(now.uptime_s(), Some(total / 100));
                before = now;
            }
        }

        #[test]
        fn a_device_that_started_in_between_has_restarted(
            before_s in 1_000_u64..4_000_000, elapsed in 60_u64..100_000, part in 0.0_f64..0.9
        ) {
            let now = clocks((elapsed as f64 * part) as u64, None);
            let lag = before_s + elapsed - (elapsed as f64 * part) as u64;
            prop_assume!(lag > 30 + elapsed / 50 + 1);
            prop_assert_eq!(judged(clocks(before_s, None), now, elapsed).0, Continuity::Restarted);
        }
    }
}
