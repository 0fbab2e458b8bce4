//! Failed sign-ins, and how long the next attempt must wait.
//!
//! Guessing is slowed, not stopped. What counts is the account together with the network that the
//! attempt comes from (up to a minute of waiting), and the address alone, whatever the account (up
//! to a quarter of an hour). Whoever signed in from a network before does not wait there for the
//! failures at names that never did: one machine behind a court's address does not shut the court out.
//! Guesses at accounts that are known there are bounded together, by ten seconds of waiting. A
//! success forgives what the same account failed at the same address and nothing else, so that who has
//! one account does not guess at the others without end. Against guessing from many networks at once
//! there is a bound for the account as a whole, far higher: beyond [`FREE_OVERALL`] failures it waits up
//! to a minute between attempts for everybody, its owner too; the audit record names the addresses that
//! the guesses come from.
//!
//! What remains: who never signed in from a network since this process began waits with it while
//! somebody guesses there, and so does everybody behind a proxy that is not trusted ([`crate::peer`]).
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
/// The same for one address, which may be a whole court's.
const FREE_ADDRESS: u32 = 10;
/// The same for accounts that signed in from the address's network before, all together.
const FREE_KNOWN: u32 = 30;
/// The same for one account over all networks.
const FREE_OVERALL: u32 = 1000;
/// The same for API tokens: a dashboard with the wrong one asks for all its panels at once.
const FREE_TOKENS: u32 = 30;
const TOKEN_MOST_MS: i64 = 60_000;
const ACCOUNT_MOST_MS: i64 = 60_000;
const ADDRESS_MOST_MS: i64 = 15 * 60_000;
const KNOWN_MOST_MS: i64 = 10_000;
/// After so long without another failure all is forgotten.
const FORGET_MS: i64 = 3_600_000;
/// Keys remembered; beyond it the oldest give way.
const MOST_KEYS: usize = 10_000;
/// Keys of one attempt.
const KEYS_EACH: usize = 4;
/// For how long an account is known in a network where it signed in.
const KNOWN_MS: i64 = 30 * 86_400_000;
/// Pairs of account and network that are known; beyond it the oldest gives way.
const MOST_KNOWN: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: Mutex<HashMap<Key, Failures>>,
    /// When an account last signed in from a network.
    known: Mutex<HashMap<(String, IpAddr), i64>>,
}

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
    /// Any account from one address that signed in from its network before.
    KnownAt(IpAddr),
    /// What an account failed at one address: it costs nothing and is what a success there forgives.
    Share(String, IpAddr),
    /// API tokens from one address.
    Tokens(IpAddr),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Account(_) => FREE_OVERALL,
            Self::AccountFrom(..) => FREE,
            Self::Address(_) => FREE_ADDRESS,
            Self::KnownAt(_) => FREE_KNOWN,
            Self::Share(..) => u32::MAX - 1,
            Self::Tokens(_) => FREE_TOKENS,
        }
    }

    fn most_ms(&self) -> i64 {
        match self {
            Self::Account(_) | Self::AccountFrom(..) | Self::Share(..) => ACCOUNT_MOST_MS,
            Self::Address(_) => ADDRESS_MOST_MS,
            Self::KnownAt(_) => KNOWN_MOST_MS,
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
fn keys(account: Option<&str>, address: IpAddr, is_known: bool) -> Vec<Key> {
    let here = masked(address, 32);
    let mut keys = vec![match is_known {
        true => Key::KnownAt(here),
        false => Key::Address(here),
    }];
    if let Some(account) = account.map(str::to_lowercase) {
        keys.push(Key::AccountFrom(account.clone(), masked(address, 24)));
        keys.push(Key::Share(account.clone(), here));
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

/// Whose attempts count together, in words: of IPv6 the network, written as one.
pub(crate) fn origin(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => address.to_string(),
        IpAddr::V6(_) => format!("{}/64", masked(address, 32)),
    }
}

impl Attempts {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the account signed in from the address's network.
    fn knows(&self, account: Option<&str>, address: IpAddr, now_ms: i64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = account.map(|account| (account.to_lowercase(), masked(address, 24)));
        let at_ms = pair.and_then(|pair| known.get(&pair));
        at_ms.is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) < KNOWN_MS)
    }

    /// Whether anybody signed in from the address's network.
    pub(crate) fn is_home(&self, address: IpAddr, now_ms: i64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let network = masked(address, 24);
        known
            .iter()
            .any(|((_, home), at_ms)| *home == network && now_ms.saturating_sub(*at_ms) < KNOWN_MS)
    }

    fn remember(&self, account: String, network: IpAddr, now_ms: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (account, network);
        if known.len() >= MOST_KNOWN && !known.contains_key(&pair) {
            let oldest = known.iter().min_by_key(|(_, at_ms)| **at_ms);
            if let Some(oldest) = oldest.map(|(pair, _)| pair.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(pair, now_ms);
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
        let is_known = self.knows(account, address, now_ms);
        self.begin_with(keys(account, address, is_known), now_ms)
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
            lessen(&mut attempts, &key, number, 1);
        }
    }

    /// Forgets the failures of an account in a network and at an address that has now succeeded there.
    /// Over all networks only the attempt itself is taken back, so that an owner's coming and going does
    /// not give everybody else new guesses; of the address only what this account failed.
    pub(crate) fn succeeded(&self, attempt: Attempt, now_ms: i64) {
        let own = {
            let mut attempts = self.locked();
            let mut own = 1;
            for (key, _) in &attempt.counted {
                if matches!(key, Key::AccountFrom(..) | Key::Share(..))
                    && let Some(gone) = attempts.remove(key)
                    && matches!(key, Key::Share(..))
                {
                    own = gone.number.max(1);
                }
            }
            for (key, number) in &attempt.counted {
                let is_shared = matches!(key, Key::Address(_) | Key::KnownAt(_));
                let by = if is_shared { own } else { 1 };
                lessen(&mut attempts, key, *number, by);
            }
            attempt.counted
        };
        for (key, _) in own {
            if let Key::AccountFrom(account, network) = key {
                self.remember(account, network, now_ms);
            }
        }
    }
}

/// Takes the attempt with this number back, and as many failures as `by`.
fn lessen(attempts: &mut HashMap<Key, Failures>, key: &Key, number: u32, by: u32) {
    if let Some(failures) = attempts.get_mut(key) {
        if failures.number == number {
            // It was let in, so no wait was left before it.
            failures.wait_until_ms = 0;
        }
        failures.number = failures.number.saturating_sub(by);
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
        assert_eq!(waits[7], ACCOUNT_MOST_MS);
        for _ in 0..12 {
            now = fail(&attempts, "admin", HERE, now);
        }
        let last = wait_ms(&attempts, "admin", HERE, now);
        assert_eq!(last, ADDRESS_MOST_MS);
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
        attempts.succeeded(attempts.begin(Some("admin"), HERE, 1000).unwrap(), 1000);
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
        attempts.succeeded(attempts.begin(Some("admin"), HERE, 0).unwrap(), 0);
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 0);
        for _ in 0..=FREE {
            assert_eq!(fail(&attempts, "admin", HERE, 0), 0);
        }
        assert_eq!(wait_ms(&attempts, "admin", HERE, 0), 1000);
        fail(&attempts, "admin", HERE, FORGET_MS + 1);
        assert_eq!(wait_ms(&attempts, "admin", HERE, FORGET_MS + 1), 0);
    }

    /// Guesses at names of others from behind an address; how many are let in.
    fn spray(attempts: &Attempts, address: IpAddr, now_ms: i64) -> usize {
        let names = (0..100).map(|number| format!("name-{number}"));
        let tries = names.map(|name| attempts.begin(Some(&name), address, now_ms));
        tries.filter(Result::is_ok).count()
    }

    #[test]
    fn who_signed_in_from_a_network_before_does_not_wait_there_for_others_failures() {
        let attempts = Attempts::default();
        attempts.succeeded(attempts.begin(Some("wang"), HERE, 0).unwrap(), 0);
        assert_eq!(spray(&attempts, HERE, 1), FREE_ADDRESS as usize + 1);
        assert_eq!(wait_ms(&attempts, "wang", HERE, 1), 0);
        assert_eq!(wait_ms(&attempts, "Wang", NEXT_DOOR, 1), 0);
        assert!(wait_ms(&attempts, "stranger", HERE, 1) > 0);
        let queued = attempts.begin(Some("wang"), HERE, 1).unwrap();
        spray(&attempts, HERE, 1);
        assert!(attempts.again(&queued, 1).is_ok());
        // Guesses at that account itself are slowed as ever.
        for _ in 0..=FREE {
            fail(&attempts, "wang", HERE, 1);
        }
        assert!(wait_ms(&attempts, "wang", HERE, 1) > 0);
        assert!(!attempts.knows(Some("wang"), HERE, KNOWN_MS));
    }

    #[test]
    fn who_has_one_account_does_not_guess_at_others_without_waiting() {
        let attempts = Attempts::default();
        let mut guesses = 0;
        for round in 0..1000 {
            attempts.succeeded(attempts.begin(Some("mine"), HERE, 0).unwrap(), 0);
            let name = format!("victim-{round}");
            guesses += usize::from(attempts.begin(Some(&name), HERE, 0).is_ok());
        }
        assert_eq!(guesses, FREE_ADDRESS as usize + 1);
    }

    #[test]
    fn guesses_at_accounts_that_are_known_at_an_address_are_bounded_together() {
        let attempts = Attempts::default();
        let name = |number| format!("clerk-{number}");
        for number in 0..200 {
            let own = attempts.begin(Some(&name(number)), HERE, 0).unwrap();
            attempts.succeeded(own, 0);
        }
        let tries = (0..200).map(|number| attempts.begin(Some(&name(number)), HERE, 0));
        let let_in = tries.filter(Result::is_ok).count();
        assert_eq!(let_in, FREE_KNOWN as usize + 1);
        let mut now = 0;
        for number in 0..20 {
            now = fail(&attempts, &name(number), HERE, now);
        }
        let last = wait_ms(&attempts, "clerk-150", HERE, now);
        assert_eq!(last, KNOWN_MOST_MS, "its owner's longest wait");
    }

    #[test]
    fn a_court_that_mistypes_and_then_succeeds_does_not_use_its_address_up() {
        let attempts = Attempts::default();
        for number in 0..200 {
            let name = format!("clerk-{number}");
            for _ in 0..3 {
                assert!(attempts.begin(Some(&name), HERE, 0).is_ok(), "{name}");
            }
            attempts.succeeded(attempts.begin(Some(&name), HERE, 0).unwrap(), 0);
        }
        assert_eq!(wait_ms(&attempts, "newcomer", HERE, 0), 0);
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
