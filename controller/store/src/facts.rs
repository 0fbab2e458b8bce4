//! Facts: what each host is made of, the newest description only. They arrive in event batches and
//! are stored with them (see [`crate::EventBatch::facts`]).

use xiezhi_model::HostId;

use crate::{Store, StoreError};

/// The newest description of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFacts {
    /// Whose.
    pub host: HostId,
    /// Epoch of the batch that brought it.
    pub epoch: u64,
    /// Number of the batch that brought it.
    pub seq: u64,
    /// When it was stored, Unix milliseconds.
    pub received_ms: i64,
    /// JSON text as the host sent it.
    pub json: String,
}

impl Store {
    /// The newest facts of a host.
    pub async fn facts(&self, host: HostId) -> Result<Option<StoredFacts>, StoreError> {
        let _ = host;
        Err(StoreError::Unfinished)
    }

    /// The newest facts of all hosts that have sent some.
    pub async fn all_facts(&self) -> Result<Vec<StoredFacts>, StoreError> {
        Err(StoreError::Unfinished)
    }
}
