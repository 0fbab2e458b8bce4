//! The audit log: hash-chained, written in the same transaction as the act.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use xiezhi_evidence::{Entry, Hash, Head, MAX_TEXT_BYTES, Record, Verifier};
use xiezhi_model::{AuditEntry, AuditRecord};

use crate::row::{self, Write};
use crate::{Store, StoreError};

/// Name of this chain; a record of another chain does not fit into it.
const CHAIN: &str = "audit";

/// Records that are verified at a time.
const SLICE: usize = 1000;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT seq, previous, time_ms, actor, action, subject, detail, detail_hash, hash ",
            "FROM audit ",
            $tail
        )
    };
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only entries on this subject.
    pub subject: Option<String>,
    /// Only entries whose action begins so: `host.` or `host.enrolled`.
    pub action: Option<String>,
    /// Only entries before this position: the last position of the page before.
    pub before: Option<i64>,
    /// Entries per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// What a walk over the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every link holds. Compare the head with one that was kept elsewhere: a chain whose newest
    /// entries were cut off still holds.
    Intact {
        /// Position of the newest entry; 0 for an empty chain.
        position: i64,
        /// Its digest, hex.
        hash: String,
    },
    /// The first place where it does not hold.
    Broken {
        /// Position that was expected there.
        position: i64,
        /// What is wrong, for a person.
        reason: String,
    },
}

impl Store {
    /// Chains an entry that belongs to no other change, and returns its position.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn append_audit(&self, entry: AuditEntry) -> Result<i64, StoreError> {
        let mut write = self.database.write().await?;
        let position = append(&mut write, &entry).await?;
        write.commit().await?;
        Ok(position)
    }

    /// One page of entries, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let limit = if query.limit == 0 {
            100
        } else {
            query.limit.min(1000)
        };
        // Not LIKE, for which `_` matches anything.
        let sql = select!(
            "WHERE seq < $1 AND ($2 = '' OR subject = $2) \
             AND ($3 = '' OR SUBSTR(action, 1, LENGTH($3)) = $3) \
             ORDER BY seq DESC LIMIT $4"
        );
        let rows = sqlx::query(sql)
            .bind(query.before.unwrap_or(i64::MAX))
            .bind(row::storable(query.subject.as_deref().unwrap_or_default()))
            .bind(row::storable(query.action.as_deref().unwrap_or_default()))
            .bind(i64::from(limit))
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(public_record).collect()
    }

    /// Walks the whole chain, in slices.
    ///
    /// # Errors
    /// If the database fails. A broken chain is no error but a verdict.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        let mut verifier = Verifier::new(Head::genesis(CHAIN));
        let mut position = 0;
        loop {
            let query = sqlx::query(select!("WHERE seq > $1 ORDER BY seq LIMIT $2"));
            let query = query.bind(position).bind(row::signed(SLICE as u64));
            let rows = query.fetch_all(self.database.read()).await?;
            for row in &rows {
                position = row::number(row, "seq")?;
                let Some(record) = chained_record(row)? else {
                    return Ok(broken(position, "its digests are unreadable"));
                };
                let detail: Option<String> = row.try_get("detail")?;
                let verdict = verifier.check(&record, detail.as_deref().map(str::as_bytes));
                if let Err(found) = verdict {
                    return Ok(broken(row::signed(found.seq), &found.reason.to_string()));
                }
            }
            if rows.len() < SLICE {
                let head = verifier.head();
                let (position, hash) = (row::signed(head.seq), head.hash.to_string());
                return Ok(AuditVerdict::Intact { position, hash });
            }
        }
    }
}

fn broken(position: i64, reason: &str) -> AuditVerdict {
    AuditVerdict::Broken {
        position,
        reason: reason.to_owned(),
    }
}

/// An entry as it is stored: storable texts, the detail as JSON.
pub(crate) struct Texts {
    pub(crate) time_ms: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
}

/// Chains an entry in the transaction of its act; returns its position.
pub(crate) async fn append(write: &mut Write, entry: &AuditEntry) -> Result<i64, StoreError> {
    let texts = Texts {
        time_ms: entry.time_ms,
        actor: row::storable(&entry.actor.to_string()),
        action: row::storable(&entry.action),
        subject: row::storable(&entry.subject),
        detail: row::json_of(&entry.detail)?,
    };
    append_texts(write, &texts).await
}

/// As [`append`], for an entry that was stored before.
pub(crate) async fn append_texts(write: &mut Write, texts: &Texts) -> Result<i64, StoreError> {
    let entry = Entry {
        time_ms: texts.time_ms,
        // An overlong name must not keep an act from being recorded.
        actor: row::cut(&texts.actor, MAX_TEXT_BYTES),
        action: row::cut(&texts.action, MAX_TEXT_BYTES),
        subject: row::cut(&texts.subject, MAX_TEXT_BYTES),
        detail: texts.detail.as_bytes(),
    };
    let head = head(write).await?;
    let appended = xiezhi_evidence::append(&head, &entry);
    let record = appended.map_err(|error| StoreError::Impossible(error.to_string()))?;
    insert(write, &record, &texts.detail).await?;
    Ok(row::signed(record.seq))
}

async fn head(write: &mut Write) -> Result<Head, StoreError> {
    let query = sqlx::query("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
    let Some(row) = query.fetch_optional(&mut **write).await? else {
        return Ok(Head::genesis(CHAIN));
    };
    let damaged = || StoreError::Impossible("the newest audit record's hash".to_owned());
    let hash = row::text(&row, "hash")?.parse().map_err(|_| damaged())?;
    Ok(Head {
        seq: row::unsigned(&row, "seq")?,
        hash,
    })
}

async fn insert(write: &mut Write, record: &Record, detail: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (seq, previous, time_ms, actor, action, subject, detail, \
               detail_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(row::signed(record.seq))
        .bind(record.previous.to_string())
        .bind(record.time_ms)
        .bind(&record.actor)
        .bind(&record.action)
        .bind(&record.subject)
        .bind(detail)
        .bind(record.detail_hash.to_string())
        .bind(record.hash.to_string())
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// The record as it was chained; `None` if a digest is no digest any more.
fn chained_record(row: &AnyRow) -> Result<Option<Record>, StoreError> {
    let digest = |column| Ok::<_, StoreError>(row::text(row, column)?.parse::<Hash>().ok());
    let (previous, detail_hash, hash) =
        (digest("previous")?, digest("detail_hash")?, digest("hash")?);
    let (Some(previous), Some(detail_hash), Some(hash)) = (previous, detail_hash, hash) else {
        return Ok(None);
    };
    Ok(Some(Record {
        seq: row::unsigned(row, "seq")?,
        previous,
        time_ms: row::number(row, "time_ms")?,
        actor: row::text(row, "actor")?,
        action: row::text(row, "action")?,
        subject: row::text(row, "subject")?,
        detail_hash,
        hash,
    }))
}

fn public_record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
    let detail: Option<String> = row.try_get("detail")?;
    Ok(AuditRecord {
        position: row::number(row, "seq")?,
        time_ms: row::number(row, "time_ms")?,
        actor: row::text(row, "actor")?,
        action: row::text(row, "action")?,
        subject: row::text(row, "subject")?,
        // Unreadable detail is for `verify_audit` to report; the list must stay readable.
        detail: detail
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        hash: row::text(row, "hash")?,
    })
}
