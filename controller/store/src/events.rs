//! Events of hosts: stored exactly once, however often their batches come.

use std::collections::BTreeMap;

use xiezhi_model::{EventStream, HostId, Severity};

use crate::{Store, StoreError};

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened by the host's clock, Unix milliseconds.
    pub time_ms: i64,
    /// What happened.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for a person.
    pub message: String,
    /// The parts of it by name.
    pub fields: BTreeMap<String, String>,
}

/// A sequence-numbered batch of one host's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBatch {
    /// Whose.
    pub host: HostId,
    /// Epoch in which it is numbered.
    pub epoch: u64,
    /// Which stream.
    pub stream: EventStream,
    /// Its number, from 1.
    pub seq: u64,
    /// Checksum of its content.
    pub checksum: u32,
    /// What it holds.
    pub events: Vec<NewEvent>,
    /// The host's facts as JSON text, if the batch brought them; kept if they are the newest.
    pub facts: Option<String>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// It was new and is durable.
    Stored,
    /// It was known with the same content; nothing changed. Acknowledge it.
    Replay,
    /// Its number is known with other content, or its content is no longer remembered. Nothing was
    /// stored: call [`Store::open_epoch`] and insert it again there.
    Conflict,
}

impl Store {
    /// Stores batches in one transaction; outcomes are in the order of the batches. After an error
    /// none of them is stored and none may be acknowledged.
    pub async fn insert_batches(&self, batches: &[EventBatch], now_ms: i64) -> Result<Vec<BatchOutcome>, StoreError> {
        let _ = (batches, now_ms);
        Err(StoreError::Unfinished)
    }

    /// Deletes at most `most` events that were received longer ago than the setting of their stream
    /// (`security_retention_days`, `event_retention_days`) allows at `now_ms`; returns how many.
    /// Call it again while it returns `most`: slices keep the write lock short.
    pub async fn delete_expired_events(&self, now_ms: i64, most: u32) -> Result<u64, StoreError> {
        let _ = (now_ms, most);
        Err(StoreError::Unfinished)
    }
}
