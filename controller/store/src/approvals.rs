//! Hosts that wait for a person's approval before they enrol.

use xiezhi_model::{Approval, ApprovalState, AuditEntry};

use crate::{Store, StoreError};

/// A host's wish to enrol with a token that asks for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// Which token.
    pub token: String,
    /// The host's evidence key, hex.
    pub evidence_key: String,
    /// The host's name for itself.
    pub hostname: String,
    /// Digest of its machine-id.
    pub machine: String,
    /// Agent's version.
    pub version: String,
}

impl Store {
    /// Records a request, or returns the one that the same host made before with the same token;
    /// the audit entry is written only for a new one.
    pub async fn request_approval(&self, request: &ApprovalRequest, audit: AuditEntry) -> Result<Approval, StoreError> {
        let _ = (request, audit);
        Err(StoreError::Unfinished)
    }

    /// Requests in this state, or all, newest first.
    pub async fn approvals(&self, state: Option<ApprovalState>) -> Result<Vec<Approval>, StoreError> {
        let _ = state;
        Err(StoreError::Unfinished)
    }

    /// Approves or refuses a pending request; the audit entry's actor is who decided. A request that
    /// was decided before stays as it is and is returned.
    pub async fn decide_approval(&self, id: i64, approve: bool, audit: AuditEntry) -> Result<Approval, StoreError> {
        let _ = (id, approve, audit);
        Err(StoreError::Unfinished)
    }
}
