//! The audit log: hash-chained, written in the same transaction as the act. Its head is kept in a row of
//! its own, so that newest entries which were cut off are missed.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use xiezhi_evidence::{ChainLine, Entry, Hash, Head, MAX_TEXT_BYTES, Record, Verifier};
use xiezhi_model::{AuditEntry, AuditRecord};

use crate::row::{self, Write};
use crate::{Store, StoreError, audit_search};

/// Name of this chain; a record of another chain does not fit into it.
const CHAIN: &str = "audit";

/// Entries that one statement writes: 200 × 9 values are within what both databases take.
const AT_ONCE: usize = 200;

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
    /// Only what this actor did, as entries have it: `user:admin`, `host:12`, `system`.
    pub actor: Option<String>,
    /// Only entries of this time, Unix milliseconds, or later.
    pub from_ms: Option<i64>,
    /// Only entries of this time, Unix milliseconds, or earlier.
    pub to_ms: Option<i64>,
    /// Only entries on this item of the register.
    pub item: Option<i64>,
    /// Only entries before this position: the last position of the page before.
    pub before: Option<i64>,
    /// Entries per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// What a walk over the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every link holds, up to the head that the database keeps apart. Who can write to the database can
    /// rewrite both: only a head that was kept elsewhere shows that.
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

    /// Chains many entries in one transaction, in their order.
    ///
    /// # Errors
    /// If the database fails; then none of them is there.
    pub async fn append_audits(&self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        for some in entries.chunks(AT_ONCE) {
            let texts = some.iter().map(texts_of);
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            append_all(&mut write, &texts).await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Where the chain ends, by what is kept apart from its entries.
    ///
    /// # Errors
    /// If the database fails, or what is kept is no head.
    pub async fn audit_head(&self) -> Result<Head, StoreError> {
        head_from(
            sqlx::query(HEAD)
                .fetch_optional(self.database.read())
                .await?,
        )
    }

    /// Position of the entry with this digest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_position(&self, hash: &Hash) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query("SELECT seq FROM audit WHERE hash = $1").bind(hash.to_string());
        let row = query.fetch_optional(self.database.read()).await?;
        row.map(|row| row::number(&row, "seq")).transpose()
    }

    /// The next entries after a position, oldest first, as a file of the chain has them; none: it ends.
    ///
    /// # Errors
    /// If the database fails, or a digest is none any more.
    pub async fn audit_lines(&self, after: i64) -> Result<Vec<ChainLine>, StoreError> {
        let rows = self.slice(after).await?;
        let lines = rows.iter().map(|row| {
            let position = row::number(row, "seq")?;
            let record = chained_record(row)?;
            let damaged = || StoreError::Impossible(format!("a digest of audit entry {position}"));
            Ok(ChainLine {
                record: record.ok_or_else(damaged)?,
                detail: row.try_get("detail")?,
            })
        });
        lines.collect()
    }

    async fn slice(&self, after: i64) -> Result<Vec<AnyRow>, StoreError> {
        let query = sqlx::query(select!("WHERE seq > $1 ORDER BY seq LIMIT $2"));
        let query = query.bind(after).bind(row::signed(SLICE as u64));
        Ok(query.fetch_all(self.database.read()).await?)
    }

    /// Walks the whole chain, in slices, and compares its end with the head that is kept apart.
    ///
    /// # Errors
    /// If the database fails. A broken chain is no error but a verdict.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        let kept = match self.audit_head().await {
            Ok(kept) => kept,
            Err(StoreError::Impossible(_)) => return Ok(broken(0, NO_HEAD)),
            Err(error) => return Err(error),
        };
        let mut verifier = Verifier::new(Head::genesis(CHAIN));
        let mut position = 0;
        loop {
            let rows = self.slice(position).await?;
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
                if record.seq == kept.seq && record.hash != kept.hash {
                    return Ok(broken(position, "it is not the entry that was written"));
                }
            }
            if rows.len() < SLICE {
                return self.end_of(verifier.head(), kept).await;
            }
        }
    }

    /// Whether the walk ended where the chain does: `kept` before the walk, or later.
    async fn end_of(&self, walked: Head, kept: Head) -> Result<AuditVerdict, StoreError> {
        let next = row::signed(walked.seq.saturating_add(1));
        if walked.seq < kept.seq {
            let reason = format!("it and all up to entry {} are missing", kept.seq);
            return Ok(broken(next, &reason));
        }
        let now = self.audit_head().await?;
        if walked.seq > now.seq {
            let first = row::signed(now.seq.saturating_add(1));
            return Ok(broken(first, "it was not written by the controller"));
        }
        if let Some(first) = self.wrong_audit_span().await? {
            return Ok(broken(first, WRONG_SPAN));
        }
        Ok(AuditVerdict::Intact {
            position: row::signed(walked.seq),
            hash: walked.hash.to_string(),
        })
    }
}

const NO_HEAD: &str = "the head that is kept apart from the entries is gone";

const WRONG_SPAN: &str = "the times that are kept of it and the entries after it are not theirs: a search for \
                          a time passes them over";

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
    append_texts(write, &texts_of(entry)?).await
}

fn texts_of(entry: &AuditEntry) -> Result<Texts, StoreError> {
    Ok(Texts {
        time_ms: entry.time_ms,
        actor: row::storable(&entry.actor.to_string()),
        action: row::storable(&entry.action),
        subject: row::storable(&entry.subject),
        detail: row::json_of(&entry.detail)?,
    })
}

/// As [`append`], for an entry that was stored before.
pub(crate) async fn append_texts(write: &mut Write, texts: &Texts) -> Result<i64, StoreError> {
    append_all(write, std::slice::from_ref(texts)).await
}

/// Chains some entries; the position of the last.
async fn append_all(write: &mut Write, all: &[Texts]) -> Result<i64, StoreError> {
    let mut end = head(write).await?;
    let mut records = Vec::with_capacity(all.len());
    for texts in all {
        let entry = Entry {
            time_ms: texts.time_ms,
            // An overlong name must not keep an act from being recorded.
            actor: row::cut(&texts.actor, MAX_TEXT_BYTES),
            action: row::cut(&texts.action, MAX_TEXT_BYTES),
            subject: row::cut(&texts.subject, MAX_TEXT_BYTES),
            detail: texts.detail.as_bytes(),
        };
        let appended = xiezhi_evidence::append(&end, &entry);
        let record = appended.map_err(|error| StoreError::Impossible(error.to_string()))?;
        end = Head {
            seq: record.seq,
            hash: record.hash,
        };
        records.push((record, texts.detail.as_str()));
    }
    insert(write, &records).await?;
    let spans = records
        .iter()
        .map(|(record, _)| (row::signed(record.seq), record.time_ms));
    audit_search::keep_spans(write, spans).await?;
    let sql = "UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1";
    let query = sqlx::query(sql)
        .bind(row::signed(end.seq))
        .bind(end.hash.to_string());
    query.execute(&mut **write).await?;
    Ok(row::signed(end.seq))
}

const HEAD: &str = "SELECT seq, hash FROM audit_head WHERE id = 1";

/// Where the chain ends by what was written down apart from it: the newest entries that are there say
/// nothing of those that were cut off.
async fn head(write: &mut Write) -> Result<Head, StoreError> {
    head_from(sqlx::query(HEAD).fetch_optional(&mut **write).await?)
}

fn head_from(row: Option<AnyRow>) -> Result<Head, StoreError> {
    let gone = || StoreError::Impossible("the head of the audit chain is gone".to_owned());
    let row = row.ok_or_else(gone)?;
    let seq = row::unsigned(&row, "seq")?;
    if seq == 0 {
        return Ok(Head::genesis(CHAIN));
    }
    let damaged = || StoreError::Impossible("the hash of the audit chain's head".to_owned());
    let hash = row::text(&row, "hash")?.parse().map_err(|_| damaged())?;
    Ok(Head { seq, hash })
}

/// At most [`AT_ONCE`] of them.
async fn insert(write: &mut Write, records: &[(Record, &str)]) -> Result<(), StoreError> {
    let places = row::placeholders(records.len(), 9);
    let sql = format!(
        "INSERT INTO audit (seq, previous, time_ms, actor, action, subject, detail, detail_hash, hash) \
         VALUES {places}"
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (record, detail) in records {
        query = query
            .bind(row::signed(record.seq))
            .bind(record.previous.to_string())
            .bind(record.time_ms)
            .bind(record.actor.clone())
            .bind(record.action.clone())
            .bind(record.subject.clone())
            .bind((*detail).to_owned())
            .bind(record.detail_hash.to_string())
            .bind(record.hash.to_string());
    }
    query.execute(&mut **write).await?;
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

pub(crate) fn public_record(row: &AnyRow) -> Result<AuditRecord, StoreError> {
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
