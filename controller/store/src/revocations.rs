//! The list of revocations, numbered so that a running controller can poll for what is new.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use xiezhi_model::{HostId, Revocation};

use crate::row::{self, Write};
use crate::{Store, StoreError};

impl Store {
    /// Revocations with a change number above `change`, oldest first. Cheap when there are none: a
    /// controller asks every second, because another process may have revoked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revocations_since(&self, change: i64) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT change_number, host_id, serial, time_ms, reason FROM revocations \
                   WHERE change_number > $1 ORDER BY change_number";
        let rows = sqlx::query(sql)
            .bind(change)
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(revocation_from).collect()
    }

    /// The newest change number; 0 before the first revocation.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn latest_revocation(&self) -> Result<i64, StoreError> {
        let sql = "SELECT value FROM counters WHERE name = 'revocations'";
        row::number(
            &sqlx::query(sql).fetch_one(self.database.read()).await?,
            "value",
        )
    }
}

pub(crate) async fn append(
    write: &mut Write,
    host: HostId,
    serial: Option<&str>,
    time_ms: i64,
    reason: &str,
) -> Result<i64, StoreError> {
    let change = row::count_up(write, "revocations", 1).await?;
    let sql = "INSERT INTO revocations (change_number, host_id, serial, time_ms, reason) \
               VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(sql)
        .bind(change)
        .bind(host.0)
        .bind(serial)
        .bind(time_ms)
        .bind(row::storable(reason))
        .execute(&mut **write)
        .await?;
    Ok(change)
}

fn revocation_from(row: &AnyRow) -> Result<Revocation, StoreError> {
    Ok(Revocation {
        change: row::number(row, "change_number")?,
        host: HostId(row::number(row, "host_id")?),
        serial: row.try_get("serial")?,
        time_ms: row::number(row, "time_ms")?,
        reason: row::text(row, "reason")?,
    })
}
