//! Facts: what each host is made of, the newest description only. They arrive in event batches and
//! are stored with them (see [`crate::EventBatch::facts`]).

use sqlx::any::AnyRow;
use xiezhi_model::HostId;

use crate::row::{self, Write};
use crate::{EventBatch, Store, StoreError};

/// The newest description of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFacts {
    /// Whose.
    pub host: HostId,
    /// Epoch of the batch that brought it.
    pub epoch: u64,
    /// Number of the batch that brought it.
    pub seq: u64,
    /// When it was stored, Unix milliseconds.
    pub received_ms: i64,
    /// JSON text as the host sent it.
    pub json: String,
}

impl Store {
    /// The newest facts of a host.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn facts(&self, host: HostId) -> Result<Option<StoredFacts>, StoreError> {
        let sql = "SELECT host_id, epoch, seq, received_ms, json FROM facts WHERE host_id = $1";
        let row = sqlx::query(sql)
            .bind(host.0)
            .fetch_optional(self.database.read())
            .await?;
        row.as_ref().map(facts_from).transpose()
    }

    /// The newest facts of all hosts that have sent some, by host.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all_facts(&self) -> Result<Vec<StoredFacts>, StoreError> {
        let sql = "SELECT host_id, epoch, seq, received_ms, json FROM facts ORDER BY host_id";
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        rows.iter().map(facts_from).collect()
    }
}

/// Keeps the facts that a batch brought, unless newer ones are there: a backlog may come late.
pub(crate) async fn put(
    write: &mut Write,
    batch: &EventBatch,
    json: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO facts (host_id, epoch, seq, received_ms, json) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (host_id) DO UPDATE SET \
               epoch = excluded.epoch, seq = excluded.seq, received_ms = excluded.received_ms, \
               json = excluded.json WHERE excluded.epoch > facts.epoch \
               OR (excluded.epoch = facts.epoch AND excluded.seq > facts.seq)";
    sqlx::query(sql)
        .bind(batch.host.0)
        .bind(row::signed(batch.epoch))
        .bind(row::signed(batch.seq))
        .bind(now_ms)
        .bind(row::storable(json))
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn facts_from(row: &AnyRow) -> Result<StoredFacts, StoreError> {
    Ok(StoredFacts {
        host: HostId(row::number(row, "host_id")?),
        epoch: row::unsigned(row, "epoch")?,
        seq: row::unsigned(row, "seq")?,
        received_ms: row::number(row, "received_ms")?,
        json: row::text(row, "json")?,
    })
}
