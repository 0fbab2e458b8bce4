//! Which devices are known, and what was written of them: so little is written again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use xiezhi_model::{DeviceId, DeviceState, HostId};
use xiezhi_protocol::poll::{self, About, Poll};
use xiezhi_store::{DeviceAnswer, DeviceName, DevicePoll, DeviceSaid};

/// Most devices of one host. The largest court has a tenth of it.
pub(super) const DEVICES_PER_HOST: usize = 5_000;

/// What is known of a device.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: DeviceId,
    /// Of what it said of itself when that was written last by this process; 0 before.
    said: u64,
}

/// Every device by its host and name.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<HostId, HashMap<String, Known>>);

impl Book {
    pub(super) fn new(names: Vec<DeviceName>) -> Self {
        let mut book = Self::default();
        for (id, host, name) in names {
            book.devices(host).insert(name, Known { id, said: 0 });
        }
        book
    }

    fn devices(&mut self, host: HostId) -> &mut HashMap<String, Known> {
        self.0.entry(host).or_default()
    }

    fn known(&self, host: HostId, name: &str) -> Option<Known> {
        self.0.get(&host)?.get(name).copied()
    }

    /// Whether the device is known, or the host may have one more.
    pub(super) fn has_room(&self, host: HostId, name: &str) -> bool {
        let known = self.0.get(&host);
        known.is_none_or(|all| all.len() < DEVICES_PER_HOST || all.contains_key(name))
    }

    /// What is to be written of a poll.
    pub(super) fn note(&self, host: HostId, poll: &Poll) -> DevicePoll {
        let known = self.known(host, &poll.device);
        let answer = poll.about.as_ref().map(|about| {
            let state = state_of(about.state);
            // A device that is silent says nothing that would be better than what it said before.
            let said = state.answers().then(|| said(about));
            let is_news = |said: &DeviceSaid| known.is_none_or(|known| known.said != digest(said));
            DeviceAnswer {
                state,
                problem: about.problem.clone(),
                every_s: about.every_s.into(),
                said: said.filter(is_news),
            }
        });
        DevicePoll {
            id: known.map(|known| known.id),
            host,
            name: poll.device.clone(),
            time_ms: poll.time_ms,
            answer,
        }
    }

    /// It was written.
    pub(super) fn noted(&mut self, note: &DevicePoll, id: DeviceId) {
        let written = note.answer.as_ref().and_then(|answer| answer.said.as_ref());
        let devices = self.devices(note.host);
        match devices.get_mut(&note.name) {
            Some(known) => {
                known.id = id;
                known.said = written.map_or(known.said, digest);
            }
            None => {
                let said = written.map_or(0, digest);
                devices.insert(note.name.clone(), Known { id, said });
            }
        }
    }
}

const fn state_of(state: poll::DeviceState) -> DeviceState {
    match state {
        poll::DeviceState::Answered => DeviceState::Answered,
        poll::DeviceState::Partial => DeviceState::Partial,
        poll::DeviceState::Silent => DeviceState::Silent,
        poll::DeviceState::Refused => DeviceState::Refused,
        poll::DeviceState::Unreachable => DeviceState::Unreachable,
        poll::DeviceState::Unknown => DeviceState::Unknown,
    }
}

/// What a device said of itself. How long it is up changes with each poll and is a sample.
fn said(about: &About) -> DeviceSaid {
    let fact = |name: &str| about.facts.get(name).cloned().unwrap_or_default();
    let kept = About {
        uptime_s: None,
        state: poll::DeviceState::Unknown,
        problem: String::new(),
        ..about.clone()
    };
    DeviceSaid {
        kind: about.kind.clone(),
        profile: about.profile.clone(),
        model: fact("model"),
        serial: fact("serial"),
        needs_profile: about.needs_profile,
        // Texts, numbers and lists of them always become JSON.
        about: serde_json::to_string(&kept).unwrap_or_else(|_| "{}".to_owned()),
    }
}

fn digest(said: &DeviceSaid) -> u64 {
    let mut hasher = DefaultHasher::new();
    said.about.hash(&mut hasher);
    // 0 is what nobody said.
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(time_ms: i64, about: About) -> Poll {
        Poll {
            device: "core-1".to_owned(),
            time_ms,
            part: (0, 1),
            about: Some(about),
            tables: Vec::new(),
        }
    }

    fn answered(uptime_s: u64, location: &str) -> About {
        About {
            state: poll::DeviceState::Answered,
            uptime_s: Some(uptime_s),
            facts: [("location".to_owned(), location.to_owned())].into(),
            ..About::default()
        }
    }

    #[test]
    fn what_a_device_says_of_itself_is_written_when_it_changes() {
        let (host, mut book) = (HostId(7), Book::default());
        let mut is_written = |about: About| {
            let note = book.note(host, &poll(1, about));
            book.noted(&note, DeviceId(3));
            note.answer.unwrap().said.is_some()
        };
        assert!(is_written(answered(5, "一楼")));
        assert!(!is_written(answered(65, "一楼")), "only its age changed");
        assert!(is_written(answered(125, "二楼")));
        let silent = About {
            state: poll::DeviceState::Silent,
            ..About::default()
        };
        assert!(!is_written(silent), "silence says nothing of the device");
        assert!(!is_written(answered(5, "二楼")));
    }

    #[test]
    fn a_host_has_a_bound_and_known_devices_stay_known() {
        let host = HostId(7);
        let names = (0..DEVICES_PER_HOST).map(|n| (DeviceId(n as i64), host, format!("d{n}")));
        let book = Book::new(names.collect());
        assert!(book.has_room(host, "d17") && !book.has_room(host, "another"));
        assert!(book.has_room(HostId(8), "another"));
    }
}
