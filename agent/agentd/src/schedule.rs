//! When something that repeats is due: at whole multiples of its interval by the wall clock.
//!
//! Multiples of one another fall on the same moment, so that the process wakes once for all of them.
//! A clock that steps is followed: nothing waits longer than one interval, and what was passed over
//! while the host slept is due once, at its last moment. It reads no clock itself.

use std::time::Duration;

/// How often sources of security events are looked at.
const SECURITY_EVERY: Duration = Duration::from_secs(5);
/// How often slow state is looked at: facts, certificate, spool age.
const SLOW_EVERY: Duration = Duration::from_secs(60);

/// What repeats. Of two that are due at once the report comes first: its moment is its own.
pub(crate) struct Due {
    pub(crate) report: Schedule,
    pub(crate) security: Schedule,
    pub(crate) slow: Schedule,
}

impl Due {
    pub(crate) fn new(interval: Duration, now_ms: i64) -> Self {
        Self {
            report: Schedule::new(interval, now_ms),
            security: Schedule::new(SECURITY_EVERY, now_ms),
            slow: Schedule::new(SLOW_EVERY, now_ms),
        }
    }

    /// How long nothing is due.
    pub(crate) fn wait(&mut self, now_ms: i64) -> Duration {
        let each = [&mut self.report, &mut self.security, &mut self.slow];
        let waits = each.into_iter().map(|schedule| schedule.wait_ms(now_ms));
        Duration::from_millis(waits.min().unwrap_or_default())
    }
}

/// One thing that repeats.
#[derive(Debug)]
pub(crate) struct Schedule {
    every_ms: i64,
    next_ms: i64,
}

impl Schedule {
    /// Due at once.
    pub(crate) fn new(every: Duration, now_ms: i64) -> Self {
        let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
        Self {
            every_ms,
            next_ms: now_ms - now_ms.rem_euclid(every_ms),
        }
    }

    /// Milliseconds until it is due.
    pub(crate) fn wait_ms(&mut self, now_ms: i64) -> u64 {
        if self.next_ms - now_ms > self.every_ms {
            // The clock was set back.
            self.next_ms = self.after(now_ms);
        }
        u64::try_from(self.next_ms - now_ms).unwrap_or_default()
    }

    /// The moment for which it is due, Unix milliseconds, once.
    pub(crate) fn take(&mut self, now_ms: i64) -> Option<i64> {
        if self.wait_ms(now_ms) > 0 {
            return None;
        }
        self.next_ms = self.after(now_ms);
        Some(self.next_ms - self.every_ms)
    }

    fn after(&self, now_ms: i64) -> i64 {
        now_ms - now_ms.rem_euclid(self.every_ms) + self.every_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(15);

    #[test]
    fn moments_are_multiples_and_come_once() {
        let mut schedule = Schedule::new(EVERY, 31_000);
        assert_eq!(schedule.take(31_000), Some(30_000));
        assert_eq!(schedule.take(31_000), None);
        assert_eq!(schedule.wait_ms(31_000), 14_000);
        assert_eq!(schedule.take(44_999), None);
        assert_eq!(schedule.take(45_020), Some(45_000));
        assert_eq!(Schedule::new(EVERY, -1).take(-1), Some(-15_000));
    }

    #[test]
    fn a_moment_that_passed_during_other_work_is_not_lost() {
        let mut schedule = Schedule::new(EVERY, 30_000);
        assert_eq!(schedule.take(30_000), Some(30_000));
        assert_eq!(schedule.wait_ms(44_990), 10);
        // Something took 30 ms meanwhile.
        assert_eq!(schedule.wait_ms(45_020), 0);
        assert_eq!(schedule.take(45_020), Some(45_000));
        assert_eq!(schedule.take(45_021), None);
    }

    #[test]
    fn a_clock_that_steps_is_followed() {
        let mut schedule = Schedule::new(EVERY, 3_600_000);
        assert_eq!(schedule.take(3_600_000), Some(3_600_000));
        assert_eq!(schedule.wait_ms(1_000), 14_000);
        // Asleep for an hour: one moment, the last.
        assert_eq!(schedule.take(3_614_000), Some(3_600_000));
        assert_eq!(schedule.wait_ms(3_614_000), 1_000);
    }
}
