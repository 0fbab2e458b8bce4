//! How long live reports wait for their acknowledgement, counted in classes that two looks can
//! subtract.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Classes; each ends at 2^(1/8), about 9 %, more than the one before.
pub const CLASSES: usize = 144;
/// Where the first class ends, microseconds. The last ends at 12 s and holds what is beyond, too.
pub const FIRST_US: f64 = 50.0;

/// Counts by class.
#[derive(Debug)]
pub struct Latencies([AtomicU64; CLASSES]);

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Latencies {
    /// Counts one wait.
    pub fn add(&self, wait: Duration) {
        let above = wait.as_secs_f64() * 1e6 / FIRST_US;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a class is small, and a negative one is the first"
        )]
        let class = (above.log2() * 8.0).ceil().max(0.0) as usize;
        if let Some(count) = self.0.get(class.min(CLASSES - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// ` wait0=… wait1=…`, for a status line; classes without anything are left out.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = String::new();
        for (class, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            // Writing into a text cannot fail.
            if count > 0 && write!(out, " wait{class}={count}").is_err() {
                break;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_fall_into_classes_of_rising_length() {
        let latencies = Latencies::default();
        for micros in [0, 50, 51, 100, 1_000_000_000] {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.describe(), " wait0=2 wait1=1 wait8=1 wait143=1");
    }
}
