//! A number that counts up with whatever may end a session or change what somebody sees: roles,
//! sessions, API tokens, the organisation tree. Whoever holds something open for somebody looks at it
//! instead of at every table.

use crate::row::{self, Write};
use crate::{Store, StoreError};

/// Counts one change.
pub(crate) async fn count(write: &mut Write) -> Result<(), StoreError> {
    row::count_up(write, "authority", 1).await.map(drop)
}

impl Store {
    /// The number of changes so far, by whichever process.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn authority_changes(&self) -> Result<i64, StoreError> {
        let sql = "SELECT value FROM counters WHERE name = 'authority'";
        row::number(
            &sqlx::query(sql).fetch_one(self.database.read()).await?,
            "value",
        )
    }
}
