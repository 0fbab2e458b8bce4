//! Browser sessions, kept as digests of their identifiers.

use xiezhi_model::{AuditEntry, User, WebSession};

use crate::{Store, StoreError};

impl Store {
    /// Records a session that just began.
    pub async fn create_web_session(&self, session: &WebSession, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (session, audit);
        Err(StoreError::Unfinished)
    }

    /// The session with this digest and its user, unless it has ended by `now_ms`.
    pub async fn web_session(&self, id_hash: &str, now_ms: i64) -> Result<Option<(WebSession, User)>, StoreError> {
        let _ = (id_hash, now_ms);
        Err(StoreError::Unfinished)
    }

    /// Notes that a session was used. Not for every request: once a minute is enough.
    pub async fn touch_web_session(&self, id_hash: &str, now_ms: i64) -> Result<(), StoreError> {
        let _ = (id_hash, now_ms);
        Err(StoreError::Unfinished)
    }

    /// Ends a session.
    pub async fn delete_web_session(&self, id_hash: &str, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (id_hash, audit);
        Err(StoreError::Unfinished)
    }

    /// Removes sessions that have ended by `now_ms`; returns how many.
    pub async fn delete_expired_web_sessions(&self, now_ms: i64) -> Result<u64, StoreError> {
        let _ = now_ms;
        Err(StoreError::Unfinished)
    }
}
