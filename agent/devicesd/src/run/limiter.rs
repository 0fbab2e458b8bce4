//! How many events a device may make: one whose port comes and goes each minute must not fill the
//! record of events. What is held back is counted and told with the next that passes.

use std::collections::BTreeMap;

use xiezhi_protocol::event::Event;

/// Events that a device may make at once.
const BURST: u64 = 30;

/// After so long one more may pass.
const REFILL_MS: u64 = 120_000;

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    devices: BTreeMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Events that may pass now.
    room: u64,
    /// When room was counted last.
    at_ms: u64,
    held_back: u64,
}

impl Limiter {
    /// Those of `events` that may pass.
    pub(crate) fn pass(&mut self, device: &str, events: &[Event], now_ms: u64) -> Vec<Event> {
        let mut passed = Vec::new();
        for event in events {
            match self.admit(device, now_ms) {
                None => {}
                Some(0) => passed.push(event.clone()),
                Some(held_back) => {
                    passed.push(event.clone().with("held_back", held_back.to_string()));
                }
            }
        }
        passed
    }

    /// Whether one more of `device` may pass; then with how many were held back before it.
    pub(crate) fn admit(&mut self, device: &str, now_ms: u64) -> Option<u64> {
        if !self.devices.contains_key(device) {
            let bucket = Bucket {
                room: BURST,
                at_ms: now_ms,
                held_back: 0,
            };
            self.devices.insert(device.to_owned(), bucket);
        }
        let bucket = self.devices.get_mut(device)?;
        let refilled = now_ms.saturating_sub(bucket.at_ms) / REFILL_MS;
        bucket.room = bucket.room.saturating_add(refilled).min(BURST);
        bucket.at_ms += refilled * REFILL_MS;
        if bucket.room == 0 {
            bucket.held_back += 1;
            return None;
        }
        bucket.room -= 1;
        Some(std::mem::take(&mut bucket.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::event::{Severity, kinds};

    #[test]
    fn a_flapping_port_is_held_back_and_counted() {
        let event = Event::new(1, kinds::DEVICE_PORT_DOWN, Severity::Warning, "down");
        let mut limiter = Limiter::default();
        let many = vec![event.clone(); 50];
        assert_eq!(limiter.pass("sw-1", &many, 0).len(), 30);
        assert_eq!(limiter.pass("sw-1", &many, REFILL_MS - 1).len(), 0);
        assert_eq!(limiter.pass("sw-2", &many[..1], 0).len(), 1);
        let next = limiter.pass("sw-1", &many[..1], REFILL_MS);
        assert_eq!(next[0].fields["held_back"], "70");
    }
}
