//! The same again: devices send a trap three times because nobody acknowledges it, and an inform until
//! somebody does.
//!
//! Within [`WINDOW_MS`] a notice of the same device that says the same is counted and not told. One that
//! ends another (a port that came up again) makes that other one new: a port that goes down, up and down
//! is told three times.

use std::collections::BTreeMap;

use xiezhi_profiles::Oid;

use super::Notice;
use crate::memory::Row;

/// How long the same is a repetition.
pub const WINDOW_MS: u64 = 30_000;

/// Notices of one device that are remembered.
const MOST: usize = 64;

/// What each device told last.
#[derive(Debug, Default)]
pub struct Repeats {
    devices: BTreeMap<String, Vec<Told>>,
}

#[derive(Debug)]
struct Told {
    oid: Oid,
    /// A digest of what it said.
    digest: u64,
    at_ms: u64,
    repeats: u64,
}

impl Repeats {
    /// Whether `notice` of `device` is to be told; then with how often it was repeated since it was
    /// told before. `clears` is the trap that it ends, if it ends one.
    pub fn take(
        &mut self,
        device: &str,
        notice: &Notice,
        clears: Option<&Oid>,
        now_ms: u64,
    ) -> Option<u64> {
        if !self.devices.contains_key(device) {
            self.devices.insert(device.to_owned(), Vec::new());
        }
        let told = self.devices.get_mut(device)?;
        if let Some(ended) = clears {
            told.retain(|told| told.oid != *ended);
        }
        let digest = digest(notice);
        let known = told
            .iter_mut()
            .find(|told| told.digest == digest && told.oid == notice.oid);
        if let Some(known) = known {
            if now_ms.saturating_sub(known.at_ms) < WINDOW_MS {
                known.repeats += 1;
                return None;
            }
            known.at_ms = now_ms;
            return Some(std::mem::take(&mut known.repeats));
        }
        if told.len() >= MOST {
            told.remove(0);
        }
        told.push(Told {
            oid: notice.oid.clone(),
            digest,
            at_ms: now_ms,
            repeats: 0,
        });
        Some(0)
    }

    /// Forgets what is too old to be repeated, unless its repetitions were not told; call it now and
    /// then.
    pub fn tidy(&mut self, now_ms: u64) {
        for told in self.devices.values_mut() {
            told.retain(|told| {
                let kept_ms = if told.repeats > 0 {
                    // An hour, so that a trap that comes now and then tells what was left out.
                    120 * WINDOW_MS
                } else {
                    WINDOW_MS
                };
                now_ms.saturating_sub(told.at_ms) < kept_ms
            });
        }
        self.devices.retain(|_, told| !told.is_empty());
    }
}

/// What it says; not when, because a repetition may tell a later time.
fn digest(notice: &Notice) -> u64 {
    let values = notice
        .values
        .iter()
        .map(|(oid, cell)| format!("{oid}={cell:?}"));
    let parts: Vec<String> = values.collect();
    Row::of("trap", parts.iter().map(String::as_str)).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Cell;
    use xiezhi_profiles::Value;

    fn notice(oid: &str, port: i32) -> Notice {
        Notice {
            oid: oid.parse().unwrap(),
            uptime_ticks: 0,
            values: vec![(
                "1.3.6.1.2.1.2.2.1.1".parse().unwrap(),
                Cell::Value(Value::Integer(port)),
            )],
            is_inform: false,
        }
    }

    #[test]
    fn the_same_is_told_once_and_its_repeats_with_the_next() {
        let mut repeats = Repeats::default();
        let down = notice("1.2.3", 1);
        assert_eq!(repeats.take("a", &down, None, 0), Some(0));
        let later = Notice {
            uptime_ticks: 7,
            ..down.clone()
        };
        assert_eq!(repeats.take("a", &later, None, 5), None);
        assert_eq!(repeats.take("a", &down, None, WINDOW_MS - 1), None);
        // Another device, another port, another trap.
        assert_eq!(repeats.take("b", &down, None, 5), Some(0));
        assert_eq!(repeats.take("a", &notice("1.2.3", 2), None, 5), Some(0));
        assert_eq!(repeats.take("a", &notice("1.2.4", 1), None, 5), Some(0));
        repeats.tidy(WINDOW_MS);
        assert_eq!(repeats.take("a", &down, None, WINDOW_MS), Some(2));
    }

    #[test]
    fn what_was_ended_and_begins_again_is_new() {
        let mut repeats = Repeats::default();
        let (down, up) = (notice("1.2.3", 1), notice("1.2.4", 1));
        for at in 0..3 {
            assert_eq!(repeats.take("a", &down, Some(&up.oid), at), Some(0));
            assert_eq!(repeats.take("a", &up, Some(&down.oid), at), Some(0));
        }
    }

    #[test]
    fn a_device_that_says_something_new_each_time_fills_no_memory() {
        let mut repeats = Repeats::default();
        for port in 0..10_000 {
            repeats.take("a", &notice("1.2.3", port), None, 0);
        }
        assert_eq!(repeats.devices["a"].len(), MOST);
        repeats.tidy(WINDOW_MS);
        assert!(repeats.devices.is_empty());
    }
}
