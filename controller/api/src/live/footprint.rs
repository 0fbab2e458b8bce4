//! What an agent's CPU use per hour is, from totals that it reports about once a minute.

/// A rate over less is noise: agents report their total about once a minute.
const LEAST_MS: i64 = 50_000;
/// The rate is over the last hour at most.
const MOST_MS: i64 = 3_600_000;

/// Two readings of an agent's CPU total.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuMeter {
    base: (i64, u64),
    last: (i64, u64),
}

impl CpuMeter {
    pub(super) fn new(now_ms: i64, cpu_ms: u64) -> Self {
        Self {
            base: (now_ms, cpu_ms),
            last: (now_ms, cpu_ms),
        }
    }

    /// Takes a new total. A smaller one means that the agent was started anew.
    pub(super) fn read(&mut self, now_ms: i64, cpu_ms: u64) {
        if cpu_ms == self.last.1 {
            return;
        }
        if cpu_ms < self.last.1 || now_ms < self.last.0 {
            *self = Self::new(now_ms, cpu_ms);
            return;
        }
        if now_ms - self.base.0 > MOST_MS {
            self.base = self.last;
        }
        self.last = (now_ms, cpu_ms);
    }

    /// CPU seconds per hour; `None` before two readings lie far enough apart.
    pub(super) fn seconds_per_hour(&self) -> Option<f64> {
        let passed_ms = self.last.0 - self.base.0;
        let used_ms = self.last.1.saturating_sub(self.base.1);
        (passed_ms >= LEAST_MS).then(|| used_ms as f64 / passed_ms as f64 * 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_per_hour_needs_a_minute_and_survives_a_restart() {
        let mut meter = CpuMeter::new(0, 100);
        assert_eq!(meter.seconds_per_hour(), None);
        meter.read(60_000, 118);
        let rate = meter.seconds_per_hour().unwrap();
        assert!((rate - 1.08).abs() < 1e-9, "{rate}");
        meter.read(120_000, 5);
        assert_eq!(meter.seconds_per_hour(), None);
    }
}
