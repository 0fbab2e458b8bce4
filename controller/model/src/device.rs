//! Devices of the network: what hosts poll and do not run on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostId, SiteId};

/// Number of a device, given by the database and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub i64);

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for DeviceId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// How a device answered when its host asked it last. What nobody asked lately is none of these: its state
/// is unknown, whatever it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    /// It answered all that was asked.
    Answered,
    /// It answered, but not all that was asked.
    Partial,
    /// It said nothing.
    Silent,
    /// It refused the credentials.
    Refused,
    /// The network said that there is no way to it.
    Unreachable,
    /// Nobody knows.
    #[default]
    Unknown,
}

impl DeviceState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Answered,
        Self::Partial,
        Self::Silent,
        Self::Refused,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// The word that is stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Partial => "partial",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// The state with this word; an unknown word is an unknown state.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|state| state.word() == word);
        found.unwrap_or_default()
    }

    /// Whether the device said anything.
    #[must_use]
    pub const fn answers(self) -> bool {
        matches!(self, Self::Answered | Self::Partial)
    }
}

/// A device as the database knows it, without what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// The host that polls it.
    pub host: HostId,
    /// Its name there.
    pub name: String,
    /// Its site: where somebody put it, or where its host is.
    pub site: SiteId,
    /// How it answered at the last poll.
    pub state: DeviceState,
    /// Why it did not answer, or not all: a word; empty for one that answered.
    pub problem: String,
    /// Since when it is in that state, Unix milliseconds.
    pub state_since_ms: i64,
    /// When it was polled first, Unix milliseconds.
    pub first_poll_ms: i64,
    /// When it was polled last, Unix milliseconds.
    pub last_poll_ms: i64,
    /// When it answered last, Unix milliseconds.
    pub last_answer_ms: Option<i64>,
    /// Seconds between polls.
    pub every_s: i64,
    /// What kind of device it is.
    pub kind: String,
    /// The profile by which it is read.
    pub profile: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Whether no profile knows it.
    pub needs_profile: bool,
}

impl Device {
    /// Its state now. Whoever is not asked is neither up nor down: three polls that did not come, or a host
    /// that is not heard, make it unknown.
    #[must_use]
    pub fn state_at(&self, now_ms: i64, host_is_heard: bool) -> DeviceState {
        /// At least so long, so that a late batch makes nothing unknown.
        const LEAST_MS: i64 = 180_000;
        let patience_ms = self.every_s.saturating_mul(3_000).max(LEAST_MS);
        let is_fresh = now_ms.saturating_sub(self.last_poll_ms) <= patience_ms;
        if is_fresh && host_is_heard {
            self.state
        } else {
            DeviceState::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back_from_their_words() {
        for state in DeviceState::ALL {
            assert_eq!(DeviceState::from_word(state.word()), state);
        }
        assert_eq!(DeviceState::from_word("asleep"), DeviceState::Unknown);
    }

    #[test]
    fn a_device_that_nobody_asks_is_unknown_and_never_down() {
        let device = Device {
            id: DeviceId(1),
            host: HostId(1),
            name: "core-1".to_owned(),
            site: SiteId(1),
            state: DeviceState::Silent,
            problem: "no_answer".to_owned(),
            state_since_ms: 0,
            first_poll_ms: 0,
            last_poll_ms: 1_000_000,
            last_answer_ms: None,
            every_s: 60,
            kind: String::new(),
            profile: String::new(),
            model: String::new(),
            serial: String::new(),
            needs_profile: false,
        };
        assert_eq!(device.state_at(1_180_000, true), DeviceState::Silent);
        assert_eq!(device.state_at(1_180_001, true), DeviceState::Unknown);
        assert_eq!(device.state_at(1_000_000, false), DeviceState::Unknown);
    }
}
