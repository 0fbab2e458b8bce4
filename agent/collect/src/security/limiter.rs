//! Bounds how many events of a kind a source may give per minute.
//!
//! Whoever attacks a host decides how many failed logins it logs. The first
//! [`PER_MINUTE`] events of each (source, kind) in a minute pass whole; the rest of that minute
//! becomes *one* event of the same kind with the count and the most frequent addresses and users.
//! The budget is per kind, so a flood of failures cannot hide a success. The counts are part of
//! the saved state: a restart in the middle of an attack forgets none of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xiezhi_protocol::event::{Event, Severity};

/// Most events of one kind that one source gives per minute; the rest is counted in one event.
pub const PER_MINUTE: u32 = 60;

/// Length of a window.
const WINDOW_MS: i64 = 60_000;
/// Different addresses or users that a summary names.
const NAMED: usize = 8;
/// Windows at once: there are about 12 sources and 20 kinds, far fewer pairs that occur.
const MAX_WINDOWS: usize = 256;

/// The windows of all sources.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Limiter {
    #[serde(skip)]
    per_minute: u32,
    windows: Vec<Window>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Window {
    source: String,
    kind: String,
    started_ms: i64,
    given: u32,
    held: u64,
    first_ms: i64,
    last_ms: i64,
    severity: Severity,
    addresses: BTreeMap<String, u64>,
    users: BTreeMap<String, u64>,
}

impl Limiter {
    /// A limiter with that many events of each (source, kind) per minute, at least one.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            windows: Vec::new(),
        }
    }

    /// The same windows with another bound (after loading saved state).
    #[must_use]
    pub fn with_bound(self, per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            ..self
        }
    }

    /// The event back if it may pass; `None` if it was only counted.
    pub fn admit(&mut self, source: &str, event: Event, now_ms: i64) -> Option<Event> {
        let bound = self.per_minute;
        let Some(window) = self.window(source, &event, now_ms) else {
            return Some(event);
        };
        if window.given < bound {
            window.given += 1;
            return Some(event);
        }
        window.hold(&event);
        None
    }

    /// The summaries of windows that are over; call it at every poll.
    pub fn flush(&mut self, now_ms: i64) -> Vec<Event> {
        let (over, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.windows)
            .into_iter()
            .partition(|window| window.is_over(now_ms));
        self.windows = open;
        over.into_iter().filter_map(Window::into_summary).collect()
    }

    fn window(&mut self, source: &str, event: &Event, now_ms: i64) -> Option<&mut Window> {
        let known = self
            .windows
            .iter()
            .position(|w| w.source == source && w.kind == event.kind);
        let index = match known {
            Some(index) => index,
            None if self.windows.len() >= MAX_WINDOWS => return None,
            None => {
                self.windows.push(Window::new(source, event, now_ms));
                self.windows.len() - 1
            }
        };
        self.windows.get_mut(index)
    }
}

impl Window {
    fn new(source: &str, event: &Event, now_ms: i64) -> Self {
        Self {
            source: source.to_owned(),
            kind: event.kind.clone(),
            started_ms: now_ms,
            given: 0,
            held: 0,
            first_ms: event.time_ms,
            last_ms: event.time_ms,
            severity: event.severity,
            addresses: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// A clock that was set back ends a window too.
    fn is_over(&self, now_ms: i64) -> bool {
        now_ms < self.started_ms || now_ms - self.started_ms >= WINDOW_MS
    }

    fn hold(&mut self, event: &Event) {
        if self.held == 0 {
            self.first_ms = event.time_ms;
        }
        self.held += 1;
        self.last_ms = event.time_ms;
        self.severity = self.severity.max(event.severity);
        count(&mut self.addresses, event.fields.get("source_address"));
        count(&mut self.users, event.fields.get("user"));
    }

    fn into_summary(self) -> Option<Event> {
        if self.held == 0 {
            return None;
        }
        let message = format!(
            "{} more {} events of {} in one minute",
            self.held, self.kind, self.source
        );
        let mut event = Event::new(self.last_ms, &self.kind, self.severity, message)
            .with("source", self.source)
            .with("count", self.held.to_string())
            .with("summarised", "true")
            .with("from_ms", self.first_ms.to_string())
            .with("to_ms", self.last_ms.to_string());
        if !self.addresses.is_empty() {
            event = event.with("source_addresses", listed(&self.addresses));
        }
        if !self.users.is_empty() {
            event = event.with("users", listed(&self.users));
        }
        Some(event)
    }
}

/// Counts the first few names; later ones are in the total only.
fn count(names: &mut BTreeMap<String, u64>, name: Option<&String>) {
    let Some(name) = name else { return };
    if let Some(times) = names.get_mut(name) {
        *times += 1;
    } else if names.len() < NAMED {
        names.insert(name.chars().take(64).collect(), 1);
    }
}

fn listed(names: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1));
    sorted
        .iter()
        .map(|(name, times)| format!("{name} ({times})"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xiezhi_protocol::event::kinds;

    fn failure(n: i64) -> Event {
        Event::new(n, kinds::LOGIN_FAILED, Severity::Notice, "no")
            .with("source_address", format!("10.0.0.{}", n % 3))
            .with("user", "root")
    }

    #[test]
    fn brute_force_becomes_sixty_events_and_one_count() {
        let mut limiter = Limiter::new(PER_MINUTE);
        let passed = (0..10_000)
            .filter_map(|n| limiter.admit("auth_log", failure(n), 1000))
            .count();
        assert_eq!(passed, 60);
        assert!(limiter.flush(30_000).is_empty());
        let summary = limiter.flush(61_000);
        assert_eq!(summary.len(), 1);
        assert_eq!(summary[0].fields["count"], "9940");
        assert_eq!(summary[0].kind, kinds::LOGIN_FAILED);
        assert!(summary[0].fields["source_addresses"].starts_with("10.0.0."));
    }

    #[test]
    fn flood_of_failures_does_not_hide_the_success() {
        let mut limiter = Limiter::new(PER_MINUTE);
        for n in 0..5000 {
            limiter.admit("auth_log", failure(n), 1000);
        }
        let success = Event::new(1, kinds::LOGIN, Severity::Info, "in");
        assert!(limiter.admit("auth_log", success, 1000).is_some());
    }

    proptest! {
        #[test]
        fn every_event_is_given_or_counted(steps in prop::collection::vec((0u8..3, 0i64..40_000), 1..400)) {
            let mut limiter = Limiter::new(5);
            let (mut now, mut offered, mut given, mut counted) = (0i64, 0u64, 0u64, 0u64);
            for (kind, wait) in steps {
                now += wait;
                for summary in limiter.flush(now) {
                    counted += summary.fields["count"].parse::<u64>().unwrap();
                }
                let kind = [kinds::LOGIN, kinds::SUDO, kinds::LOGIN_FAILED][usize::from(kind)];
                offered += 1;
                given += u64::from(limiter.admit("s", Event::new(now, kind, Severity::Info, ""), now).is_some());
                // A restart in between forgets nothing.
                let saved = serde_json::to_string(&limiter).unwrap();
                limiter = serde_json::from_str::<Limiter>(&saved).unwrap().with_bound(5);
            }
            for summary in limiter.flush(now + WINDOW_MS) {
                counted += summary.fields["count"].parse::<u64>().unwrap();
            }
            prop_assert_eq!(offered, given + counted);
        }
    }
}
