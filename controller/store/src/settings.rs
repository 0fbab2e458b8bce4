//! Dated settings: values that rules and people decide, each with its source.

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, Setting};

use crate::row;
use crate::{Store, StoreError, audit};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT setting_key, value, valid_from_ms, source FROM settings s ",
            $tail
        )
    };
}

impl Store {
    /// The value of `key` that applies at `now_ms`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn setting(&self, key: &str, now_ms: i64) -> Result<Option<Setting>, StoreError> {
        let sql = select!(
            "WHERE setting_key = $1 AND valid_from_ms <= $2 ORDER BY valid_from_ms DESC LIMIT 1"
        );
        let query = sqlx::query(sql).bind(key).bind(now_ms);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(setting_from)
            .transpose()
    }

    /// All values that apply at `now_ms`, by key.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn settings_at(&self, now_ms: i64) -> Result<Vec<Setting>, StoreError> {
        let sql = select!(
            "WHERE valid_from_ms <= $1 AND NOT EXISTS (SELECT 1 FROM settings n \
             WHERE n.setting_key = s.setting_key AND n.valid_from_ms <= $1 \
             AND n.valid_from_ms > s.valid_from_ms) ORDER BY setting_key"
        );
        let rows = sqlx::query(sql)
            .bind(now_ms)
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(setting_from).collect()
    }

    /// A pair of numbers that differs whenever other values of the keys that begin with `prefix`
    /// apply at `now_ms`: how many there are, and the date of the newest. Cheap enough to be asked
    /// every second.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn settings_mark(&self, prefix: &str, now_ms: i64) -> Result<(i64, i64), StoreError> {
        let sql = "SELECT COUNT(*) AS number, COALESCE(MAX(valid_from_ms), 0) AS newest \
                   FROM settings WHERE setting_key LIKE $1 AND valid_from_ms <= $2";
        let query = sqlx::query(sql).bind(format!("{prefix}%")).bind(now_ms);
        let row = query.fetch_one(self.database.read()).await?;
        Ok((row::number(&row, "number")?, row::number(&row, "newest")?))
    }

    /// All values that `key` has had or will have, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn setting_history(&self, key: &str) -> Result<Vec<Setting>, StoreError> {
        let query = sqlx::query(select!(
            "WHERE setting_key = $1 ORDER BY valid_from_ms DESC"
        ));
        let rows = query.bind(key).fetch_all(self.database.read()).await?;
        rows.iter().map(setting_from).collect()
    }

    /// Adds a value that applies from its date; earlier values stay on record.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the key has a value of the same date.
    pub async fn add_setting(
        &self,
        setting: &Setting,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "INSERT INTO settings (setting_key, valid_from_ms, value, source) \
                   VALUES ($1, $2, $3, $4) ON CONFLICT (setting_key, valid_from_ms) DO NOTHING";
        let done = sqlx::query(sql)
            .bind(row::storable(&setting.key))
            .bind(setting.valid_from_ms)
            .bind(row::storable(&setting.value))
            .bind(row::storable(&setting.source))
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists(format!(
                "value of {} with this date",
                setting.key
            )));
        }
        let audit = audit
            .with("value", &setting.value)
            .with("source", &setting.source);
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

fn setting_from(row: &AnyRow) -> Result<Setting, StoreError> {
    Ok(Setting {
        key: row::text(row, "setting_key")?,
        value: row::text(row, "value")?,
        valid_from_ms: row::number(row, "valid_from_ms")?,
        source: row::text(row, "source")?,
    })
}
