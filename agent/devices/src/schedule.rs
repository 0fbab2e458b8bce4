//! When each device is asked next. Pure: milliseconds of any clock that nobody sets come in.
//!
//! Every device has its own place in its interval, by a digest of its name, so that a thousand devices
//! are a steady load and keep their places whatever is added. One that does not answer is asked less and
//! less often; nobody waits for it, because a device that is being asked has no place in the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::memory::Row;

/// Longest pause between two questions to a silent device: below the five minutes that a query looks
/// back, so that its `up` stays in sight.
const LONGEST_PAUSE_MS: u64 = 240_000;

/// Shortest time between two questions that a device's own traps ask for.
const TRAP_PAUSE_MS: u64 = 10_000;

/// The devices and when each is due.
#[derive(Debug, Default)]
pub struct Schedule {
    devices: BTreeMap<String, Entry>,
    queue: BTreeSet<(u64, String)>,
}

#[derive(Debug)]
struct Entry {
    every_ms: u64,
    /// When it is due; `None` while it is being asked.
    due_ms: Option<u64>,
    /// Questions in a row without an answer.
    silent: u32,
    /// When it was last asked because of a trap.
    trapped_ms: Option<u64>,
    /// When it is to be asked because of a trap that came while it was being asked.
    again_ms: Option<u64>,
}

impl Schedule {
    /// Takes `devices` as all that there are, each with its interval. Those that are new are first asked
    /// within one interval, the others keep their turns.
    pub fn set(&mut self, devices: &BTreeMap<String, Duration>, now_ms: u64) {
        let gone: Vec<String> = self
            .devices
            .keys()
            .filter(|name| !devices.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.remove(&name);
        }
        for (name, every) in devices {
            let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
            let is_same = |entry: &Entry| entry.every_ms == every_ms;
            if self.devices.get(name).is_some_and(is_same) {
                continue;
            }
            let was_asked = self
                .devices
                .get(name)
                .is_some_and(|entry| entry.due_ms.is_none());
            self.remove(name);
            let due_ms = (!was_asked).then(|| slot(name, every_ms, now_ms));
            self.queue.extend(due_ms.map(|due| (due, name.clone())));
            let entry = Entry {
                every_ms,
                due_ms,
                silent: 0,
                trapped_ms: None,
                again_ms: None,
            };
            self.devices.insert(name.clone(), entry);
        }
    }

    /// Makes a device due now, if it is not being asked: after a change to it.
    pub fn hurry(&mut self, name: &str, now_ms: u64) {
        self.bring_forward(name, now_ms);
    }

    /// Makes a device due because a trap of it came: now, or ten seconds after the last time that this
    /// happened, so that one that sends traps without end is asked no oftener. If it is being asked it is
    /// asked once more, because what it told may be from before the trap.
    pub fn trap(&mut self, name: &str, now_ms: u64) {
        let Some(entry) = self.devices.get_mut(name) else {
            return;
        };
        let at = match entry.trapped_ms {
            Some(last) => now_ms.max(last.saturating_add(TRAP_PAUSE_MS)),
            None => now_ms,
        };
        if entry.due_ms.is_none() {
            entry.again_ms.get_or_insert(at);
            return;
        }
        if self.bring_forward(name, at)
            && let Some(entry) = self.devices.get_mut(name)
        {
            entry.trapped_ms = Some(at);
        }
    }

    /// Makes a device that waits due at `at_ms`, if that is earlier.
    fn bring_forward(&mut self, name: &str, at_ms: u64) -> bool {
        let Some(entry) = self.devices.get_mut(name) else {
            return false;
        };
        let Some(due) = entry.due_ms.filter(|due| *due > at_ms) else {
            return false;
        };
        self.queue.remove(&(due, name.to_owned()));
        self.queue.insert((at_ms, name.to_owned()));
        entry.due_ms = Some(at_ms);
        true
    }

    fn remove(&mut self, name: &str) {
        let Some(entry) = self.devices.remove(name) else {
            return;
        };
        if let Some(due) = entry.due_ms {
            self.queue.remove(&(due, name.to_owned()));
        }
    }

    /// Takes the next device that is due; it is being asked until [`Schedule::done`].
    pub fn next(&mut self, now_ms: u64) -> Option<String> {
        let (due, _) = self.queue.first()?;
        if *due > now_ms {
            return None;
        }
        let (_, name) = self.queue.pop_first()?;
        if let Some(entry) = self.devices.get_mut(&name) {
            entry.due_ms = None;
        }
        Some(name)
    }

    /// When the next device is due.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Notes that a device was asked, and whether it answered. One that was removed meanwhile is gone.
    pub fn done(&mut self, name: &str, answered: bool, now_ms: u64) {
        let Some(entry) = self.devices.get_mut(name) else {
            return;
        };
        if let Some(due) = entry.due_ms {
            self.queue.remove(&(due, name.to_owned()));
        }
        entry.silent = if answered {
            0
        } else {
            entry.silent.saturating_add(1)
        };
        let pause = pause_ms(entry.every_ms, entry.silent);
        let after = now_ms.saturating_add(pause - entry.every_ms);
        let mut due = slot(name, entry.every_ms, after);
        if let Some(again) = entry
            .again_ms
            .take()
            .map(|at| at.max(now_ms))
            .filter(|at| *at < due)
        {
            due = again;
            entry.trapped_ms = Some(again);
        }
        entry.due_ms = Some(due);
        self.queue.insert((due, name.to_owned()));
    }

    /// How many devices there are, and how many of them did not answer last.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let silent = self.devices.values().filter(|entry| entry.silent > 0);
        (self.devices.len(), silent.count())
    }
}

/// The first moment after `after_ms` that is this device's turn.
fn slot(name: &str, every_ms: u64, after_ms: u64) -> u64 {
    let place = Row::of("schedule", [name]).0 % every_ms;
    let round = after_ms.saturating_sub(place) / every_ms;
    let mut due = round.saturating_mul(every_ms).saturating_add(place);
    if due <= after_ms {
        due = due.saturating_add(every_ms);
    }
    due
}

/// The interval, doubled with each silence; never longer than [`LONGEST_PAUSE_MS`], unless the interval is.
fn pause_ms(every_ms: u64, silent: u32) -> u64 {
    let doubled = every_ms.saturating_mul(1 << silent.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE_MS).max(every_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE_MS: u64 = 60_000;

    fn devices(count: usize) -> BTreeMap<String, Duration> {
        (0..count)
            .map(|number| (format!("sw-{number}"), Duration::from_millis(MINUTE_MS)))
            .collect()
    }

    /// When each question was asked of whom, in `until_ms`; `answers` says whether one answers.
    fn asked(
        schedule: &mut Schedule,
        until_ms: u64,
        answers: impl Fn(&str) -> bool,
    ) -> Vec<(u64, String)> {
        let mut asked = Vec::new();
        while let Some(now) = schedule.next_due_ms().filter(|due| *due < until_ms) {
            let name = schedule.next(now).unwrap();
            schedule.done(&name, answers(&name), now);
            asked.push((now, name));
        }
        asked
    }

    #[test]
    fn devices_are_spread_over_their_interval_and_keep_their_places() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(600), 0);
        let first = asked(&mut schedule, MINUTE_MS + 1, |_| true);
        assert_eq!(first.len(), 600);
        for second in 0..60 {
            let within = |(at, _): &&(u64, String)| at / 1000 == second;
            let count = first.iter().filter(within).count();
            assert!(count < 30, "{count} in second {second}");
        }
        schedule.set(&devices(900), MINUTE_MS + 1);
        let then = asked(&mut schedule, 2 * MINUTE_MS + 1, |_| true);
        assert_eq!(then.len(), 900);
        for (at, name) in first {
            assert!(then.contains(&(at + MINUTE_MS, name.clone())), "{name}");
        }
    }

    #[test]
    fn a_silent_device_is_asked_less_often_and_again_at_once_when_it_is_back() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(1), 0);
        let times: Vec<u64> = asked(&mut schedule, 30 * MINUTE_MS, |_| false)
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        let pauses: Vec<u64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / MINUTE_MS)
            .collect();
        assert_eq!(pauses[..4], [1, 2, 4, 4]);
        let now = schedule.next_due_ms().unwrap();
        let name = schedule.next(now).unwrap();
        assert_eq!(schedule.count(), (1, 1));
        schedule.done(&name, true, now);
        assert_eq!(schedule.next_due_ms(), Some(now + MINUTE_MS));
        assert_eq!(schedule.count(), (1, 0));
    }

    #[test]
    fn a_device_that_is_being_asked_is_not_asked_twice_and_one_that_is_gone_is_gone() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(1), 0);
        let name = schedule.next(u64::MAX).unwrap();
        schedule.hurry(&name, 0);
        assert_eq!(schedule.next(u64::MAX), None);
        // Its interval changes meanwhile.
        schedule.set(&[(name.clone(), Duration::from_secs(5))].into(), 0);
        assert_eq!(schedule.next(u64::MAX), None);
        schedule.done(&name, true, 0);
        assert!(schedule.next_due_ms().unwrap() <= 5_000);
        schedule.set(&BTreeMap::new(), 0);
        assert_eq!(schedule.next(u64::MAX), None);
        schedule.done(&name, true, 0);
        assert_eq!(schedule.next(u64::MAX), None);
    }

    #[test]
    fn a_device_that_is_in_a_hurry_is_due_now() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(50), 0);
        schedule.hurry("sw-17", 3);
        assert_eq!(schedule.next(3).as_deref(), Some("sw-17"));
    }

    #[test]
    fn traps_without_end_make_a_device_due_every_ten_seconds_at_most() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(1), 0);
        let mut asked = Vec::new();
        for now in (0..MINUTE_MS).step_by(100) {
            schedule.trap("sw-0", now);
            while let Some(name) = schedule.next(now) {
                schedule.done(&name, true, now);
                asked.push(now);
            }
        }
        // Its own turn is among them.
        assert_eq!(asked[0], 0);
        assert!((6..=7).contains(&asked.len()), "{asked:?}");
    }

    #[test]
    fn a_trap_while_a_device_is_being_asked_asks_it_once_more() {
        let mut schedule = Schedule::default();
        schedule.set(&devices(1), 0);
        let now = schedule.next_due_ms().unwrap();
        let name = schedule.next(now).unwrap();
        schedule.trap(&name, now);
        schedule.trap(&name, now + 1);
        assert_eq!(schedule.next(now + 2), None);
        schedule.done(&name, true, now + 2);
        assert_eq!(schedule.next(now + 2), Some(name.clone()));
        schedule.done(&name, true, now + 3);
        assert_eq!(schedule.next_due_ms(), Some(now + MINUTE_MS));
    }

    proptest! {
        #[test]
        fn the_next_turn_is_within_one_interval(name in "[a-z]{1,9}", every in 1_u64..1_000_000, now in 0..u64::MAX / 4) {
            let due = slot(&name, every, now);
            prop_assert!(due > now && due <= now + every, "{due}");
            prop_assert_eq!(slot(&name, every, due), due + every);
        }
    }
}
