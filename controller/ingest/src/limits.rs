//! Rate limits: a token bucket, and one bucket per key in a bounded table.
//!
//! They pace handshakes and enrolment. Both take the time as an argument and never sleep; the
//! caller decides what to do with "not yet".

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Bits of an IPv6 address that name the network; whoever has one address has all of its /64.
const NETWORK: u128 = !0 << 64;

/// Whom a limit by source address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl From<IpAddr> for Source {
    /// An IPv4 address itself, also one that is written as an IPv6 address; of any other IPv6
    /// address the network.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address => address,
        })
    }
}

/// A bucket that refills at a steady rate up to a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    per_second: f64,
    burst: f64,
    level: f64,
    filled_at: Duration,
}

impl TokenBucket {
    /// A full bucket at `now` (time since any fixed start).
    pub(crate) fn new(per_second: f64, burst: f64, now: Duration) -> Self {
        Self {
            per_second: per_second.max(1e-6),
            burst,
            level: burst,
            filled_at: now,
        }
    }

    /// Takes one token, or says how long to wait until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.burst);
        self.filled_at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(
            (1.0 - self.level) / self.per_second,
        ))
    }

    fn is_full(&self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.level + passed * self.per_second >= self.burst
    }
}

/// One bucket per key. The table is bounded: full buckets say nothing and are dropped first, and
/// if none is full the key is refused, so that a flood of new keys cannot reset an old one.
#[derive(Debug)]
pub(crate) struct KeyedLimit<K> {
    per_second: f64,
    burst: f64,
    capacity: usize,
    buckets: HashMap<K, TokenBucket>,
}

impl<K: Hash + Eq> KeyedLimit<K> {
    pub(crate) fn new(per_second: f64, burst: f64, capacity: usize) -> Self {
        Self {
            per_second,
            burst,
            capacity,
            buckets: HashMap::new(),
        }
    }

    /// As [`TokenBucket::take`], for the bucket of `key`.
    pub(crate) fn take(&mut self, key: K, now: Duration) -> Result<(), Duration> {
        if self.buckets.len() >= self.capacity && !self.buckets.contains_key(&key) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= self.capacity {
                return Err(Duration::from_secs(60));
            }
        }
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets
            .entry(key)
            .or_insert_with(|| TokenBucket::new(per_second, burst, now))
            .take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:1:2:3"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("::ffff:10.0.0.1"), source("::ffff:10.0.0.2"));
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(10.0, 3.0, at(0));
        for _ in 0..3 {
            bucket.take(at(0)).unwrap();
        }
        let wait = bucket.take(at(0)).unwrap_err();
        assert_eq!(wait.as_millis(), 100);
        bucket.take(at(100)).unwrap();
        assert!(bucket.take(at(150)).is_err());
        bucket.take(at(10_000)).unwrap();
    }

    #[test]
    fn keys_do_not_disturb_each_other_and_the_table_is_bounded() {
        let mut limit = KeyedLimit::new(1.0, 1.0, 2);
        limit.take("a", at(0)).unwrap();
        limit.take("b", at(0)).unwrap();
        assert!(limit.take("a", at(0)).is_err());
        assert!(
            limit.take("c", at(0)).is_err(),
            "the table is full of empty buckets"
        );
        limit.take("c", at(2000)).unwrap();
        assert!(limit.buckets.len() <= 2);
    }
}
