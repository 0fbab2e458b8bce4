//! Events of hosts: stored exactly once, however often their batches come.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sqlx::AssertSqlSafe;
use xiezhi_evidence::Head;
use xiezhi_model::{EventStream, HostId, Severity, Signature};

use crate::dedup::{Known, Received};
use crate::proofs::{self, BatchProof};
use crate::row::{self, Write};
use crate::{Store, StoreError, facts};

/// Rows of one statement: more make it longer to prepare, not faster to run.
const ROWS_PER_STATEMENT: usize = 32;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

const EXPIRED_EVENTS: &str = "DELETE FROM events WHERE id IN (SELECT id FROM events \
    WHERE stream = $1 AND received_ms < $2 ORDER BY received_ms LIMIT $3)";

const EXPIRED_BATCHES: &str = "DELETE FROM event_batches \
    WHERE (host_id, stream, seq, checksum) IN (SELECT host_id, stream, seq, checksum \
    FROM event_batches WHERE stream = $1 AND received_ms < $2 ORDER BY received_ms LIMIT $3)";

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened by the host's clock, Unix milliseconds.
    pub time_ms: i64,
    /// What happened.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for a person.
    pub message: String,
    /// The parts of it by name.
    pub fields: BTreeMap<String, String>,
}

/// A sequence-numbered batch of one host's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBatch {
    /// Whose.
    pub host: HostId,
    /// Epoch in which it is numbered.
    pub epoch: u64,
    /// Which stream.
    pub stream: EventStream,
    /// Its number, from 1.
    pub seq: u64,
    /// Checksum of its content.
    pub checksum: u32,
    /// What it holds.
    pub events: Vec<NewEvent>,
    /// The host's facts as JSON text, if the batch brought them; kept if they are the newest.
    pub facts: Option<String>,
    /// The batch as it came, to be kept as evidence: given for security events.
    pub proof: Option<BatchProof>,
}

impl EventBatch {
    fn signature(&self) -> Signature {
        self.proof
            .as_ref()
            .map_or(Signature::NotExpected, |proof| proof.signature)
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// It was new and is durable.
    Stored,
    /// It was known with the same content; nothing changed. Acknowledge it.
    Replay,
    /// Its number is known with other content, or its events expired. Nothing was stored: call [`Store::open_epoch`] and insert it again there.
    Conflict,
}

impl Store {
    /// Stores batches in one transaction; outcomes are in the order of the batches. After an error
    /// none of them is stored and none may be acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the disk is full; [`StoreError::NotFound`] if one of the hosts does
    /// not exist.
    pub async fn insert_batches(
        &self,
        batches: &[EventBatch],
        now_ms: i64,
    ) -> Result<Vec<BatchOutcome>, StoreError> {
        let mut write = self.database.write().await?;
        let mut ledger = Ledger::default();
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut fresh = Vec::new();
        for batch in batches {
            let outcome = ledger.take(&mut write, batch, now_ms).await?;
            if outcome == BatchOutcome::Stored {
                fresh.push(batch);
                if let Some(json) = &batch.facts {
                    facts::put(&mut write, batch, json, now_ms).await?;
                }
            }
            outcomes.push(outcome);
        }
        insert_events(&mut write, &fresh, now_ms).await?;
        ledger.save(&mut write).await?;
        write.commit().await?;
        Ok(outcomes)
    }

    /// How many events of `stream` each host sent that were received since `from_ms`, by severity.
    /// It scans them: for a day, not for a year.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_events_by_host(
        &self,
        stream: EventStream,
        from_ms: i64,
    ) -> Result<Vec<(HostId, Severity, u64)>, StoreError> {
        const SQL: &str = "SELECT host_id, severity, COUNT(*) AS events FROM events \
            WHERE stream = $1 AND received_ms >= $2 GROUP BY host_id, severity";
        let query = sqlx::query(SQL).bind(stream.number()).bind(from_ms);
        let rows = query.fetch_all(self.database.read()).await?;
        let count = |row: &sqlx::any::AnyRow| {
            let host = HostId(row::number(row, "host_id")?);
            let severity = Severity::from_number(row::number(row, "severity")?);
            Ok((host, severity, row::unsigned(row, "events")?))
        };
        rows.iter().map(count).collect()
    }

    /// Deletes at most `most` rows, events, what is remembered of their batches and proofs, that were
    /// received longer ago than the setting of their stream (`security_retention_days`,
    /// `event_retention_days`) allows at `now_ms`; returns how many. Call it again while it returns
    /// `most`: slices keep the write lock short.
    ///
    /// Age is counted from receipt, because a host's clock may say 1970.
    ///
    /// # Errors
    /// [`StoreError::Impossible`] if a setting is not a number of days; then nothing is deleted.
    pub async fn delete_expired_events(&self, now_ms: i64, most: u32) -> Result<u64, StoreError> {
        let mut left = i64::from(most);
        let mut deleted = 0;
        let keys = [
            (EventStream::Events, "event_retention_days"),
            (EventStream::Security, "security_retention_days"),
        ];
        for (stream, key) in keys {
            let Some(days) = self.retention_days(key, now_ms).await? else {
                continue;
            };
            let before_ms = now_ms.saturating_sub(days.saturating_mul(DAY_MS));
            let mut write = self.database.write().await?;
            // A batch is forgotten only when no event of its age is left.
            for sql in [EXPIRED_EVENTS, EXPIRED_BATCHES] {
                let query = sqlx::query(sql)
                    .bind(stream.number())
                    .bind(before_ms)
                    .bind(left);
                let done = query.execute(&mut *write).await?.rows_affected();
                deleted += done;
                left = left.saturating_sub(row::signed(done));
            }
            if stream == EventStream::Security {
                let done = proofs::delete_expired(&mut write, before_ms, left).await?;
                deleted += done;
                left = left.saturating_sub(row::signed(done));
            }
            write.commit().await?;
        }
        Ok(deleted)
    }

    /// How many events are stored.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_events(&self) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT COUNT(*) AS count FROM events");
        row::unsigned(&query.fetch_one(self.database.read()).await?, "count")
    }

    /// The setting `key`, a number of days; `None` if there is none.
    pub(crate) async fn retention_days(
        &self,
        key: &str,
        now_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        let Some(setting) = self.setting(key, now_ms).await? else {
            return Ok(None);
        };
        let days = setting
            .value
            .trim()
            .parse()
            .ok()
            .filter(|days: &i64| *days > 0);
        let wrong = || StoreError::Impossible(format!("{key} = {:?} days", setting.value));
        days.ok_or_else(wrong).map(Some)
    }
}

/// A stream in one epoch.
type StreamKey = (HostId, EventStream, u64);

/// What the transaction knows of the streams that it touches.
#[derive(Default)]
struct Ledger {
    streams: BTreeMap<StreamKey, Received>,
    changed: Vec<StreamKey>,
}

impl Ledger {
    /// Judges a batch and notes it.
    async fn take(
        &mut self,
        write: &mut Write,
        batch: &EventBatch,
        now_ms: i64,
    ) -> Result<BatchOutcome, StoreError> {
        let key = (batch.host, batch.stream, batch.epoch);
        let received = self.load(write, key).await?;
        match received.judge(batch.seq, batch.checksum) {
            Known::Same => return Ok(BatchOutcome::Replay),
            Known::NumberOnly if is_remembered(write, batch).await? => {
                return Ok(BatchOutcome::Replay);
            }
            Known::NumberOnly => return Ok(BatchOutcome::Conflict),
            // Counted in another epoch: it was stored just before the epoch changed, or comes from
            // an old copy of the spool.
            Known::New if !remember(write, batch, now_ms).await? => {
                return Ok(BatchOutcome::Replay);
            }
            Known::New => received.note(batch.seq, batch.checksum),
        }
        if !self.changed.contains(&key) {
            self.changed.push(key);
        }
        Ok(BatchOutcome::Stored)
    }

    async fn load(
        &mut self,
        write: &mut Write,
        key: StreamKey,
    ) -> Result<&mut Received, StoreError> {
        match self.streams.entry(key) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(read_received(write, key).await?)),
        }
    }

    async fn save(&self, write: &mut Write) -> Result<(), StoreError> {
        for key @ (host, stream, epoch) in &self.changed {
            let Some(received) = self.streams.get(key) else {
                continue;
            };
            let sql = "INSERT INTO event_streams (host_id, stream, epoch, received) \
                       VALUES ($1, $2, $3, $4) ON CONFLICT (host_id, stream, epoch) \
                       DO UPDATE SET received = excluded.received";
            sqlx::query(sql)
                .bind(host.0)
                .bind(stream.number())
                .bind(row::signed(*epoch))
                .bind(received.to_text())
                .execute(&mut **write)
                .await?;
        }
        Ok(())
    }
}

/// Whether the batch was stored in any epoch, and its events are kept.
async fn is_remembered(write: &mut Write, batch: &EventBatch) -> Result<bool, StoreError> {
    let sql = "SELECT epoch FROM event_batches \
               WHERE host_id = $1 AND stream = $2 AND seq = $3 AND checksum = $4";
    let query = sqlx::query(sql)
        .bind(batch.host.0)
        .bind(batch.stream.number())
        .bind(batch.seq.cast_signed())
        .bind(i64::from(batch.checksum));
    Ok(query.fetch_optional(&mut **write).await?.is_some())
}

/// Remembers a batch; false if it was stored before, in whatever epoch. One statement does both, so
/// that a new batch costs no look-up.
async fn remember(write: &mut Write, batch: &EventBatch, now_ms: i64) -> Result<bool, StoreError> {
    let sql = "INSERT INTO event_batches (host_id, stream, seq, checksum, epoch, received_ms) \
               VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (host_id, stream, seq, checksum) DO NOTHING";
    let query = sqlx::query(sql)
        .bind(batch.host.0)
        .bind(batch.stream.number())
        // Not the nearest number: absurd ones must stay apart, or one would pass for another.
        .bind(batch.seq.cast_signed())
        .bind(i64::from(batch.checksum))
        .bind(row::signed(batch.epoch))
        .bind(now_ms);
    let done = query.execute(&mut **write).await.map_err(unknown_host)?;
    Ok(done.rows_affected() > 0)
}

async fn read_received(
    write: &mut Write,
    (host, stream, epoch): StreamKey,
) -> Result<Received, StoreError> {
    let sql = "SELECT received FROM event_streams \
               WHERE host_id = $1 AND stream = $2 AND epoch = $3";
    let query = sqlx::query(sql)
        .bind(host.0)
        .bind(stream.number())
        .bind(row::signed(epoch));
    let Some(found) = query.fetch_optional(&mut **write).await? else {
        return Ok(Received::default());
    };
    let text = row::text(&found, "received")?;
    let damaged = || StoreError::Impossible(format!("event_streams of host {host}"));
    Received::from_text(&text).ok_or_else(damaged)
}

/// Stores the events of new batches, and the batches as proofs of them.
async fn insert_events(
    write: &mut Write,
    batches: &[&EventBatch],
    now_ms: i64,
) -> Result<(), StoreError> {
    let count: usize = batches.iter().map(|batch| batch.events.len()).sum();
    let count = row::signed(count as u64);
    let first = match count {
        0 => 0,
        _ => row::count_up(write, "events", count).await? - count + 1,
    };
    insert_rows(write, batches, first, now_ms).await?;
    let mut head: Option<Head> = None;
    let mut next = first;
    for batch in batches {
        proofs::append(write, &mut head, batch, next, now_ms).await?;
        next += row::signed(batch.events.len() as u64);
    }
    Ok(())
}

/// Stores events under the numbers from `first` on, in the order of the batches.
async fn insert_rows(
    write: &mut Write,
    batches: &[&EventBatch],
    first: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut events: Vec<(&EventBatch, &NewEvent)> = Vec::new();
    for batch in batches {
        events.extend(batch.events.iter().map(|event| (*batch, event)));
    }
    let mut id = first - 1;
    for some in events.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO events (id, host_id, stream, time_ms, received_ms, kind, severity, \
             message, fields, signature) VALUES {}",
            row::placeholders(some.len(), 10)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (batch, event) in some {
            id += 1;
            query = query
                .bind(id)
                .bind(batch.host.0)
                .bind(batch.stream.number())
                .bind(event.time_ms)
                .bind(now_ms)
                .bind(row::storable(&event.kind))
                .bind(event.severity.number())
                .bind(row::storable(&event.message))
                .bind(row::json_of(&event.fields)?)
                .bind(batch.signature().number());
        }
        query.execute(&mut **write).await.map_err(unknown_host)?;
    }
    Ok(())
}

fn unknown_host(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(database) if database.is_foreign_key_violation() => {
            StoreError::NotFound("host of one of the batches".to_owned())
        }
        _ => error.into(),
    }
}
