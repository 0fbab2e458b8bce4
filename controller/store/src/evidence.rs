//! Verifying what hosts signed, and taking one event out with its proof.
//!
//! Verification walks the whole chain of batches and compares everything that hangs together: each
//! link, each batch with its signature and its host's key, the key with the enrolment in the audit
//! record, each stored event with the batch that brought it, the heads that the audit record holds,
//! and how many security events there are with how many the batches brought. It only reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xiezhi_evidence::{Head, Record, Verifier, judge, signed_text};
use xiezhi_model::{EventStream, HostId, Signature};
use xiezhi_protocol::batch::{Stream, read_events};

use crate::events::DAY_MS;
use crate::proofs::{CHAIN, Proof, proof_from, select_proof};
use crate::row;
use crate::wire_events::KeptEvents;
use crate::{AuditQuery, NewEvent, Store, StoreError};

/// Proofs that are read at a time.
const SLICE: i64 = 500;

/// Failures that are listed; all are counted.
pub const LISTED_FAILURES: usize = 1000;

/// Which batches to look into. Links and heads are always checked for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvidenceQuery {
    /// Only batches of this host.
    pub host: Option<HostId>,
    /// Only batches that were stored at this time or later, Unix milliseconds.
    pub from_ms: Option<i64>,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceFailure {
    /// Place in the chain; 0 if it is about none.
    pub position: u64,
    /// Whose batch it is, if it is about one.
    pub host: Option<HostId>,
    /// What is wrong, for a person.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceReport {
    /// Links of the chain that were checked.
    pub links: u64,
    /// Place of the oldest that is still kept; 0 if there is none.
    pub first: u64,
    /// Place and digest of the newest: compare them with ones that were kept elsewhere.
    pub head: Option<(u64, String)>,
    /// Heads in the audit record that were compared.
    pub anchors: u64,
    /// Batches that were looked into.
    pub batches: u64,
    /// Those of them that their host's key signed.
    pub good: u64,
    /// Those that came without a signature.
    pub missing: u64,
    /// Those that came with a wrong signature, and were marked so then.
    pub bad: u64,
    /// Events that were compared with what was signed.
    pub events: u64,
    /// The first [`LISTED_FAILURES`] things that do not hold.
    pub failures: Vec<EvidenceFailure>,
    /// How many do not hold.
    pub failed: u64,
}

impl EvidenceReport {
    fn fail(&mut self, position: u64, host: Option<HostId>, what: impl Into<String>) {
        self.failed += 1;
        if self.failures.len() < LISTED_FAILURES {
            let what = what.into();
            self.failures.push(EvidenceFailure {
                position,
                host,
                what,
            });
        }
    }
}

/// One event with everything that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventProof {
    /// Whose event it is.
    pub host: HostId,
    /// What its batch's signature was found to be when it came.
    pub signature: Signature,
    /// The batch's bytes as they came.
    pub batch: Vec<u8>,
    /// The batch's content: JSON, exactly as the agent wrote it.
    pub content: Vec<u8>,
    /// The text that was signed; `None` if the batch came unsigned.
    pub signed_text: Option<String>,
    /// The signature, Ed25519.
    pub signature_bytes: Option<Vec<u8>>,
    /// The host's public key, hex.
    pub evidence_key: String,
    /// Epoch under which the batch is counted.
    pub epoch: u64,
    /// The batch's record in the chain `security`.
    pub record: Record,
    /// The detail that the record's `detail_hash` is over.
    pub detail: String,
    /// Which of the batch's kept events it is, from 0.
    pub index: u64,
}

impl Store {
    /// Verifies the evidence as it stands; `now_ms` tells what retention may have removed.
    ///
    /// # Errors
    /// If the database fails, or holds digests that are none. Evidence that does not hold is no error
    /// but part of the report.
    pub async fn verify_evidence(
        &self,
        query: &EvidenceQuery,
        now_ms: i64,
    ) -> Result<EvidenceReport, StoreError> {
        let mut walk = Walk::new(self, query, now_ms).await?;
        let mut after = 0;
        loop {
            let rows = sqlx::query(select_proof!("WHERE p.seq > $1 ORDER BY p.seq LIMIT $2"))
                .bind(after)
                .bind(SLICE)
                .fetch_all(self.database.read())
                .await?;
            for row in &rows {
                after = row::number(row, "seq")?;
                walk.take(&proof_from(row)?).await?;
            }
            if row::signed(rows.len() as u64) < SLICE {
                break;
            }
        }
        walk.finish().await
    }

    /// The proof of the event with this number; `None` if there is no such event, or none is kept
    /// because it is an ordinary one or older than this part of the program.
    ///
    /// # Errors
    /// [`StoreError::Impossible`] if the batch is not readable any more.
    pub async fn event_proof(&self, event: i64) -> Result<Option<EventProof>, StoreError> {
        let sql = select_proof!(
            "WHERE p.first_event <= $1 AND p.first_event > 0 AND p.first_event + p.events > $1 \
             ORDER BY p.first_event DESC LIMIT 1"
        );
        let query = sqlx::query(sql).bind(event);
        let Some(row) = query.fetch_optional(self.database.read()).await? else {
            return Ok(None);
        };
        let proof = proof_from(&row)?;
        let read = read_events(&proof.batch)
            .map_err(|error| StoreError::Impossible(format!("batch of event {event}: {error}")))?;
        let signature = read.signature.as_ref();
        Ok(Some(EventProof {
            host: proof.host,
            signature: proof.signature,
            signed_text: signed_text(Stream::Security, &read),
            signature_bytes: signature.map(|signature| signature.bytes.to_vec()),
            evidence_key: proof.evidence_key.clone(),
            epoch: proof.epoch,
            record: proof.record(),
            detail: proof.detail(),
            index: (event - proof.first_event).unsigned_abs(),
            content: read.content,
            batch: proof.batch,
        }))
    }
}

/// A verification under way.
struct Walk<'a> {
    store: &'a Store,
    query: &'a EvidenceQuery,
    report: EvidenceReport,
    verifier: Option<Verifier>,
    anchors: HashMap<u64, String>,
    newest_anchor: u64,
    /// Events of batches from before this time may have been deleted.
    events_from_ms: i64,
    /// First and last event of the batches since then, and how many they brought.
    brought: Option<(i64, i64, i64)>,
    keys: BTreeSet<HostId>,
}

impl<'a> Walk<'a> {
    async fn new(
        store: &'a Store,
        query: &'a EvidenceQuery,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let days = store.retention_days("security_retention_days", now_ms);
        let days = days.await?.unwrap_or(i64::MAX);
        let anchors: HashMap<u64, String> = store.anchors().await?.into_iter().collect();
        Ok(Self {
            store,
            query,
            report: EvidenceReport::default(),
            verifier: None,
            newest_anchor: anchors.keys().copied().max().unwrap_or(0),
            anchors,
            events_from_ms: now_ms.saturating_sub(days.saturating_mul(DAY_MS)),
            brought: None,
            keys: BTreeSet::new(),
        })
    }

    /// Checks one link, and looks into its batch if it is asked for.
    async fn take(&mut self, proof: &Proof) -> Result<(), StoreError> {
        self.link(proof);
        let kept = proof.time_ms >= self.events_from_ms;
        if kept && proof.events > 0 {
            let last = proof.first_event + proof.events - 1;
            let (first, _, count) = self.brought.unwrap_or((proof.first_event, 0, 0));
            self.brought = Some((first, last, count + proof.events));
        }
        let asked = self.query.host.is_none_or(|host| host == proof.host)
            && self.query.from_ms.is_none_or(|from| proof.time_ms >= from);
        if asked {
            self.look_into(proof, kept).await?;
        }
        Ok(())
    }

    fn link(&mut self, proof: &Proof) {
        let record = proof.record();
        let verifier = self.verifier.get_or_insert_with(|| {
            // What came before the oldest has expired; the very first follows the chain's name.
            Verifier::new(match proof.seq {
                1 => Head::genesis(CHAIN),
                seq => Head {
                    seq: seq.saturating_sub(1),
                    hash: proof.previous,
                },
            })
        });
        if self.report.first == 0 {
            self.report.first = proof.seq;
        }
        self.report.links += 1;
        if let Err(broken) = verifier.check(&record, None) {
            // Goes on behind the break, so that one does not hide the next.
            *verifier = Verifier::new(record.head());
            let what = format!("chain: {}", broken.reason);
            self.report.fail(broken.seq, Some(proof.host), what);
        }
        if let Some(hash) = self.anchors.get(&proof.seq) {
            self.report.anchors += 1;
            if *hash != proof.hash.to_string() {
                let what = "the audit record holds another digest for this place";
                self.report.fail(proof.seq, Some(proof.host), what);
            }
        }
        self.report.head = Some((proof.seq, proof.hash.to_string()));
    }

    async fn look_into(&mut self, proof: &Proof, kept: bool) -> Result<(), StoreError> {
        self.report.batches += 1;
        self.check_key(proof).await?;
        let Ok(read) = read_events(&proof.batch) else {
            let what = "its bytes are no batch any more";
            self.report.fail(proof.seq, Some(proof.host), what);
            return Ok(());
        };
        let judged = judge(&proof.evidence_key, Stream::Security, &read);
        match judged {
            Signature::Good => self.report.good += 1,
            Signature::Missing | Signature::NotExpected => self.report.missing += 1,
            Signature::Bad => self.report.bad += 1,
        }
        if judged != proof.signature {
            let (now, then) = (judged.word(), proof.signature.word());
            let what = format!("its signature was {then} when it came and is {now} now");
            self.report.fail(proof.seq, Some(proof.host), what);
        }
        if read.info.seq.cast_signed() != proof.batch_seq {
            let what = "its number is not the one under which it is counted";
            self.report.fail(proof.seq, Some(proof.host), what);
        }
        let signed = KeptEvents::of(read.events).events;
        if signed.len() as u64 != proof.events.unsigned_abs() {
            let what = "it does not hold as many events as were stored of it";
            self.report.fail(proof.seq, Some(proof.host), what);
        } else if kept {
            self.compare(proof, &signed).await?;
        }
        Ok(())
    }

    /// Compares the stored events with the signed ones.
    async fn compare(&mut self, proof: &Proof, signed: &[NewEvent]) -> Result<(), StoreError> {
        let stored = self.stored(proof).await?;
        for (number, signed) in (proof.first_event..).zip(signed) {
            self.report.events += 1;
            let expected = Stored::of(proof, signed)?;
            let what = match stored.get(&number) {
                Some(found) if *found == expected => continue,
                Some(_) => format!("event {number} is not what the batch says"),
                None => format!("event {number} is gone"),
            };
            self.report.fail(proof.seq, Some(proof.host), what);
        }
        Ok(())
    }

    async fn stored(&self, proof: &Proof) -> Result<BTreeMap<i64, Stored>, StoreError> {
        let sql = "SELECT id, host_id, stream, time_ms, kind, severity, message, fields, signature \
                   FROM events WHERE id >= $1 AND id < $2";
        let rows = sqlx::query(sql)
            .bind(proof.first_event)
            .bind(proof.first_event.saturating_add(proof.events))
            .fetch_all(self.store.database.read())
            .await?;
        let mut stored = BTreeMap::new();
        for row in &rows {
            let numbers = ["host_id", "stream", "time_ms", "severity", "signature"];
            let mut found = Stored::default();
            for (place, column) in found.numbers.iter_mut().zip(numbers) {
                *place = row::number(row, column)?;
            }
            for (place, column) in found.texts.iter_mut().zip(["kind", "message", "fields"]) {
                *place = row::text(row, column)?;
            }
            stored.insert(row::number(row, "id")?, found);
        }
        Ok(stored)
    }

    /// The key must be the one that was recorded when the host enrolled.
    async fn check_key(&mut self, proof: &Proof) -> Result<(), StoreError> {
        if !self.keys.insert(proof.host) {
            return Ok(());
        }
        let query = AuditQuery {
            subject: Some(format!("host:{}", proof.host)),
            action: Some("host.enrolled".to_owned()),
            ..AuditQuery::default()
        };
        let enrolled = self.store.audit(&query).await?;
        // Enrolments from before this part of the program do not name the key.
        let recorded = enrolled
            .iter()
            .find_map(|entry| entry.detail.get("evidence_key"));
        if recorded.is_some_and(|key| *key != proof.evidence_key) {
            let what = "the host's key is not the one that it enrolled with";
            self.report.fail(0, Some(proof.host), what);
        }
        Ok(())
    }

    /// What only the whole tells.
    async fn finish(mut self) -> Result<EvidenceReport, StoreError> {
        let head = self
            .report
            .head
            .as_ref()
            .map_or(0, |(position, _)| *position);
        if self.newest_anchor > head {
            let what = format!(
                "the audit record holds place {}: the newest batches were removed",
                self.newest_anchor
            );
            self.report.fail(self.newest_anchor, None, what);
        }
        if let Some((first, last, brought)) = self.brought {
            let sql =
                "SELECT COUNT(*) AS count FROM events WHERE stream = $1 AND id >= $2 AND id <= $3";
            let row = sqlx::query(sql)
                .bind(EventStream::Security.number())
                .bind(first)
                .bind(last)
                .fetch_one(self.store.database.read())
                .await?;
            let there = row::number(&row, "count")?;
            if there > brought {
                let what = format!("{} security events are of no batch", there - brought);
                self.report.fail(0, None, what);
            }
        }
        Ok(self.report)
    }
}

/// An event as it lies in its row.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stored {
    /// Host, stream, time, severity, signature.
    numbers: [i64; 5],
    /// Kind, message, fields.
    texts: [String; 3],
}

impl Stored {
    /// How the signed event must lie there.
    fn of(proof: &Proof, event: &NewEvent) -> Result<Self, StoreError> {
        Ok(Self {
            numbers: [
                proof.host.0,
                EventStream::Security.number(),
                event.time_ms,
                event.severity.number(),
                proof.signature.number(),
            ],
            texts: [
                row::storable(&event.kind),
                row::storable(&event.message),
                row::json_of(&event.fields)?,
            ],
        })
    }
}
