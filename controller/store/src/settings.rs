//! Dated settings: values that rules and people decide, each with its source.

use xiezhi_model::{AuditEntry, Setting};

use crate::{Store, StoreError};

impl Store {
    /// The value of `key` that applies at `now_ms`.
    pub async fn setting(&self, key: &str, now_ms: i64) -> Result<Option<Setting>, StoreError> {
        let _ = (key, now_ms);
        Err(StoreError::Unfinished)
    }

    /// All values that apply at `now_ms`, by key.
    pub async fn settings_at(&self, now_ms: i64) -> Result<Vec<Setting>, StoreError> {
        let _ = now_ms;
        Err(StoreError::Unfinished)
    }

    /// All values that `key` has had or will have, newest first.
    pub async fn setting_history(&self, key: &str) -> Result<Vec<Setting>, StoreError> {
        let _ = key;
        Err(StoreError::Unfinished)
    }

    /// Adds a value that applies from its date; earlier values stay on record.
    pub async fn add_setting(&self, setting: &Setting, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (setting, audit);
        Err(StoreError::Unfinished)
    }
}
