//! What a counter told becomes a sample only where nobody is fooled by it.
//!
//! A sample is the raw value plus a correction, both integers. A rate over samples sees what passed, or a
//! reset, or a gap; never a spike that nothing carried. What cannot be told from a reset is a gap: this
//! poll has no sample, and the next one counts from zero.
//!
//! Pure: what was remembered and what is told come in, what is remembered next comes out.

use std::time::Duration;

/// Where a 32-bit counter starts again.
const NARROW: u64 = 1 << 32;

/// A difference of a 32-bit counter that is taken for a wrap if nobody knows how fast it may be.
const HALF: u64 = 1 << 31;

/// Jumps in a row after which a port's speed is taken for wrong: virtual ports tell 10 Mbit/s.
const DOUBTS: u8 = 3;

/// What is remembered of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// What it told last.
    pub raw: u64,
    /// What is added to it, modulo 2⁶⁴.
    pub correction: u64,
    /// When it was seen last, on the clock of [`Memory`](crate::memory::Memory).
    pub seen_ms: u64,
    /// Jumps in a row that were too fast.
    pub doubts: u8,
}

impl Counter {
    /// Its sample.
    #[must_use]
    pub fn sample(&self) -> u64 {
        self.raw.wrapping_add(self.correction)
    }
}

/// How fast a counter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Most a second, if the device says what its port can carry.
    pub told: Option<u64>,
    /// Most a second, whatever the device says.
    pub ceiling: u64,
    /// It counts what seldom happens, so that a wrap is unlikely.
    pub seldom: bool,
}

/// What a counter told, and what is known of the time since it was seen.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Its value.
    pub raw: u64,
    /// It is one of 32 bits.
    pub narrow: bool,
    /// How fast it may be; `None` if nobody knows.
    pub limit: Option<Limit>,
    /// Since it was seen last.
    pub elapsed: Duration,
    /// When it is seen, on the clock of the memory.
    pub now_ms: u64,
    /// The device started again since then.
    pub restarted: bool,
    /// The device says that the counters of this port broke off since then.
    pub discontinued: bool,
    /// What was remembered is lost, so what was added before is not known.
    pub forgotten: bool,
}

/// Why a counter has no sample in this poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// The device says that its counters broke off.
    Discontinuity,
    /// It went back without a restart.
    Decreased,
    /// It grew faster than the port can carry.
    TooFast,
}

impl Gap {
    /// Its word among the reasons of a poll.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Discontinuity => "counter_discontinuity",
            Self::Decreased => "counter_decreased",
            Self::TooFast => "counter_too_fast",
        }
    }
}

impl Told {
    /// Judges: what is remembered next, and why this poll has no sample, if it has none.
    #[must_use]
    pub fn judge(&self, before: Option<&Counter>) -> (Counter, Option<Gap>) {
        let Some(before) = before else {
            let correction = if self.forgotten {
                self.raw.wrapping_neg()
            } else {
                0
            };
            return (self.with(correction, 0), None);
        };
        if self.restarted && self.raw < before.raw {
            // It counts from its start, and that was in between.
            return if self
                .most(before)
                .is_none_or(|most| u128::from(self.raw) <= most)
            {
                (self.with(0, 0), None)
            } else {
                self.gap(before, Gap::TooFast)
            };
        }
        if self.discontinued && !self.restarted {
            return self.gap(before, Gap::Discontinuity);
        }
        if self.raw >= before.raw {
            return self.grown(before, self.raw - before.raw, before.correction);
        }
        let wrapped = NARROW.checked_sub(before.raw).map(|rest| rest + self.raw);
        match wrapped.filter(|step| self.narrow && self.may_wrap(before, *step)) {
            Some(step) => self.grown(before, step, before.correction.wrapping_add(NARROW)),
            None => self.gap(before, Gap::Decreased),
        }
    }

    fn grown(&self, before: &Counter, step: u64, correction: u64) -> (Counter, Option<Gap>) {
        if self
            .most(before)
            .is_some_and(|most| u128::from(step) > most)
        {
            return self.gap(before, Gap::TooFast);
        }
        let doubts = if before.doubts < DOUBTS {
            0
        } else {
            before.doubts
        };
        (self.with(correction, doubts), None)
    }

    /// Whether a 32-bit counter that went back by a wrap could have come so far.
    fn may_wrap(&self, before: &Counter, step: u64) -> bool {
        let known = self
            .limit
            .is_some_and(|limit| limit.told.is_some() && !limit.seldom && before.doubts < DOUBTS);
        if known {
            self.most(before)
                .is_some_and(|most| u128::from(step) <= most)
        } else {
            step < HALF
        }
    }

    /// Most that can have passed, with a tenth more and a second for polls that are not exact.
    fn most(&self, before: &Counter) -> Option<u128> {
        let limit = self.limit?;
        let told = limit.told.filter(|_| before.doubts < DOUBTS);
        let rate = u128::from(told.unwrap_or(limit.ceiling));
        Some(rate * (self.elapsed.as_millis() + 1000) * 11 / 10_000)
    }

    fn gap(&self, before: &Counter, why: Gap) -> (Counter, Option<Gap>) {
        let doubts = match why {
            Gap::TooFast => before.doubts.saturating_add(1).min(DOUBTS),
            Gap::Discontinuity | Gap::Decreased => before.doubts,
        };
        (self.with(self.raw.wrapping_neg(), doubts), Some(why))
    }

    fn with(&self, correction: u64, doubts: u8) -> Counter {
        Counter {
            raw: self.raw,
            correction,
            seen_ms: self.now_ms,
            doubts,
        }
    }
}

#[cfg(test)]
mod tests;
