//! People who sign in.

use xiezhi_model::{AuditEntry, Role, User};

use crate::{Store, StoreError};

impl Store {
    /// Makes an account; `password_hash` is in PHC form.
    pub async fn create_user(&self, name: &str, role: Role, password_hash: &str, audit: AuditEntry) -> Result<User, StoreError> {
        let _ = (name, role, password_hash, audit);
        Err(StoreError::Unfinished)
    }

    /// All accounts, by number.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        Err(StoreError::Unfinished)
    }

    /// The account with this name.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let _ = name;
        Err(StoreError::Unfinished)
    }

    /// Sets a new password and ends all the user's sessions.
    pub async fn set_password(&self, user: i64, password_hash: &str, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (user, password_hash, audit);
        Err(StoreError::Unfinished)
    }
}
