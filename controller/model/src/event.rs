//! Events of hosts as they are kept and searched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{HostId, SiteId};

/// The streams that hold events; each has sequence numbers and a retention of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStream {
    /// Ordinary events.
    Events,
    /// Security events.
    Security,
}

impl EventStream {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Security];

    /// The number under which it is stored; the same as on the wire.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Events => 1,
            Self::Security => 2,
        }
    }

    /// The stream with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Events),
            2 => Some(Self::Security),
            _ => None,
        }
    }

    /// `events` or `security`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Security => "security",
        }
    }
}

/// How much an event matters to a person, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth keeping, nothing to do.
    Info,
    /// Ordinary but worth a look in a review.
    Notice,
    /// Something is wrong or suspicious.
    Warning,
    /// A person should act.
    Critical,
}

impl Severity {
    /// All of them, least first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Notice, Self::Warning, Self::Critical];

    /// The number under which it is stored; grows with importance.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Info => 0,
            Self::Notice => 1,
            Self::Warning => 2,
            Self::Critical => 3,
        }
    }

    /// The severity with this number; a number from a newer release counts as the highest known.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        match number {
            ..=0 => Self::Info,
            1 => Self::Notice,
            2 => Self::Warning,
            _ => Self::Critical,
        }
    }

    /// `info`, `notice`, `warning` or `critical`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity that [`Severity::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.word() == word)
    }
}

/// Whether a host's evidence key signed the batch that brought an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// No signature is expected: an ordinary event, or one from before signatures were kept.
    NotExpected,
    /// The host's key signed it.
    Good,
    /// The batch came without a signature, from an agent of an earlier release.
    Missing,
    /// The signature is not that of the host's key over this batch.
    Bad,
}

impl Signature {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NotExpected, Self::Good, Self::Missing, Self::Bad];

    /// The number under which it is stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::NotExpected => 0,
            Self::Good => 1,
            Self::Missing => 2,
            Self::Bad => 3,
        }
    }

    /// The signature with this number; one from a newer release counts as bad.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        match number {
            0 => Self::NotExpected,
            1 => Self::Good,
            2 => Self::Missing,
            _ => Self::Bad,
        }
    }

    /// `not_expected`, `good`, `missing` or `bad`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotExpected => "not_expected",
            Self::Good => "good",
            Self::Missing => "missing",
            Self::Bad => "bad",
        }
    }
}

/// One event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Number that the store gave it.
    pub id: i64,
    /// Where it happened.
    pub host: HostId,
    /// The host's name now.
    pub hostname: String,
    /// The host's site now.
    pub site: SiteId,
    /// Which stream.
    pub stream: EventStream,
    /// When, by the host's clock, Unix milliseconds.
    pub time_ms: i64,
    /// When the controller stored it, Unix milliseconds.
    pub received_ms: i64,
    /// What happened, a word of the protocol's `event::kinds`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for a person.
    pub message: String,
    /// The parts of it by name.
    pub fields: BTreeMap<String, String>,
    /// Whether its batch was signed.
    pub signature: Signature,
}

/// Batches that a host gave up before they were delivered: a hole with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub host: HostId,
    /// Epoch in which they were numbered.
    pub epoch: u64,
    /// `samples`, `events` or `security`.
    pub stream: String,
    /// First sequence number given up.
    pub first: u64,
    /// Last sequence number given up.
    pub last: u64,
    /// Time of the first, Unix milliseconds; 0 where unknown.
    pub from_ms: i64,
    /// Time of the last, Unix milliseconds; 0 where unknown.
    pub to_ms: i64,
    /// `full`, `age`, `damaged` or `refused` as the host says; `missing` where the controller found
    /// the hole and the host no longer has the batches.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_lead_back_to_where_they_came_from() {
        for severity in Severity::ALL {
            assert_eq!(Severity::from_number(severity.number()), severity);
            assert_eq!(Severity::from_word(severity.word()), Some(severity));
        }
        for stream in EventStream::ALL {
            assert_eq!(EventStream::from_number(stream.number()), Some(stream));
        }
        for signature in Signature::ALL {
            assert_eq!(Signature::from_number(signature.number()), signature);
        }
        assert_eq!(Signature::from_number(9), Signature::Bad);
        assert_eq!(Severity::from_number(99), Severity::Critical);
        assert_eq!(EventStream::from_number(0), None);
    }
}
