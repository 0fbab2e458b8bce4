//! Gaps: batches that hosts gave up, so that a hole in the data has a reason.

use xiezhi_model::{Gap, HostId};

use crate::{Store, StoreError};

impl Store {
    /// Records gaps. An agent reports its gaps again and again: one that is known changes nothing,
    /// and one that has grown since is extended.
    pub async fn insert_gaps(&self, gaps: &[Gap], now_ms: i64) -> Result<(), StoreError> {
        let _ = (gaps, now_ms);
        Err(StoreError::Unfinished)
    }

    /// Gaps of a host (or of all) that touch `from_ms..to_ms`, oldest first, at most 1,000. Gaps of
    /// unknown time always touch.
    pub async fn gaps(&self, host: Option<HostId>, from_ms: i64, to_ms: i64) -> Result<Vec<Gap>, StoreError> {
        let _ = (host, from_ms, to_ms);
        Err(StoreError::Unfinished)
    }
}
