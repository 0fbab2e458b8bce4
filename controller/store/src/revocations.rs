//! The list of revocations, numbered so that a running controller can poll for what is new.

use xiezhi_model::Revocation;

use crate::{Store, StoreError};

impl Store {
    /// Revocations with a change number above `change`, oldest first. Cheap when there are none: a
    /// controller asks every second, because another process may have revoked.
    pub async fn revocations_since(&self, change: i64) -> Result<Vec<Revocation>, StoreError> {
        let _ = change;
        Err(StoreError::Unfinished)
    }

    /// The newest change number; 0 before the first revocation.
    pub async fn latest_revocation(&self) -> Result<i64, StoreError> {
        Err(StoreError::Unfinished)
    }
}
