//! The port book: which of the ports that a device tells is which of those that it told before.
//!
//! A port's number (ifIndex) is the device's, and after a restart, a new module or a new firmware it may
//! be another port's. So a port is known by its name (ifName), else its description (ifDescr), else its
//! alias and hardware address; what its samples are called never changes, whatever its number does.

use std::collections::BTreeMap;

use xiezhi_profiles::Port;

/// Most ports of one device that are remembered.
const MOST: usize = 8_192;

/// What is remembered of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What its samples are called; no other port of the device has it.
    pub label: String,
    /// ifName as it was told last, without what tells ports of one name apart.
    pub name: String,
    /// ifDescr.
    pub descr: String,
    /// ifAlias.
    pub alias: String,
    /// Its hardware address.
    pub mac: String,
    /// ifIndex.
    pub index: u32,
    /// When it was told last, Unix milliseconds.
    pub seen_ms: i64,
    /// ifCounterDiscontinuityTime.
    pub discontinuity: Option<u32>,
    /// ifAdminStatus is up.
    pub enabled: Option<bool>,
    /// ifOperStatus is up; `None` if it is neither up nor down.
    pub up: Option<bool>,
}

/// All ports of a device that were told within the last weeks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortBook {
    /// In no order.
    pub ports: Vec<Known>,
}

/// One port of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Its place in the book.
    pub place: usize,
    /// What was known of it before; `None` if it is new.
    pub before: Option<Known>,
}

impl PortBook {
    /// Finds each of `told` in the book, or adds it, and remembers what it tells now.
    pub fn take(&mut self, told: &[Port], now_ms: i64) -> Vec<Matched> {
        let places = self.places(told);
        let mut matched = Vec::with_capacity(told.len());
        for (port, place) in told.iter().zip(places) {
            let place = place.unwrap_or_else(|| self.add(port));
            let Some(known) = self.ports.get_mut(place) else {
                continue;
            };
            let before = (known.seen_ms != 0).then(|| known.clone());
            known.take(port, now_ms);
            matched.push(Matched { place, before });
        }
        matched
    }

    /// The place of each of `told`, by the surest sign first; a port of the book is found once.
    fn places(&self, told: &[Port]) -> Vec<Option<usize>> {
        let mut places = vec![None; told.len()];
        let mut taken = vec![false; self.ports.len()];
        let as_known: Vec<Known> = told.iter().map(Known::of).collect();
        for sign in SIGNS {
            let mut known = by_sign(
                self.ports
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| !taken.get(*place).copied().unwrap_or(true))
                    .filter_map(|(place, port)| Some((sign(port)?, place))),
            );
            let asked = by_sign(as_known.iter().enumerate().filter_map(|(at, port)| {
                let is_open = places.get(at).is_some_and(Option::is_none);
                is_open.then(|| sign(port))?.map(|key| (key, at))
            }));
            for (key, at) in asked {
                // Two ports of one sign are told apart by the next one.
                let (Some(at), Some(Some(place))) = (at, known.remove(&key)) else {
                    continue;
                };
                if let (Some(found), Some(taken)) = (places.get_mut(at), taken.get_mut(place)) {
                    *found = Some(place);
                    *taken = true;
                }
            }
        }
        places
    }

    fn add(&mut self, port: &Port) -> usize {
        let is_free = |label: &str| self.ports.iter().all(|known| known.label != label);
        let name = shared_name(port);
        let label = if is_free(&port.name) {
            port.name.clone()
        } else {
            // Somebody else had it once, under another name now.
            let numbered = format!("{name}#{}", port.index);
            if is_free(&numbered) {
                numbered
            } else {
                let mut number = 2_u64;
                while !is_free(&format!("{numbered}.{number}")) {
                    number += 1;
                }
                format!("{numbered}.{number}")
            }
        };
        self.ports.push(Known {
            label,
            ..Known::of(port)
        });
        self.ports.len() - 1
    }

    /// Forgets ports that were not told for [`KEPT`](super::KEPT), and of too many the oldest.
    pub(crate) fn tidy(&mut self, now_ms: i64) {
        let kept_ms = i64::try_from(super::KEPT.as_millis()).unwrap_or(i64::MAX);
        self.ports
            .retain(|port| port.seen_ms >= now_ms.saturating_sub(kept_ms));
        if self.ports.len() > MOST {
            self.ports
                .sort_by_key(|port| std::cmp::Reverse(port.seen_ms));
            self.ports.truncate(MOST);
        }
    }
}

impl Known {
    fn of(port: &Port) -> Self {
        let mut known = Self::default();
        known.take(port, 0);
        known
    }

    fn take(&mut self, port: &Port, now_ms: i64) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        self.name = shared_name(port).to_owned();
        self.descr = text(&port.descr);
        self.alias = text(&port.alias);
        self.mac = text(&port.mac);
        self.index = port.index;
        self.seen_ms = now_ms;
        self.discontinuity = port.discontinuity;
        self.enabled = port.enabled;
        self.up = match port.state {
            Some(1) => Some(true),
            // Down, or a lower layer is.
            Some(2 | 7) => Some(false),
            _ => None,
        };
    }
}

/// A port's name without the number that tells it apart from others of the same name.
fn shared_name(port: &Port) -> &str {
    port.name
        .strip_suffix(&format!("#{}", port.index))
        .unwrap_or(&port.name)
}

type Sign = fn(&Known) -> Option<String>;

/// By what a port is known, the surest first. The last finds ports that have nothing of their own where
/// they were.
const SIGNS: [Sign; 5] = [
    |port| present(&port.name),
    |port| present(&port.descr),
    |port| {
        Some(format!(
            "{}\n{}",
            present(&port.alias)?,
            present(&port.mac)?
        ))
    },
    |port| present(&port.mac).or_else(|| present(&port.alias)),
    |port| Some(format!("{}\n{}", port.index, port.name)),
];

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What has each sign; `None` where several have it.
fn by_sign(all: impl Iterator<Item = (String, usize)>) -> BTreeMap<String, Option<usize>> {
    let mut found: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (key, place) in all {
        found
            .entry(key)
            .and_modify(|place| *place = None)
            .or_insert(Some(place));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port by its index, ifName, ifDescr, ifAlias and hardware address.
    fn port(index: u32, name: &str, descr: &str, alias: &str, mac: &str) -> Port {
        let text = |text: &str| present(text);
        Port {
            index,
            name: name.to_owned(),
            descr: text(descr),
            alias: text(alias),
            kind: Some(6),
            mac: text(mac),
            speed: Some(1_000_000_000),
            enabled: Some(true),
            state: Some(1),
            counters: BTreeMap::new(),
            discontinuity: None,
        }
    }

    fn labels(book: &mut PortBook, told: &[Port]) -> Vec<String> {
        let matched = book.take(told, 5);
        assert_eq!(matched.len(), told.len());
        matched
            .iter()
            .map(|port| book.ports[port.place].label.clone())
            .collect()
    }

    #[test]
    fn a_renumbered_device_keeps_its_ports() {
        let mut book = PortBook::default();
        let first = [
            port(1, "Gi0/1", "GigabitEthernet0/1", "", "00:00:00:00:00:01"),
            port(2, "Gi0/2", "GigabitEthernet0/2", "", "00:00:00:00:00:02"),
        ];
        assert_eq!(labels(&mut book, &first), ["Gi0/1", "Gi0/2"]);
        // A new module took the first numbers.
        let then = [
            port(1, "Te1/1", "TenGigabitEthernet1/1", "", ""),
            port(7, "Gi0/2", "GigabitEthernet0/2", "", "00:00:00:00:00:02"),
            port(9, "Gi0/1", "GigabitEthernet0/1", "", "00:00:00:00:00:01"),
        ];
        assert_eq!(labels(&mut book, &then), ["Te1/1", "Gi0/2", "Gi0/1"]);
    }

    #[test]
    fn a_renamed_port_is_found_by_its_description_then_by_alias_and_address() {
        let mut book = PortBook::default();
        labels(
            &mut book,
            &[port(1, "Gi0/1", "one", "court 1", "00:00:00:00:00:01")],
        );
        let renamed = [port(4, "GE0/0/1", "one", "", "")];
        assert_eq!(labels(&mut book, &renamed), ["Gi0/1"]);
        let again = [port(4, "GE0/0/1", "one", "court 1", "00:00:00:00:00:01")];
        labels(&mut book, &again);
        let all_new = [port(9, "ge1", "first", "court 1", "00:00:00:00:00:01")];
        assert_eq!(labels(&mut book, &all_new), ["Gi0/1"]);
    }

    #[test]
    fn ports_of_one_name_stay_apart_by_their_addresses() {
        let mut book = PortBook::default();
        let first = [
            port(4, "eth#4", "eth", "", "00:00:00:00:00:04"),
            port(7, "eth#7", "eth", "", "00:00:00:00:00:07"),
        ];
        assert_eq!(labels(&mut book, &first), ["eth#4", "eth#7"]);
        let swapped = [
            port(4, "eth#4", "eth", "", "00:00:00:00:00:07"),
            port(7, "eth#7", "eth", "", "00:00:00:00:00:04"),
        ];
        assert_eq!(labels(&mut book, &swapped), ["eth#7", "eth#4"]);
        // Without anything of their own they stay where they are.
        let mut book = PortBook::default();
        let bare = [
            port(4, "eth#4", "eth", "", ""),
            port(7, "eth#7", "eth", "", ""),
        ];
        assert_eq!(labels(&mut book, &bare), ["eth#4", "eth#7"]);
        assert_eq!(labels(&mut book, &bare), ["eth#4", "eth#7"]);
    }

    #[test]
    fn no_two_ports_ever_have_one_label() {
        let mut book = PortBook::default();
        labels(&mut book, &[port(1, "a", "one", "", "")]);
        // It is called otherwise now, and another has its name.
        labels(&mut book, &[port(1, "b", "one", "", "")]);
        let both = [port(1, "b", "one", "", ""), port(2, "a", "two", "", "")];
        assert_eq!(labels(&mut book, &both), ["a", "a#2"]);
    }

    #[test]
    fn a_port_that_vanished_is_known_for_weeks() {
        let mut book = PortBook::default();
        labels(
            &mut book,
            &[port(1, "a", "", "", ""), port(2, "b", "", "", "")],
        );
        book.take(&[port(1, "b", "", "", "")], 1000);
        let kept_ms = i64::try_from(super::super::KEPT.as_millis()).unwrap();
        book.tidy(kept_ms);
        assert_eq!(book.ports.len(), 2);
        book.tidy(kept_ms + 900);
        assert_eq!(book.ports.len(), 1);
    }
}
