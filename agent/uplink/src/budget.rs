//! The bandwidth budget of one uplink: a token bucket that live batches may overdraw and backlog may
//! not.

use std::time::{Duration, Instant};

use xiezhi_protocol::message::Bandwidth;

/// China has one time zone and no summer time.
const SHANGHAI_OFFSET_S: i64 = 8 * 3600;
/// Deepest debt, in seconds of budget: a burst of live data does not silence backlog for hours.
const MAX_DEBT_S: f64 = 30.0;
/// While a window forbids backlog the clock is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// When backlog may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    Now,
    After(Duration),
}

/// The bucket.
#[derive(Debug)]
pub(crate) struct Budget {
    bandwidth: Bandwidth,
    tokens: f64,
    filled: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            bandwidth: Bandwidth::default(),
            tokens: 0.0,
            filled: now,
        }
    }

    pub(crate) fn set(&mut self, bandwidth: Bandwidth) {
        self.bandwidth = bandwidth;
        self.tokens = self.tokens.min(0.0);
    }

    /// Takes note that bytes were sent, on whatever lane.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Whether backlog may be sent now.
    pub(crate) fn ask(&mut self, now: Instant, clock_ms: i64) -> Permission {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        let Some(rate) = rate_at(&self.bandwidth, clock_ms) else {
            self.tokens = 0.0;
            return Permission::Now;
        };
        if rate == 0 {
            return Permission::After(LOOK_AGAIN);
        }
        let rate = rate as f64;
        self.tokens = (self.tokens.max(-rate * MAX_DEBT_S) + passed * rate).min(rate);
        if self.tokens > 0.0 {
            return Permission::Now;
        }
        // A little more than needed, so that the next question is not one rounding too early.
        Permission::After(Duration::from_secs_f64(-self.tokens / rate) + Duration::from_millis(5))
    }
}

/// Bytes per second at that time; `None` is unlimited.
fn rate_at(bandwidth: &Bandwidth, clock_ms: i64) -> Option<u64> {
    let seconds = clock_ms.div_euclid(1000) + SHANGHAI_OFFSET_S;
    let minute = seconds.rem_euclid(86_400) / 60;
    bandwidth.at_minute(u16::try_from(minute).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::message::BandwidthWindow;

    /// 2026-11-21 00:00 in Shanghai.
    const MIDNIGHT_MS: i64 = 1_795_190_400_000;

    fn window(from_minute: u16, to_minute: u16, bytes_per_second: u64) -> BandwidthWindow {
        BandwidthWindow {
            from_minute,
            to_minute,
            bytes_per_second,
        }
    }

    #[test]
    fn windows_follow_shanghai_hours_and_wrap_over_midnight() {
        let bandwidth = Bandwidth {
            bytes_per_second: 0,
            windows: vec![window(22 * 60, 6 * 60, 9000), window(480, 720, 0)],
        };
        let at = |minute: i64| rate_at(&bandwidth, MIDNIGHT_MS + minute * 60_000);
        assert_eq!(at(0), Some(9000));
        assert_eq!(at(6 * 60 - 1), Some(9000));
        assert_eq!(at(6 * 60), None);
        assert_eq!(at(8 * 60), Some(0));
        assert_eq!(at(12 * 60), None);
        assert_eq!(at(23 * 60), Some(9000));
    }

    #[test]
    fn a_window_that_ends_where_it_begins_is_none() {
        let bandwidth = Bandwidth {
            bytes_per_second: 5,
            windows: vec![window(480, 480, 0)],
        };
        for minute in [0, 479, 480, 481, 1439] {
            let rate = rate_at(&bandwidth, MIDNIGHT_MS + minute * 60_000);
            assert_eq!(rate, Some(5), "{minute}");
        }
    }

    #[test]
    fn backlog_keeps_to_the_budget_and_live_batches_count() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.set(Bandwidth {
            bytes_per_second: 1000,
            windows: Vec::new(),
        });
        let mut now = start;
        let (mut backlog, mut live) = (0, 0);
        while now < start + Duration::from_secs(100) {
            match budget.ask(now, 0) {
                Permission::Now => {
                    budget.spend(700);
                    backlog += 700;
                }
                Permission::After(wait) => {
                    budget.spend(50);
                    live += 50;
                    now += wait;
                }
            }
        }
        let all = backlog + live;
        assert!(
            (98_000..=102_500).contains(&all),
            "{backlog} + {live} in 100 s"
        );
        assert!(live > 1000);
    }

    #[test]
    fn no_budget_is_no_limit_and_a_closed_window_stops_backlog() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.spend(1 << 30);
        assert_eq!(budget.ask(now, 0), Permission::Now);
        budget.set(Bandwidth {
            bytes_per_second: 5,
            windows: vec![window(0, 1440, 0)],
        });
        assert_eq!(budget.ask(now, 0), Permission::After(LOOK_AGAIN));
    }
}
