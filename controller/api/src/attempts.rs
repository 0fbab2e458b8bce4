//! Failed sign-ins by account and by address, and how long each must wait.
//!
//! Guessing is slowed, not stopped: an account waits at most a minute, so that nobody can lock its
//! owner out by failing on purpose; an address waits up to a quarter of an hour. The counts live in
//! memory, are bounded, and end by themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 4;
const ACCOUNT_MOST_MS: i64 = 60_000;
const ADDRESS_MOST_MS: i64 = 15 * 60_000;
/// After so long without another failure all is forgotten.
const FORGET_MS: i64 = 3_600_000;
/// Keys remembered; beyond it the oldest gives way.
const MOST_KEYS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<Key, Failures>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    number: u32,
    last_ms: i64,
    wait_until_ms: i64,
}

fn keys(account: &str, address: IpAddr) -> [Key; 2] {
    [
        Key::Account(account.to_lowercase()),
        Key::Address(network_of(address)),
    ]
}

/// One IPv6 customer has a whole /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & !u128::from(u64::MAX)).into()),
        four @ IpAddr::V4(_) => four,
    }
}

impl Attempts {
    /// Milliseconds until this account may be tried from this address; 0 means now.
    pub(crate) fn wait_ms(&self, account: &str, address: IpAddr, now_ms: i64) -> i64 {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = keys(account, address)
            .into_iter()
            .filter_map(|key| attempts.get(&key).copied());
        waits
            .map(|failures| failures.wait_until_ms - now_ms)
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// Notes a failure. The wait doubles with each, from a second up.
    pub(crate) fn failed(&self, account: &str, address: IpAddr, now_ms: i64) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut attempts, now_ms);
        for key in keys(account, address) {
            let most_ms = if matches!(key, Key::Account(_)) {
                ACCOUNT_MOST_MS
            } else {
                ADDRESS_MOST_MS
            };
            let fresh = Failures {
                number: 0,
                last_ms: now_ms,
                wait_until_ms: 0,
            };
            let failures = attempts.entry(key).or_insert(fresh);
            if now_ms - failures.last_ms > FORGET_MS {
                *failures = fresh;
            }
            failures.number = failures.number.saturating_add(1);
            failures.last_ms = now_ms;
            if failures.number > FREE {
                let doublings = (failures.number - FREE - 1).min(20);
                failures.wait_until_ms = now_ms + (1000_i64 << doublings).min(most_ms);
            }
        }
    }

    /// Forgets the failures of an account and address that have now succeeded.
    pub(crate) fn succeeded(&self, account: &str, address: IpAddr) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(account, address) {
            attempts.remove(&key);
        }
    }
}

fn make_room(attempts: &mut HashMap<Key, Failures>, now_ms: i64) {
    if attempts.len() + 2 <= MOST_KEYS {
        return;
    }
    attempts.retain(|_, failures| now_ms - failures.last_ms <= FORGET_MS);
    while attempts.len() + 2 > MOST_KEYS {
        let oldest = attempts.iter().min_by_key(|(_, failures)| failures.last_ms);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        attempts.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn waiting_begins_after_a_few_failures_doubles_and_ends() {
        let attempts = Attempts::default();
        for _ in 0..FREE {
            attempts.failed("admin", HERE, 0);
        }
        assert_eq!(attempts.wait_ms("admin", HERE, 0), 0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            attempts.failed("Admin", HERE, 0);
            waits.push(attempts.wait_ms("admin", HERE, 0));
        }
        assert_eq!(waits[..4], [1000, 2000, 4000, 8000]);
        assert_eq!(waits[11], ADDRESS_MOST_MS);
        assert_eq!(attempts.wait_ms("admin", HERE, ADDRESS_MOST_MS), 0);
        assert_eq!(attempts.wait_ms("admin", THERE, 0), ACCOUNT_MOST_MS);
        assert_eq!(attempts.wait_ms("other", THERE, 0), 0);
    }

    #[test]
    fn success_and_time_forget() {
        let attempts = Attempts::default();
        for _ in 0..=FREE {
            attempts.failed("admin", HERE, 0);
        }
        attempts.succeeded("admin", HERE);
        assert_eq!(attempts.wait_ms("admin", HERE, 0), 0);
        for _ in 0..=FREE {
            attempts.failed("admin", HERE, 0);
        }
        attempts.failed("admin", HERE, FORGET_MS + 1);
        assert_eq!(attempts.wait_ms("admin", HERE, FORGET_MS + 1), 0);
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_names() {
        let attempts = Attempts::default();
        for number in 0..MOST_KEYS + 500 {
            attempts.failed(&number.to_string(), HERE, number as i64);
        }
        assert!(attempts.0.lock().unwrap().len() <= MOST_KEYS);
    }
}
