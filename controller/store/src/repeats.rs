//! Audit entries of what happens again and again: the first at once, then one for each window of
//! time with a count.
//!
//! Two machines that fight over one identity reconnect every few seconds. The chain is for ever, so
//! it gets one entry when that begins and one an hour while it goes on, which says in `repeats` how
//! often it happened since the entry before.

use std::collections::BTreeMap;

use sqlx::Row as _;
use xiezhi_model::AuditEntry;

use crate::audit::{self, Texts};
use crate::row::{self, Write};
use crate::{Store, StoreError};

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Rows that are closed in one transaction.
const SLICE: i64 = 1000;

/// Chains `entry`, unless one with the same action, subject and `reason` was chained less than
/// `window_ms` ago: then it is counted.
pub(crate) async fn append(
    write: &mut Write,
    entry: &AuditEntry,
    reason: &str,
    window_ms: i64,
) -> Result<(), StoreError> {
    let key = row::storable(&format!("{}|{}|{reason}", entry.action, entry.subject));
    let sql = "UPDATE audit_repeats SET repeats = repeats + 1, actor = $2, detail = $3 \
               WHERE repeat_key = $1 AND closes_ms > $4 AND closes_ms - window_ms <= $4";
    let query = sqlx::query(sql)
        .bind(&key)
        .bind(row::storable(&entry.actor.to_string()))
        .bind(row::json_of(&entry.detail)?)
        .bind(entry.time_ms);
    if query.execute(&mut **write).await?.rows_affected() > 0 {
        return Ok(());
    }
    let earlier = take(write, &key).await?;
    let chained = with_repeats(entry.clone(), earlier);
    audit::append(write, &chained).await?;
    open(write, &key, entry, window_ms).await
}

/// Removes the window of `key`, which is over; how much it had counted.
async fn take(write: &mut Write, key: &str) -> Result<i64, StoreError> {
    let sql = "DELETE FROM audit_repeats WHERE repeat_key = $1 RETURNING repeats";
    let found = sqlx::query(sql).bind(key).fetch_optional(&mut **write);
    found
        .await?
        .map_or(Ok(0), |found| row::number(&found, "repeats"))
}

async fn open(
    write: &mut Write,
    key: &str,
    entry: &AuditEntry,
    window_ms: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit_repeats (repeat_key, actor, action, subject, detail, repeats, \
               window_ms, closes_ms) VALUES ($1, $2, $3, $4, $5, 0, $6, $7)";
    sqlx::query(sql)
        .bind(key)
        .bind(row::storable(&entry.actor.to_string()))
        .bind(row::storable(&entry.action))
        .bind(row::storable(&entry.subject))
        .bind(row::json_of(&entry.detail)?)
        .bind(window_ms)
        .bind(entry.time_ms.saturating_add(window_ms))
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn with_repeats(entry: AuditEntry, repeats: i64) -> AuditEntry {
    match repeats {
        0 => entry,
        repeats => entry.with("repeats", repeats.to_string()),
    }
}

impl Store {
    /// Chains an entry of something that may happen again and again: within an hour more of the same
    /// action and subject are only counted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn append_repeated_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        append(&mut write, entry, "", HOUR_MS).await?;
        write.commit().await?;
        Ok(())
    }

    /// Chains what was counted in windows that are over, and forgets those in which nothing was.
    /// To be called about once a minute.
    ///
    /// # Errors
    /// If the database fails; then nothing has changed.
    pub async fn close_audit_windows(&self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "SELECT repeat_key, actor, action, subject, detail, repeats, window_ms \
                   FROM audit_repeats WHERE closes_ms <= $1 ORDER BY closes_ms LIMIT $2";
        // Looked for without the write lock: nearly always there is nothing.
        let query = sqlx::query(sql).bind(now_ms).bind(SLICE);
        if query.fetch_all(self.database.read()).await?.is_empty() {
            return Ok(());
        }
        let mut write = self.database.write().await?;
        let query = sqlx::query(sql).bind(now_ms).bind(SLICE);
        for found in query.fetch_all(&mut *write).await? {
            let key = row::text(&found, "repeat_key")?;
            let repeats = row::number(&found, "repeats")?;
            if repeats == 0 {
                take(&mut write, &key).await?;
                continue;
            }
            let mut detail: BTreeMap<String, String> = row::json_map(&found, "detail")?;
            detail.insert("repeats".to_owned(), repeats.to_string());
            let texts = Texts {
                time_ms: now_ms,
                actor: found.try_get("actor")?,
                action: found.try_get("action")?,
                subject: found.try_get("subject")?,
                detail: row::json_of(&detail)?,
            };
            audit::append_texts(&mut write, &texts).await?;
            let closes_ms = now_ms.saturating_add(row::number(&found, "window_ms")?);
            let sql = "UPDATE audit_repeats SET repeats = 0, closes_ms = $2 WHERE repeat_key = $1";
            let query = sqlx::query(sql).bind(&key).bind(closes_ms);
            query.execute(&mut *write).await?;
        }
        write.commit().await?;
        Ok(())
    }
}
