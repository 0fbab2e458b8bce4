//! What one query may cost: time, samples, memory, points, patterns. Every loop over data asks here.
//!
//! Where the bounds come from: samples and points are Prometheus's own defaults (50 million; 11,000
//! a series), memory is what they would take at 16 bytes each, rounded down to what a small server
//! can spare for one query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use thiserror::Error;

/// Upper bounds of one query.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Samples that a query may read or produce, in total.
    pub samples: u64,
    /// Bytes that a query may hold in samples and results.
    pub memory_bytes: u64,
    /// Points per series that a range query may ask for.
    pub points: u64,
    /// Bytes of query text; of all selectors together where several are given.
    pub text_bytes: usize,
    /// Label matchers in the whole query. A dashboard's has a dozen.
    pub matchers: usize,
    /// Bytes of the query's regular expressions, equal ones counted once: two lists of a thousand
    /// hosts.
    pub pattern_bytes: usize,
    /// When to give up; `None` for never.
    pub deadline: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples: 50_000_000,
            memory_bytes: 512 << 20,
            points: 11_000,
            text_bytes: 1 << 20,
            matchers: 256,
            pattern_bytes: 32 << 10,
            deadline: None,
        }
    }
}

/// Why a query was stopped. The words are Prometheus's where it has some.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Exhausted {
    /// Somebody set the flag.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The deadline has passed.
    #[error("query timed out in expression evaluation")]
    TimedOut,
    /// More samples than the limit.
    #[error(
        "query processing would load too many samples into memory in query execution; ask for \
         fewer series, a shorter range or a longer step"
    )]
    TooManySamples,
    /// More memory than the limit.
    #[error(
        "query processing would hold more than {limit_bytes} bytes; ask for fewer series, \
         a shorter range or a longer step"
    )]
    TooMuchMemory {
        /// The limit.
        limit_bytes: u64,
    },
}

/// What all queries of a program hold together, as they charged it. Clones share it.
#[derive(Clone, Default, Debug)]
pub struct Account(Arc<AtomicU64>);

impl Account {
    /// Bytes that queries hold now; 0 when none runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The running account of one query; shared by reference with the storage. What is still charged
/// when it is dropped is given back.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    canceled: Arc<AtomicBool>,
    samples: AtomicU64,
    bytes: AtomicU64,
    account: Account,
}

impl Budget {
    /// An account under these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            canceled: Arc::default(),
            samples: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            account: Account::default(),
        }
    }

    /// The same account, whose bytes count in `account` too.
    #[must_use]
    pub fn within(mut self, account: &Account) -> Self {
        self.account = account.clone();
        self
    }

    /// The same account, stopped as soon as `flag` is true.
    #[must_use]
    pub fn with_flag(mut self, flag: Arc<AtomicBool>) -> Self {
        self.canceled = flag;
        self
    }

    /// The flag that cancels this query when set.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.canceled)
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Samples charged so far.
    #[must_use]
    pub fn samples_used(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Whether the query may go on. Cheap enough to ask once per series or per thousand samples.
    ///
    /// # Errors
    /// If it was cancelled or its time is over.
    pub fn check(&self) -> Result<(), Exhausted> {
        if self.canceled.load(Ordering::Relaxed) {
            return Err(Exhausted::Canceled);
        }
        match self.limits.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Exhausted::TimedOut),
            _ => Ok(()),
        }
    }

    /// Charges samples that were read or produced, and asks [`Self::check`].
    ///
    /// # Errors
    /// If the query may not go on.
    pub fn charge_samples(&self, count: u64) -> Result<(), Exhausted> {
        let used = self
            .samples
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        if used > self.limits.samples {
            return Err(Exhausted::TooManySamples);
        }
        self.check()
    }

    /// Charges memory before it is allocated.
    ///
    /// # Errors
    /// If it would be more than the limit.
    pub fn charge_bytes(&self, count: u64) -> Result<(), Exhausted> {
        self.account.0.fetch_add(count, Ordering::Relaxed);
        let used = self
            .bytes
            .fetch_add(count, Ordering::Relaxed)
            .saturating_add(count);
        if used > self.limits.memory_bytes {
            return Err(Exhausted::TooMuchMemory {
                limit_bytes: self.limits.memory_bytes,
            });
        }
        Ok(())
    }

    /// Gives back memory that was freed.
    pub fn release_bytes(&self, count: u64) {
        let mut used = self.bytes.load(Ordering::Relaxed);
        while let Err(now) = self.bytes.compare_exchange_weak(
            used,
            used.saturating_sub(count),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            used = now;
        }
        let released = used.min(count);
        self.account.0.fetch_sub(released, Ordering::Relaxed);
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        let left = *self.bytes.get_mut();
        self.account.0.fetch_sub(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_flag_cancels() {
        let budget = Budget::new(Limits::default());
        assert_eq!(budget.check(), Ok(()));
        budget.flag().store(true, Ordering::Relaxed);
        assert_eq!(budget.check(), Err(Exhausted::Canceled));
    }

    #[test]
    fn samples_and_bytes_stop_at_their_limits() {
        let limits = Limits {
            samples: 10,
            memory_bytes: 100,
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        assert_eq!(budget.charge_samples(10), Ok(()));
        assert_eq!(budget.charge_samples(1), Err(Exhausted::TooManySamples));
        assert_eq!(budget.charge_bytes(100), Ok(()));
        budget.release_bytes(50);
        assert_eq!(budget.charge_bytes(50), Ok(()));
        assert!(budget.charge_bytes(1).is_err());
    }

    #[test]
    fn a_deadline_that_has_passed_stops_the_query() {
        let limits = Limits {
            deadline: Some(Instant::now()),
            ..Limits::default()
        };
        assert_eq!(Budget::new(limits).check(), Err(Exhausted::TimedOut));
    }
}
