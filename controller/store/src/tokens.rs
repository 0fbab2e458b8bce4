//! Enrolment tokens: made by a person, kept as digests, used up by [`Store::enrol`].

use xiezhi_model::{AuditEntry, EnrolmentToken};

use crate::{Store, StoreError};

impl Store {
    /// Records a new token.
    pub async fn create_token(&self, token: &EnrolmentToken, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (token, audit);
        Err(StoreError::Unfinished)
    }

    /// The token with this identifier. The caller compares the secret's digest in constant time.
    pub async fn token(&self, id: &str) -> Result<Option<EnrolmentToken>, StoreError> {
        let _ = id;
        Err(StoreError::Unfinished)
    }

    /// All tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<EnrolmentToken>, StoreError> {
        Err(StoreError::Unfinished)
    }

    /// Withdraws a token; hosts that enrolled with it stay.
    pub async fn revoke_token(&self, id: &str, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (id, audit);
        Err(StoreError::Unfinished)
    }
}
