//! Holes in the numbers of event batches: what a host should have sent and nobody has.
//!
//! A hole is ordinary while a backlog is under way. One that stays has a cause: this database was
//! restored from a copy, or a power cut made the host pass over numbers. The first can be mended by
//! the host if it still has the batches; whoever asks for the holes decides what to do.

use sqlx::any::AnyRow;
use xiezhi_model::{EventStream, HostId};
use xiezhi_protocol::range_set::RangeSet;

use crate::dedup::Received;
use crate::row;
use crate::{Store, StoreError};

/// Holes returned at a time; more are seen when these are closed.
const MOST: usize = 10_000;

/// Numbers of one hole that are looked up in other epochs.
const MOST_REMEMBERED: i64 = 10_000;

/// Numbers of one stream that are missing between received ones, and have no gap on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Whose.
    pub host: HostId,
    /// Epoch in which it is numbered: the host's present one.
    pub epoch: u64,
    /// Which stream.
    pub stream: EventStream,
    /// First missing number.
    pub first: u64,
    /// Last missing number.
    pub last: u64,
    /// When the batch before it came, Unix milliseconds; 0 where unknown.
    pub from_ms: i64,
    /// When the batch behind it came, Unix milliseconds; 0 where unknown.
    pub to_ms: i64,
}

impl Store {
    /// Holes of all unrevoked hosts in their present epochs.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn event_holes(&self) -> Result<Vec<Hole>, StoreError> {
        // The dash and the comma: two ranges or more.
        let sql = "SELECT s.host_id, s.stream, s.epoch, s.received FROM event_streams s \
                   JOIN hosts h ON h.id = s.host_id AND h.epoch = s.epoch \
                   WHERE h.revoked_ms IS NULL AND s.received LIKE '%-%,%-%' \
                   ORDER BY s.host_id, s.stream";
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        let mut holes = Vec::new();
        for row in &rows {
            holes.extend(self.holes_of(row).await?);
            if holes.len() >= MOST {
                break;
            }
        }
        Ok(holes)
    }

    /// Closes gaps of this reason whose batches came after all, and returns how many batches those
    /// were. A gap of which a part came is left with the rest.
    ///
    /// # Errors
    /// If the database fails; what was closed before stays closed.
    pub async fn close_filled_gaps(&self, reason: &str) -> Result<u64, StoreError> {
        let sql = "SELECT g.host_id, g.epoch, g.stream AS word, g.first_seq, g.last_seq, g.from_ms, \
                   g.to_ms, g.noted_ms, s.stream, s.received FROM gaps g \
                   JOIN event_streams s ON s.host_id = g.host_id AND s.epoch = g.epoch \
                   WHERE g.reason = $1 ORDER BY g.noted_ms DESC LIMIT $2";
        let query = sqlx::query(sql).bind(reason).bind(row::signed(MOST as u64));
        let mut filled = 0;
        for row in &query.fetch_all(self.database.read()).await? {
            filled += self.close_if_filled(row, reason).await?;
        }
        Ok(filled)
    }

    async fn close_if_filled(&self, row: &AnyRow, reason: &str) -> Result<u64, StoreError> {
        let number = row::number(row, "stream")?;
        let received = Received::from_text(&row::text(row, "received")?);
        let (Some(stream), Some(received)) = (EventStream::from_number(number), received) else {
            return Ok(0);
        };
        if stream.word() != row::text(row, "word")? {
            return Ok(0);
        }
        let place = Place {
            host: HostId(row::number(row, "host_id")?),
            epoch: row::unsigned(row, "epoch")?,
            stream,
        };
        let (first, last) = (
            row::unsigned(row, "first_seq")?,
            row::unsigned(row, "last_seq")?,
        );
        let mut known = received.numbers().clone();
        self.add_other_epochs(&place, (first, last), &mut known)
            .await?;
        let rest = missing_in(&known, first, last);
        if rest == [(first, last)] {
            return Ok(0);
        }
        self.replace_gap(&place, row, reason, &rest).await?;
        let left: u64 = rest.iter().map(|(first, last)| last - first + 1).sum();
        Ok((last - first + 1).saturating_sub(left))
    }

    async fn replace_gap(
        &self,
        place: &Place,
        gap: &AnyRow,
        reason: &str,
        rest: &[(u64, u64)],
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM gaps WHERE host_id = $1 AND epoch = $2 AND stream = $3 \
                   AND first_seq = $4 AND last_seq = $5 AND reason = $6";
        let removed = sqlx::query(sql)
            .bind(place.host.0)
            .bind(row::signed(place.epoch))
            .bind(place.stream.word())
            .bind(row::number(gap, "first_seq")?)
            .bind(row::number(gap, "last_seq")?)
            .bind(reason)
            .execute(&mut *write)
            .await?;
        // It changed meanwhile: the next look sees how.
        let rest = if removed.rows_affected() == 1 {
            rest
        } else {
            &[]
        };
        for (first, last) in rest {
            let sql = "INSERT INTO gaps (host_id, epoch, stream, first_seq, last_seq, from_ms, \
                       to_ms, reason, noted_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            sqlx::query(sql)
                .bind(place.host.0)
                .bind(row::signed(place.epoch))
                .bind(place.stream.word())
                .bind(row::signed(*first))
                .bind(row::signed(*last))
                .bind(row::number(gap, "from_ms")?)
                .bind(row::number(gap, "to_ms")?)
                .bind(reason)
                .bind(row::number(gap, "noted_ms")?)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        Ok(())
    }

    async fn holes_of(&self, row: &AnyRow) -> Result<Vec<Hole>, StoreError> {
        let number = row::number(row, "stream")?;
        let received = Received::from_text(&row::text(row, "received")?);
        let (Some(stream), Some(received)) = (EventStream::from_number(number), received) else {
            return Ok(Vec::new());
        };
        let place = Place {
            host: HostId(row::number(row, "host_id")?),
            epoch: row::unsigned(row, "epoch")?,
            stream,
        };
        let mut known = received.numbers().clone();
        self.add_gaps(&place, &mut known).await?;
        for (first, last) in holes_in(&known) {
            self.add_other_epochs(&place, (first, last), &mut known)
                .await?;
        }
        let mut holes = Vec::new();
        for (first, last) in holes_in(&known) {
            holes.push(Hole {
                host: place.host,
                epoch: place.epoch,
                stream,
                first,
                last,
                from_ms: self.received_at(&place, first.saturating_sub(1)).await?,
                to_ms: self.received_at(&place, last.saturating_add(1)).await?,
            });
        }
        Ok(holes)
    }

    /// What the host gave up has its reason already.
    async fn add_gaps(&self, place: &Place, known: &mut RangeSet) -> Result<(), StoreError> {
        let sql = "SELECT first_seq, last_seq FROM gaps \
                   WHERE host_id = $1 AND epoch = $2 AND stream = $3";
        let query = sqlx::query(sql)
            .bind(place.host.0)
            .bind(row::signed(place.epoch))
            .bind(place.stream.word());
        for gap in query.fetch_all(self.database.read()).await? {
            let (first, last) = (
                row::unsigned(&gap, "first_seq")?,
                row::unsigned(&gap, "last_seq")?,
            );
            known.insert_range(first, last);
        }
        Ok(())
    }

    /// What came again after a new epoch began is counted where it came first.
    async fn add_other_epochs(
        &self,
        place: &Place,
        (first, last): (u64, u64),
        known: &mut RangeSet,
    ) -> Result<(), StoreError> {
        let sql = "SELECT seq FROM event_batches \
                   WHERE host_id = $1 AND stream = $2 AND seq >= $3 AND seq <= $4 LIMIT $5";
        let query = sqlx::query(sql)
            .bind(place.host.0)
            .bind(place.stream.number())
            .bind(row::signed(first))
            .bind(row::signed(last))
            .bind(MOST_REMEMBERED);
        for batch in query.fetch_all(self.database.read()).await? {
            known.insert(row::unsigned(&batch, "seq")?);
        }
        Ok(())
    }

    async fn received_at(&self, place: &Place, seq: u64) -> Result<i64, StoreError> {
        let sql = "SELECT COALESCE(MAX(received_ms), 0) AS at FROM event_batches \
                   WHERE host_id = $1 AND stream = $2 AND seq = $3";
        let query = sqlx::query(sql)
            .bind(place.host.0)
            .bind(place.stream.number())
            .bind(row::signed(seq));
        row::number(&query.fetch_one(self.database.read()).await?, "at")
    }
}

struct Place {
    host: HostId,
    epoch: u64,
    stream: EventStream,
}

/// What of `first..=last` is not in a set.
fn missing_in(known: &RangeSet, first: u64, last: u64) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    let mut next = first;
    for &(from, to) in known.ranges() {
        if to < next {
            continue;
        }
        if from > last {
            break;
        }
        if from > next {
            missing.push((next, from - 1));
        }
        next = to.saturating_add(1);
    }
    if next <= last {
        missing.push((next, last));
    }
    missing
}

/// What lies between the ranges of a set.
fn holes_in(known: &RangeSet) -> Vec<(u64, u64)> {
    let pairs = known.ranges().windows(2);
    let hole = |pair: &[(u64, u64)]| match *pair {
        [(_, before), (behind, _)] => Some((before + 1, behind - 1)),
        _ => None,
    };
    pairs.filter_map(hole).collect()
}
