//! What happened to an item.

use xiezhi_model::ItemChange;

use super::rows::{Source, Value, change_from};
use crate::{Store, StoreError};

impl Store {
    /// One page of an item's history, newest first: entries before the number `before`, at most `limit`.
    /// Whether the caller may see the item is asked before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn register_history(
        &self,
        item: i64,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ItemChange>, StoreError> {
        let sql = "SELECT id, time_ms, actor, action, import_id, changes FROM register_changes \
                   WHERE item_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let numbers = [item, before.unwrap_or(i64::MAX), i64::from(limit)];
        let values = numbers.map(Value::Number).to_vec();
        let mut source = Source::Reading(&self.database);
        let rows = source.rows(sql.to_owned(), values).await?;
        rows.iter().map(change_from).collect()
    }
}
