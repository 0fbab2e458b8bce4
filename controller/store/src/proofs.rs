//! Batches of security events as they came, each a record of the chain `security`.
//!
//! The chained record says when which batch of which host was stored, what its signature was found to
//! be, which events it brought and what its bytes hash to. So nobody who can write this database
//! changes a batch, its judgement, or which events belong to it, without breaking the chain; and
//! nobody but the host could have signed the batch. The chain's head is chained into the audit record
//! once a day ([`Store::anchor_evidence`]).

use data_encoding::BASE64;
use sqlx::any::AnyRow;
use xiezhi_evidence::{Entry, Hash, Head, Record};
use xiezhi_model::{Actor, AuditEntry, AuditRecord, HostId, Signature};

use crate::events::{DAY_MS, EventBatch};
use crate::repeats::{self, HOUR_MS};
use crate::row::{self, Write};
use crate::{AuditQuery, Store, StoreError, audit};

/// Name of the chain.
pub(crate) const CHAIN: &str = "security";

/// What the audit record calls a head of this chain, and on what.
const ANCHORED: &str = "evidence.anchored";
const ANCHOR_SUBJECT: &str = "chain:security";

/// Columns of a proof, in one place because four statements read them.
macro_rules! select_proof {
    ($tail:literal) => {
        concat!(
            "SELECT p.seq, p.previous, p.time_ms, p.host_id, p.epoch, p.batch_seq, p.signature, ",
            "p.first_event, p.events, p.batch, p.hash, h.evidence_key ",
            "FROM batch_proofs p JOIN hosts h ON h.id = p.host_id ",
            $tail
        )
    };
}
pub(crate) use select_proof;

/// A batch as it came, for [`EventBatch::proof`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchProof {
    /// What its signature was found to be.
    pub signature: Signature,
    /// Its bytes.
    pub batch: Vec<u8>,
}

/// One row of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) seq: u64,
    pub(crate) previous: Hash,
    pub(crate) time_ms: i64,
    pub(crate) host: HostId,
    pub(crate) epoch: u64,
    /// As the database keeps it: absurd numbers are negative.
    pub(crate) batch_seq: i64,
    pub(crate) signature: Signature,
    pub(crate) first_event: i64,
    pub(crate) events: i64,
    pub(crate) batch: Vec<u8>,
    pub(crate) hash: Hash,
    pub(crate) evidence_key: String,
}

impl Proof {
    /// The record that is chained, without its place.
    fn record_after(&self, head: &Head) -> Result<Record, StoreError> {
        let (actor, subject, detail) = self.texts();
        let entry = Entry {
            time_ms: self.time_ms,
            actor: &actor,
            action: "batch",
            subject: &subject,
            detail: detail.as_bytes(),
        };
        let record = xiezhi_evidence::append(head, &entry);
        record.map_err(|error| StoreError::Impossible(error.to_string()))
    }

    fn texts(&self) -> (String, String, String) {
        let actor = Actor::Host(self.host).to_string();
        let subject = format!("security/{}/{}", self.epoch, self.batch_seq.cast_unsigned());
        (actor, subject, self.detail())
    }

    /// The chained record's detail: `signature=good events=17+3 sha256=…`.
    pub(crate) fn detail(&self) -> String {
        format!(
            "signature={} events={}+{} sha256={}",
            self.signature.word(),
            self.first_event,
            self.events,
            Hash::of(&self.batch)
        )
    }

    /// The record as it stands, to be verified.
    pub(crate) fn record(&self) -> Record {
        let (actor, subject, detail) = self.texts();
        Record {
            seq: self.seq,
            previous: self.previous,
            time_ms: self.time_ms,
            actor,
            action: "batch".to_owned(),
            subject,
            detail_hash: Hash::of(detail.as_bytes()),
            hash: self.hash,
        }
    }
}

/// Chains a batch that was stored just now; `first_event` is the number of its first event.
pub(crate) async fn append(
    write: &mut Write,
    head: &mut Option<Head>,
    batch: &EventBatch,
    first_event: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some(BatchProof {
        signature,
        batch: bytes,
    }) = &batch.proof
    else {
        return Ok(());
    };
    let before = match head.take() {
        Some(head) => head,
        None => read_head(write).await?,
    };
    let mut proof = Proof {
        seq: 0,
        previous: before.hash,
        time_ms: now_ms,
        host: batch.host,
        epoch: batch.epoch,
        batch_seq: batch.seq.cast_signed(),
        signature: *signature,
        first_event: if batch.events.is_empty() {
            0
        } else {
            first_event
        },
        events: row::signed(batch.events.len() as u64),
        batch: bytes.clone(),
        hash: before.hash,
        evidence_key: String::new(),
    };
    let record = proof.record_after(&before)?;
    (proof.seq, proof.hash) = (record.seq, record.hash);
    *head = Some(record.head());
    insert(write, &proof).await?;
    tell(write, batch, *signature, now_ms).await
}

async fn insert(write: &mut Write, proof: &Proof) -> Result<(), StoreError> {
    let sql = "INSERT INTO batch_proofs (seq, previous, time_ms, host_id, epoch, batch_seq, \
               signature, first_event, events, batch, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    sqlx::query(sql)
        .bind(row::signed(proof.seq))
        .bind(proof.previous.to_string())
        .bind(proof.time_ms)
        .bind(proof.host.0)
        .bind(row::signed(proof.epoch))
        .bind(proof.batch_seq)
        .bind(proof.signature.number())
        .bind(proof.first_event)
        .bind(proof.events)
        .bind(BASE64.encode(&proof.batch))
        .bind(proof.hash.to_string())
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// A batch that its host did not sign is kept like any other, and audited: an agent of an earlier
/// release once a day, a wrong signature once an hour.
async fn tell(
    write: &mut Write,
    batch: &EventBatch,
    signature: Signature,
    now_ms: i64,
) -> Result<(), StoreError> {
    let (action, window_ms) = match signature {
        Signature::NotExpected | Signature::Good => return Ok(()),
        Signature::Missing => ("host.evidence_unsigned", 24 * HOUR_MS),
        Signature::Bad => ("host.evidence_signature_bad", HOUR_MS),
    };
    let subject = format!("host:{}", batch.host);
    let entry = AuditEntry::new(now_ms, Actor::Host(batch.host), action, subject)
        .with("stream", batch.stream.word())
        .with("epoch", batch.epoch.to_string())
        .with("seq", batch.seq.to_string());
    repeats::append(write, &entry, signature.word(), window_ms).await
}

async fn read_head(write: &mut Write) -> Result<Head, StoreError> {
    let query = sqlx::query("SELECT seq, hash FROM batch_proofs ORDER BY seq DESC LIMIT 1");
    match query.fetch_optional(&mut **write).await? {
        Some(row) => head_from(&row),
        None => Ok(Head::genesis(CHAIN)),
    }
}

fn head_from(row: &AnyRow) -> Result<Head, StoreError> {
    Ok(Head {
        seq: row::unsigned(row, "seq")?,
        hash: digest(row, "hash")?,
    })
}

fn digest(row: &AnyRow, column: &str) -> Result<Hash, StoreError> {
    let damaged = |_| StoreError::Impossible(format!("{column} of a batch's proof"));
    row::text(row, column)?.parse().map_err(damaged)
}

/// A row of [`select_proof`].
pub(crate) fn proof_from(row: &AnyRow) -> Result<Proof, StoreError> {
    let batch = BASE64.decode(row::text(row, "batch")?.as_bytes());
    Ok(Proof {
        seq: row::unsigned(row, "seq")?,
        previous: digest(row, "previous")?,
        time_ms: row::number(row, "time_ms")?,
        host: HostId(row::number(row, "host_id")?),
        epoch: row::unsigned(row, "epoch")?,
        batch_seq: row::number(row, "batch_seq")?,
        signature: Signature::from_number(row::number(row, "signature")?),
        first_event: row::number(row, "first_event")?,
        events: row::number(row, "events")?,
        // Not base64 any more: an empty batch does not have the digest that was chained.
        batch: batch.unwrap_or_default(),
        hash: digest(row, "hash")?,
        evidence_key: row::text(row, "evidence_key")?,
    })
}

/// Deletes at most `most` proofs from before `before_ms`, the oldest first and never the newest, which
/// holds the chain's head; how many. It never leaves a hole behind.
pub(crate) async fn delete_expired(
    write: &mut Write,
    before_ms: i64,
    most: i64,
) -> Result<u64, StoreError> {
    let sql = "SELECT seq, time_ms FROM batch_proofs ORDER BY seq LIMIT $1";
    // One more than may go: the last one of them is kept if it is the newest of all.
    let query = sqlx::query(sql).bind(most.saturating_add(1));
    let rows = query.fetch_all(&mut **write).await?;
    let mut last = None;
    for row in rows.iter().take(rows.len().saturating_sub(1)) {
        if row::number(row, "time_ms")? >= before_ms {
            break;
        }
        last = Some(row::number(row, "seq")?);
    }
    let Some(last) = last else { return Ok(0) };
    let query = sqlx::query("DELETE FROM batch_proofs WHERE seq <= $1").bind(last);
    Ok(query.execute(&mut **write).await?.rows_affected())
}

impl Store {
    /// Chains the head of the evidence into the audit record, once a day and only if it moved:
    /// whoever rewrites the evidence must then rewrite the audit record too. To be called every
    /// minute or more seldom.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn anchor_evidence(&self, now_ms: i64) -> Result<(), StoreError> {
        // Without evidence there is no anchor either, and looking for one walks the whole record.
        let any = sqlx::query("SELECT seq FROM batch_proofs LIMIT 1");
        if any.fetch_optional(self.database.read()).await?.is_none() {
            return Ok(());
        }
        let newest = self.anchor_page(None, 1).await?.into_iter().next();
        // A clock that was set back does not hold it up.
        let is_recent = |at: i64| at > now_ms.saturating_sub(DAY_MS) && at <= now_ms;
        if newest
            .as_ref()
            .is_some_and(|newest| is_recent(newest.time_ms))
        {
            return Ok(());
        }
        let known = newest
            .as_ref()
            .and_then(anchor_of)
            .map_or(0, |known| known.0);
        let mut write = self.database.write().await?;
        let head = read_head(&mut write).await?;
        if head.seq <= known {
            return Ok(());
        }
        let entry = AuditEntry::new(now_ms, Actor::System, ANCHORED, ANCHOR_SUBJECT)
            .with("position", head.seq.to_string())
            .with("hash", head.hash.to_string());
        audit::append(&mut write, &entry).await?;
        write.commit().await?;
        Ok(())
    }

    /// Every head that the audit record holds: position and digest, newest first.
    pub(crate) async fn anchors(&self) -> Result<Vec<(u64, String)>, StoreError> {
        let mut anchors = Vec::new();
        let mut before = None;
        loop {
            let page = self.anchor_page(before, 1000).await?;
            anchors.extend(page.iter().filter_map(anchor_of));
            match page.last() {
                Some(last) if page.len() == 1000 => before = Some(last.position),
                _ => return Ok(anchors),
            }
        }
    }

    async fn anchor_page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let query = AuditQuery {
            subject: Some(ANCHOR_SUBJECT.to_owned()),
            action: Some(ANCHORED.to_owned()),
            before,
            limit,
            ..AuditQuery::default()
        };
        self.audit(&query).await
    }
}

fn anchor_of(record: &AuditRecord) -> Option<(u64, String)> {
    let position = record.detail.get("position")?.parse().ok()?;
    Some((position, record.detail.get("hash")?.clone()))
}
