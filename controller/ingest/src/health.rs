//! Whether batches are taken at all, for a page and for a readiness probe.

use std::sync::{Arc, Mutex, PoisonError};

/// State of the way from the port to the stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestHealth {
    /// Why samples are not taken now, for instance a full disk; `None` while they are.
    pub samples: Option<Trouble>,
    /// The same for events.
    pub events: Option<Trouble>,
}

/// A store that does not take what it is given. It is tried again until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Whether a full disk is the reason.
    pub full: bool,
    /// What the store says.
    pub reason: String,
}

impl IngestHealth {
    /// Whether everything is taken.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.samples.is_none() && self.events.is_none()
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

    /// Notes that samples fail, whether for a full disk and why, or that they no longer do.
    pub(crate) fn samples(&self, now_ms: i64, reason: Option<(bool, String)>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut health.samples, now_ms, reason);
    }

    /// The same for events.
    pub(crate) fn events(&self, now_ms: i64, reason: Option<(bool, String)>) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut health.events, now_ms, reason);
    }
}

fn note(trouble: &mut Option<Trouble>, now_ms: i64, reason: Option<(bool, String)>) {
    match (reason, trouble.as_mut()) {
        (None, _) => *trouble = None,
        (Some((full, reason)), known) => {
            let since_ms = known.map_or(now_ms, |known| known.since_ms);
            *trouble = Some(Trouble {
                since_ms,
                full,
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
