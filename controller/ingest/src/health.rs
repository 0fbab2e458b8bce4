//! Whether batches are taken at all, for a page and for a readiness probe.

use std::sync::{Arc, Mutex, PoisonError};

use xiezhi_store::StoreError;

/// State of the way from the port to the stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestHealth {
    /// Why samples are not taken now, for instance a full disk; `None` while they are.
    pub samples: Option<Trouble>,
    /// The same for events.
    pub events: Option<Trouble>,
    /// Why no session can begin: the database cannot be written to.
    pub sessions: Option<Trouble>,
}

/// A store that does not take what it is given. It is tried again until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// What kind of trouble it is.
    pub cause: Cause,
    /// What the store says.
    pub reason: String,
}

/// Kinds of trouble that ask for different acts of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The disk under the store is full.
    DiskFull,
    /// The store is on a server that does not answer.
    Away,
    /// Anything else.
    Failed,
}

impl Cause {
    /// Why the state database did not do something.
    #[must_use]
    pub const fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::DiskFull,
            StoreError::Away(_) => Self::Away,
            _ => Self::Failed,
        }
    }

    /// Full or not.
    #[must_use]
    pub const fn of_disk(full: bool) -> Self {
        if full { Self::DiskFull } else { Self::Failed }
    }

    /// `disk_full`, `away` or `failed`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Away => "away",
            Self::Failed => "failed",
        }
    }
}

impl IngestHealth {
    /// Whether everything is taken.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.samples.is_none() && self.events.is_none() && self.sessions.is_none()
    }
}

/// The health as committers write it and pages read it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedHealth(Arc<Mutex<IngestHealth>>);

impl SharedHealth {
    /// The health now.
    #[must_use]
    pub fn get(&self) -> IngestHealth {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that samples fail, and why, or that they no longer do.
    pub(crate) fn samples(&self, now_ms: i64, reason: Option<(Cause, String)>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut health.samples, now_ms, reason);
    }

    /// The same for events.
    pub(crate) fn events(&self, now_ms: i64, reason: Option<(Cause, String)>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut health.events, now_ms, reason);
    }

    /// The same for the beginning of sessions.
    pub(crate) fn sessions(&self, now_ms: i64, reason: Option<(Cause, String)>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut health.sessions, now_ms, reason);
    }
}

fn note(trouble: &mut Option<Trouble>, now_ms: i64, reason: Option<(Cause, String)>) {
    match (reason, trouble.as_mut()) {
        (None, _) => *trouble = None,
        (Some((cause, reason)), known) => {
            let since_ms = known.map_or(now_ms, |known| known.since_ms);
            *trouble = Some(Trouble {
                since_ms,
                cause,
                reason,
            });
        }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
