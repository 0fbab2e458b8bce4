//! Failed sign-ins, and how long the next attempt must wait.
//!
//! Guessing is slowed, not stopped. What counts is the account together with the network that the
//! attempt comes from (up to a minute of waiting), and the address alone, whatever the account (up
//! to a quarter of an hour). So failing on purpose holds an owner up only from the owner's own
//! network. Against guessing from many networks at once there is a bound for the account as a
//! whole, far higher: beyond [`FREE_OVERALL`] failures it waits up to a minute between attempts
//! for everybody, its owner too; the audit record names the addresses that the guesses come from.
//!
//! Programs with a wrong API token are counted apart, by address: a forgotten dashboard must not keep
//! people of its network from signing in, and is told for a while plainly that its token is wrong.
//!
//! An attempt counts as failed from the moment it is let in; only a proven success takes that
//! back. So requests sent side by side cannot all pass before the first has failed. The counts
//! live in memory, are bounded, and end by themselves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 4;
/// The same for one account over all networks.
const FREE_OVERALL: u32 = 1000;
/// The same for API tokens: a dashboard with the wrong one asks for all its panels at once.
const FREE_TOKENS: u32 = 30;
const TOKEN_MOST_MS: i64 = 60_000;
const ACCOUNT_MOST_MS: i64 = 60_000;
const ADDRESS_MOST_MS: i64 = 15 * 60_000;
/// After so long without another failure all is forgotten.
const FORGET_MS: i64 = 3_600_000;
/// Keys remembered; beyond it the oldest give way.
const MOST_KEYS: usize = 10_000;
/// Keys of one attempt.
const KEYS_EACH: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<Key, Failures>>);

/// An attempt that was let in and counts as failed until [`Attempts::succeeded`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Attempt {
    /// Each key with the number that this attempt has there.
    counted: Vec<(Key, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// An account from one network.
    AccountFrom(String, IpAddr),
    /// An account from anywhere.
    Account(String),
    /// Any account from one address.
    Address(IpAddr),
    /// API tokens from one address.
    Tokens(IpAddr),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Account(_) => FREE_OVERALL,
            Self::AccountFrom(..) | Self::Address(_) => FREE,
            Self::Tokens(_) => FREE_TOKENS,
        }
    }

    fn most_ms(&self) -> i64 {
        match self {
            Self::Account(_) | Self::AccountFrom(..) => ACCOUNT_MOST_MS,
            Self::Address(_) => ADDRESS_MOST_MS,
            Self::Tokens(_) => TOKEN_MOST_MS,
        }
    }

    /// The wait after the failure with this number: it doubles with each, from a second up.
    fn wait_ms(&self, number: u32) -> i64 {
        match number.checked_sub(self.free() + 1) {
            Some(doublings) => (1000_i64 << doublings.min(20)).min(self.most_ms()),
            None => 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    number: u32,
    last_ms: i64,
    wait_until_ms: i64,
}

/// A one-time code names no account: only its address counts.
fn keys(account: Option<&str>, address: IpAddr) -> Vec<Key> {
    let mut keys = vec![Key::Address(masked(address, 32))];
    if let Some(account) = account.map(str::to_lowercase) {
        keys.push(Key::AccountFrom(account.clone(), masked(address, 24)));
        keys.push(Key::Account(account));
    }
    keys
}

/// The network of an address. One IPv6 customer has a whole /64; IPv4 is cut to `bits`.
pub(crate) fn masked(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & !u128::from(u64::MAX)).into()),
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4((four.to_bits() & mask).into())
        }
    }
}

impl Attempts {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an attempt in and counts it as failed in the same step.
    ///
    /// # Errors
    /// Milliseconds until this account may be tried from this address.
    pub(crate) fn begin(
        &self,
        account: Option<&str>,
        address: IpAddr,
        now_ms: i64,
    ) -> Result<Attempt, i64> {
        self.begin_with(keys(account, address), now_ms)
    }

    /// Lets an attempt with an API token in, as [`Attempts::begin`].
    ///
    /// # Errors
    /// Milliseconds until a token may be tried from this address.
    pub(crate) fn begin_token(&self, address: IpAddr, now_ms: i64) -> Result<Attempt, i64> {
        self.begin_with(vec![Key::Tokens(masked(address, 32))], now_ms)
    }

    fn begin_with(&self, keys: Vec<Key>, now_ms: i64) -> Result<Attempt, i64> {
        let mut attempts = self.locked();
        let waits = keys.iter().filter_map(|key| attempts.get(key));
        let wait_ms = waits.map(|failures| failures.wait_until_ms - now_ms).max();
        if let Some(wait_ms @ 1..) = wait_ms {
            return Err(wait_ms);
        }
        make_room(&mut attempts, now_ms);
        let counted = keys.into_iter().map(|key| {
            let number = count(&mut attempts, &key, now_ms);
            (key, number)
        });
        Ok(Attempt {
            counted: counted.collect(),
        })
    }

    /// Asks again for an attempt that has queued: others may have used up the bound meanwhile.
    ///
    /// # Errors
    /// Milliseconds until this account may be tried from this address.
    pub(crate) fn again(&self, attempt: &Attempt, now_ms: i64) -> Result<(), i64> {
        let attempts = self.locked();
        let waits = attempt.counted.iter().filter_map(|(key, number)| {
            let failures = attempts.get(key)?;
            // The wait that this attempt caused itself is for the next one.
            (failures.number > *number).then_some(failures.wait_until_ms - now_ms)
        });
        match waits.max() {
            Some(wait_ms @ 1..) => Err(wait_ms),
            _ => Ok(()),
        }
    }

    /// Takes an attempt with a good token back, and nothing else: that a good one comes from an
    /// address too gives its guesser no new guesses.
    pub(crate) fn take_back(&self, attempt: Attempt) {
        let mut attempts = self.locked();
        for (key, number) in attempt.counted {
            if let Some(failures) = attempts.get_mut(&key) {
                if failures.number == number {
                    // It was let in, so no wait was left before it.
                    failures.wait_until_ms = 0;
                }
                failures.number = failures.number.saturating_sub(1);
            }
        }
    }

    /// Forgets the failures of an account and address that have now succeeded. Over all networks
    /// only the attempt itself is taken back, so that an owner's coming and going does not give
    /// everybody else new guesses.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let mut attempts = self.locked();
        for (key, number) in attempt.counted {
            if !matches!(key, Key::Account(_)) {
                attempts.remove(&key);
            } else if let Some(failures) = attempts.get_mut(&key) {
                if failures.number == number {
                    // It was let in, so no wait was left before it.
                    failures.wait_until_ms = 0;
                }
                failures.number = failures.number.saturating_sub(1);
            }
        }
    }
}

/// Notes a failure and yields its number.
fn count(attempts: &mut HashMap<Key, Failures>, key: &Key, now_ms: i64) -> u32 {
    let fresh = Failures {
        number: 0,
        last_ms: now_ms,
        wait_until_ms: 0,
    };
    let failures = attempts.entry(key.clone()).or_insert(fresh);
    if now_ms - failures.last_ms > FORGET_MS {
        *failures = fresh;
    }
    failures.number = failures.number.saturating_add(1);
    failures.last_ms = now_ms;
    let wait_ms = key.wait_ms(failures.number);
    if wait_ms > 0 {
        failures.wait_until_ms = now_ms + wait_ms;
    }
    failures.number
}

fn make_room(attempts: &mut HashMap<Key, Failures>, now_ms: i64) {
    if attempts.len() + KEYS_EACH <= MOST_KEYS {
        return;
    }
    attempts.retain(|_, failures| now_ms - failures.last_ms <= FORGET_MS);
    if attempts.len() + KEYS_EACH <= MOST_KEYS {
        return;
    }
    // Many at once: this is done under the lock, and must not be done at each attempt of a flood.
    let mut times: Vec<i64> = attempts.values().map(|failures| failures.last_ms).collect();
    times.sort_unstable();
    let mut left = MOST_KEYS / 8;
    let Some(limit_ms) = times.get(left).copied() else {
        return;
    };
    attempts.retain(|_, failures| {
        let goes = failures.last_ms <= limit_ms && left > 0;
        left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const NEXT_DOOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

    /// The next attempt's wait; one that is let in is taken back.
    fn wait_ms(attempts: &Attempts, account: &str, address: IpAddr, now_ms: i64) -> i64 {
        let before = attempts.locked().clone();
        let wait = attempts.begin(Some(account), address, now_ms).err();
        *attempts.locked() = before;
        wait.unwrap_or(0)
    }

    /// Fails at the first moment at which it may; yields that moment.
    fn fail(attempts: &Attempts, account: &str, address: IpAddr, now_ms: i64) -> i64 {
        match attempts.begin(Some(account), address, now_ms) {
            Ok(_) => now_ms,
            Err(wait) => fail(attempts, account, address, now_ms + wait),
        }
    }

    #[test]
    fn waiting_begins_after_a_few_failures_doubles_and_ends() {
        let attempts = Attempts::default();
        let mut now = 0;
        for _ in 0..FREE {
            now = fail(&attempts, "admin", HERE, now);
        }
        assert_eq!(now, 0);
        assert_eq!(wait_ms(&attempts, "admin", HERE, now), 0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            now = fail(&attempts, "Admin", HERE, now);
            waits.push(wait_ms(&attempts, "admin", HERE, now));
        }
        assert_eq!(waits[..4], [1000, 2000, 4000, 8000]);
        assert_eq!(waits[11], ADDRESS_MOST_MS);
        assert_eq!(wait_ms(&attempts, "admin", HERE, now + ADDRESS_MOST_MS), 0);
        let next_door = wait_ms(&attempts, "admin", NEXT_DOOR, now);
        assert_eq!(next_door, ACCOUNT_MOST_MS, "the same network");
        assert_eq!(wait_ms(&attempts, "other", NEXT_DOOR, now), 0);
        assert_eq!(wait_ms(&attempts, "admin", THERE, now), 0, "its owner");
    }

    #[test]
    fn one_failure_a_minute_from_elsewhere_never_holds_the_owner_up() {
        let attempts = Attempts::default();
        let mut now = 0;
        for _ in 0..500 {
            now = fail(&attempts, "admin", THERE, now + 60_000);
            assert_eq!(wait_ms(&attempts, "admin", HERE, now), 0);
        }
    }

    #[test]
    fn guessing_from_a_thousand_networks_is_bounded_for_the_account() {
        let attempts = Attempts::default();
        let from = |number: u32| IpAddr::V4((0x0b00_0000 + (number << 8)).into());
        let let_in = |now_ms| {
            let tries = (0..3000).map(|n| attempts.begin(Some("admin"), from(n), now_ms));
            tries.filter(Result::is_ok).count()
        };
        assert_eq!(let_in(0), FREE_OVERALL as usize + 1);
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 1000);
        assert_eq!(wait_ms(&attempts, "other", HERE, 0), 0);
        assert!(attempts.begin(None, HERE, 0).is_ok(), "a one-time code");
        attempts.succeeded(attempts.begin(Some("admin"), HERE, 1000).unwrap());
        assert_eq!(let_in(1000), 1, "a success takes back itself only");
    }

    #[test]
    fn attempts_side_by_side_are_counted_before_any_of_them_fails() {
        let attempts = Attempts::default();
        let begun: Vec<_> = (0..50)
            .filter_map(|_| attempts.begin(Some("admin"), HERE, 0).ok())
            .collect();
        assert_eq!(begun.len(), FREE as usize + 1);
        let still: Vec<bool> = begun
            .iter()
            .map(|attempt| attempts.again(attempt, 0).is_ok())
            .collect();
        assert_eq!(still, [false, false, false, false, true]);
        assert!(
            begun
                .iter()
                .all(|attempt| attempts.again(attempt, 1000).is_ok())
        );
    }

    #[test]
    fn success_and_time_forget() {
        let attempts = Attempts::default();
        for _ in 0..FREE {
            fail(&attempts, "admin", HERE, 0);
        }
        attempts.succeeded(attempts.begin(Some("admin"), HERE, 0).unwrap());
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 0);
        for _ in 0..=FREE {
            assert_eq!(fail(&attempts, "admin", HERE, 0), 0);
        }
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 1000);
        fail(&attempts, "admin", HERE, FORGET_MS + 1);
        assert_eq!(wait_ms(&attempts, "admin", HERE, FORGET_MS + 1), 0);
    }

    #[test]
    fn wrong_tokens_wait_at_most_a_minute_and_keep_nobody_from_signing_in() {
        let attempts = Attempts::default();
        let let_in = |now_ms| {
            let tries = (0..100).map(|_| attempts.begin_token(HERE, now_ms));
            tries.filter(Result::is_ok).count()
        };
        assert_eq!(let_in(0), FREE_TOKENS as usize + 1);
        assert_eq!(attempts.begin_token(HERE, 0).unwrap_err(), 1000);
        assert!(attempts.begin_token(NEXT_DOOR, 0).is_ok());
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 0);
        let mut now = 0;
        for _ in 0..20 {
            now += TOKEN_MOST_MS;
            assert_eq!(let_in(now), 1, "one a minute");
        }
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_names() {
        let attempts = Attempts::default();
        for number in 0..MOST_KEYS as u32 {
            let address = IpAddr::V4(number.into());
            let name = number.to_string();
            assert!(
                attempts
                    .begin(Some(&name), address, i64::from(number))
                    .is_ok()
            );
        }
        assert!(attempts.locked().len() <= MOST_KEYS);
    }
}
