//! Hosts after their enrolment.

use xiezhi_model::{AuditEntry, Host, HostId};

use crate::{Store, StoreError};

/// When a host was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// Which host.
    pub host: HostId,
    /// Time of its last live report by the controller's clock, Unix milliseconds.
    pub time_ms: i64,
}

impl Store {
    /// All hosts, revoked ones too, by number.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        Err(StoreError::Unfinished)
    }

    /// The host with this number.
    pub async fn host(&self, id: HostId) -> Result<Option<Host>, StoreError> {
        let _ = id;
        Err(StoreError::Unfinished)
    }

    /// Notes when hosts were last heard of, all in one transaction. A time before the one on record
    /// changes nothing.
    pub async fn set_last_seen(&self, seen: &[LastSeen]) -> Result<(), StoreError> {
        let _ = seen;
        Err(StoreError::Unfinished)
    }

    /// Revokes a host with all its certificates, and returns the number of the change (see
    /// [`Store::revocations_since`]). Doing it again changes nothing but makes a new change number.
    pub async fn revoke_host(&self, id: HostId, reason: &str, audit: AuditEntry) -> Result<i64, StoreError> {
        let _ = (id, reason, audit);
        Err(StoreError::Unfinished)
    }

    /// A person has looked at the mark "rolled back or cloned" and takes it off.
    pub async fn settle_identity_conflict(&self, id: HostId, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (id, audit);
        Err(StoreError::Unfinished)
    }
}
