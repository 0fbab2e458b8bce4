//! The audit log: hash-chained, written in the same transaction as the act.

use xiezhi_model::{AuditEntry, AuditRecord};

use crate::{Store, StoreError};

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only entries on this subject.
    pub subject: Option<String>,
    /// Only entries whose action begins so: `host.` or `host.enrolled`.
    pub action: Option<String>,
    /// Only entries before this position: the last position of the page before.
    pub before: Option<i64>,
    /// Entries per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// What a walk over the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every link holds. Compare the head with one that was kept elsewhere: a chain whose newest
    /// entries were cut off still holds.
    Intact {
        /// Position of the newest entry; 0 for an empty chain.
        position: i64,
        /// Its digest, hex.
        hash: String,
    },
    /// The first place where it does not hold.
    Broken {
        /// Position that was expected there.
        position: i64,
        /// What is wrong, for a person.
        reason: String,
    },
}

impl Store {
    /// Chains an entry that belongs to no other change, and returns its position.
    pub async fn append_audit(&self, entry: AuditEntry) -> Result<i64, StoreError> {
        let _ = entry;
        Err(StoreError::Unfinished)
    }

    /// One page of entries, newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let _ = query;
        Err(StoreError::Unfinished)
    }

    /// Walks the whole chain, in slices.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        Err(StoreError::Unfinished)
    }
}
