//! The samples of one foreign source that are in no block: a tail per series, which has no decoder.
//!
//! A sample costs sixteen bytes when it arrives. When [`PENDING`] of a series have come they become a
//! chunk; a series of half an hour at 15 s is a few hundred bytes, its text included.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use xiezhi_protocol::codec::varint;
use xiezhi_protocol::report::parse_series;

use super::texts::{Limit, REFUSED, TextId};
use super::{Head, Heads, Keep, lock};
use crate::chunk::{self, Encoder, Grid, Points};
use crate::error::SeriesError;
use crate::foreign::batch::{self, Batch, Sample};
use crate::foreign::{Accepted, SeriesRefusal};
use crate::frame::HostKey;
use crate::options::SourceLimits;
use crate::record::Record;

/// Samples of a series that wait to become a chunk.
const PENDING: usize = 16;
/// Longest text of a series, so that a record has a bound.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// A tail that holds nothing is forgotten after so long.
const IDLE_MS: i64 = 3_600_000;
/// Samples that stay looked up until a request comes again. No sender's request has more.
const LOOKED_UP: usize = 500_000;
/// Samples, and bytes of names, of one record.
const BATCH_SAMPLES: usize = 50_000;
const BATCH_NAME_BYTES: usize = 1 << 20;

/// A source's series.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    tails: HashMap<TextId, Tail>,
    /// The log in which numbers are given out, and the next one.
    log: u64,
    next: u32,
    /// Changes when what was told may not be in the log.
    telling: u64,
    /// Numbers of the log that is read while the store opens.
    named: Vec<TextId>,
    /// Bytes of the texts of its series.
    text_bytes: u64,
    /// Samples that were looked up for a request that must come again.
    looked_up: HashMap<(TextId, i64), f64>,
}

/// The newest samples of a series.
#[derive(Debug)]
struct Tail {
    /// Newest time and value that this process knows of.
    last: Option<(i64, f64)>,
    /// No block has a sample after this that `last` does not know of; `None` until somebody looked,
    /// for blocks may hold much of a series that is new to this process.
    horizon_ms: Option<i64>,
    used_ms: i64,
    /// Its number, if it was given out under the present [`Foreign::telling`].
    number: u32,
    /// Of its text.
    text_bytes: u32,
    told: u64,
    /// Samples of the log `pending_log`, in order of arrival.
    pending_log: u64,
    pending: Vec<(i64, f64)>,
    pieces: Vec<Piece>,
}

/// Chunks of one series and log.
#[derive(Debug)]
struct Piece {
    log: u64,
    oldest_ms: i64,
    newest_ms: i64,
    grid: Grid,
    /// Each chunk behind its length.
    chunks: Vec<u8>,
}

/// A record to be written: its payload and the times of its oldest and newest sample.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) bytes: Vec<u8>,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
}

impl Heads {
    /// Does something with the series of a source.
    pub(crate) fn with_foreign<T>(
        &self,
        source: HostKey,
        now_ms: i64,
        act: impl FnOnce(&mut Foreign, &Keep<'_>) -> T,
    ) -> T {
        self.with(source, now_ms, |head, keep| {
            act(head.foreign.get_or_insert_default(), keep)
        })
    }

    /// Takes a record of a log in while the store opens. False: not all of it can be read.
    pub(crate) fn replay_foreign(&self, log: u64, record: &Record<'_>) -> bool {
        let now_ms = record.received_ms;
        self.with_foreign(record.host, now_ms, |foreign, keep| {
            foreign.replay(log, record, now_ms, keep).is_some()
        })
    }

    /// The store is open: nothing is replayed any more.
    pub(crate) fn end_replay(&self) {
        for (_, head) in self.hosts() {
            if let Some(foreign) = &mut lock(&head).foreign {
                foreign.named = Vec::new();
            }
        }
    }

    /// Forgets tails that hold nothing and were not used for long.
    pub(crate) fn forget_foreign(&self, head: &mut Head, stays: &dyn Fn(u64) -> bool, now_ms: i64) {
        let Some(foreign) = &mut head.foreign else {
            return;
        };
        let before = foreign.tails.len();
        foreign.forget(stays, now_ms);
        let dropped = before - foreign.tails.len();
        self.series.fetch_sub(dropped as u64, Ordering::Relaxed);
        if foreign.tails.is_empty() {
            head.foreign = None;
        }
    }
}

impl Head {
    /// What it holds as a source.
    pub(crate) fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_deref()
    }
}

impl Foreign {
    /// The series of this text, a new one if the limits allow it.
    pub(crate) fn admit(
        &mut self,
        text: &str,
        now_ms: i64,
        most: SourceLimits,
        keep: &Keep<'_>,
    ) -> Result<(TextId, Arc<str>), SeriesRefusal> {
        if let Some((id, text)) = keep.texts.find(text)
            && let Some(tail) = self.tails.get_mut(&id)
        {
            tail.used_ms = now_ms;
            return Ok((id, text));
        }
        let limits = keep.limits;
        let parsed = parse_series(text).filter(|_| text.len() <= MAX_TEXT_BYTES);
        let (_, labels) = parsed.ok_or(SeriesRefusal::BadText)?;
        if labels.len() > limits.labels_per_series as usize {
            return Err(SeriesRefusal::TooManyLabels);
        }
        if self.tails.len() as u64 >= u64::from(most.series) {
            return Err(SeriesRefusal::SourceFull);
        }
        if self.text_bytes + text.len() as u64 > most.text_bytes {
            return Err(SeriesRefusal::SourceTexts);
        }
        if keep.series.load(Ordering::Relaxed) >= limits.series {
            return Err(SeriesRefusal::StoreFull);
        }
        let text = Arc::clone(keep.shared(text).text());
        let id = keep.texts.intern_foreign(&text, now_ms);
        if id == REFUSED {
            return Err(match keep.texts.foreign_limit(&text) {
                Limit::New => SeriesRefusal::TooManyNew,
                Limit::Texts | Limit::Bytes => SeriesRefusal::TextsFull,
            });
        }
        self.add_tail(id, &text, now_ms, keep);
        Ok((id, text))
    }

    fn add_tail(&mut self, id: TextId, text: &str, now_ms: i64, keep: &Keep<'_>) -> &mut Tail {
        let total = &mut self.text_bytes;
        self.tails.entry(id).or_insert_with(|| {
            keep.series.fetch_add(1, Ordering::Relaxed);
            let text_bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
            *total += u64::from(text_bytes);
            Tail::new(now_ms, text_bytes)
        })
    }

    /// Newest sample of a series that memory knows of, and the time after which blocks have none.
    pub(crate) fn last(&self, id: TextId) -> (Option<(i64, f64)>, Option<i64>) {
        let tail = self.tails.get(&id);
        tail.map_or((None, None), |tail| (tail.last, tail.horizon_ms))
    }

    /// Notes when a series ends in the blocks.
    pub(crate) fn set_horizon(&mut self, id: TextId, horizon_ms: i64) {
        if let Some(tail) = self.tails.get_mut(&id) {
            tail.horizon_ms = Some(horizon_ms);
        }
    }

    /// The stored value of a sample that was looked up for a request that did not come to its end.
    pub(crate) fn looked_up(&self, id: TextId, time_ms: i64) -> Option<f64> {
        self.looked_up.get(&(id, time_ms)).copied()
    }

    /// Keeps what was looked up until the request comes again, so that it comes further then; forgets
    /// it when a request came to its end.
    pub(crate) fn keep_looked_up(&mut self, samples: &[(TextId, i64, f64)], goes_on: bool) {
        if !goes_on || self.looked_up.len() > LOOKED_UP {
            self.looked_up = HashMap::new();
        }
        if goes_on {
            let samples = samples.iter().take(LOOKED_UP);
            self.looked_up
                .extend(samples.map(|&(id, time_ms, value)| ((id, time_ms), value)));
        }
    }

    /// What a log must be told of these samples, in records of bounded size. Numbers that are given
    /// out here count as told; see [`Self::untell`].
    ///
    /// # Errors
    /// If a series is not held (any more): nothing may be acknowledged that is not written.
    pub(crate) fn tell(
        &mut self,
        log: u64,
        accepted: &[Accepted],
    ) -> Result<Vec<Told>, SeriesError> {
        if self.log != log {
            (self.log, self.next) = (log, 0);
            self.telling += 1;
        }
        let mut told = Vec::new();
        let (mut names, mut name_bytes, mut first) = (Vec::new(), 0, self.next);
        let mut samples: Vec<Sample> = Vec::new();
        let slices = |one| Accepted::slices(one, BATCH_SAMPLES);
        for (one, points) in accepted.iter().flat_map(slices) {
            if samples.len() >= BATCH_SAMPLES || name_bytes >= BATCH_NAME_BYTES {
                told.push(Told::new(first, &names, &mut samples));
                names.clear();
                samples.clear();
                (name_bytes, first) = (0, self.next);
            }
            let (next, telling) = (self.next, self.telling);
            let Some(tail) = self.tails.get_mut(&one.id) else {
                self.untell();
                return Err(SeriesError::Forgotten);
            };
            if tail.told != telling {
                (tail.told, tail.number) = (telling, next);
                self.next += 1;
                names.push(&*one.text);
                name_bytes += one.text.len();
            }
            let number = tail.number;
            samples.extend(points.iter().map(|&(time_ms, value)| Sample {
                number,
                time_ms,
                value,
            }));
        }
        if !samples.is_empty() {
            told.push(Told::new(first, &names, &mut samples));
        }
        Ok(told)
    }

    /// What was told last did not become durable: every series is named again.
    pub(crate) fn untell(&mut self) {
        self.telling += 1;
    }

    /// Takes in what is durable now.
    pub(crate) fn push(&mut self, log: u64, accepted: &[Accepted], now_ms: i64, keep: &Keep<'_>) {
        let mut encoder = Encoder::default();
        for one in accepted {
            let tail = match self.tails.get_mut(&one.id) {
                Some(tail) => tail,
                // Forgotten meanwhile, by a clock that was set; its samples are in the log.
                None => {
                    let id = keep.texts.intern_always(&one.text);
                    self.add_tail(id, &one.text, now_ms, keep)
                }
            };
            for &(time_ms, value) in &one.points {
                tail.push(log, time_ms, value, &mut encoder);
            }
        }
    }

    fn replay(
        &mut self,
        log: u64,
        record: &Record<'_>,
        now_ms: i64,
        keep: &Keep<'_>,
    ) -> Option<()> {
        if self.log != log {
            (self.log, self.next) = (log, 0);
            self.telling += 1;
            self.named = Vec::new();
        }
        let batch = Batch::parse(record.batch.time_ms, record.bytes)?;
        self.name(&batch, now_ms, keep)?;
        let mut encoder = Encoder::default();
        let mut unknown = 0u64;
        let read = batch.each(&mut |sample| {
            let id = self.named.get(sample.number as usize);
            match id.and_then(|id| self.tails.get_mut(id)) {
                Some(tail) => {
                    tail.used_ms = now_ms;
                    tail.push(log, sample.time_ms, sample.value, &mut encoder);
                }
                None => unknown += 1,
            }
        });
        read.filter(|()| unknown == 0)
    }

    /// Whatever is in a log was within the limits when it was taken, so it is now.
    fn name(&mut self, batch: &Batch<'_>, now_ms: i64, keep: &Keep<'_>) -> Option<()> {
        /// Numbers of a log at most; each cost two bytes at least when it was written.
        const MOST: usize = 1 << 27;
        let first = batch.first as usize;
        if first > self.named.len() && first > MOST {
            return None;
        }
        if !batch.names.is_empty() {
            // A record between may be damaged.
            self.named.resize(self.named.len().max(first), REFUSED);
        }
        for (text, number) in batch.names.iter().zip(batch.first..) {
            let text = Arc::clone(keep.shared(text).text());
            let id = keep.texts.intern_always(&text);
            let telling = self.telling;
            let tail = self.add_tail(id, &text, now_ms, keep);
            (tail.told, tail.number) = (telling, number);
            match self.named.get_mut(number as usize) {
                Some(place) => *place = id,
                None => self.named.push(id),
            }
        }
        self.next = self.next.max(u32::try_from(self.named.len()).ok()?);
        Some(())
    }

    fn forget(&mut self, stays: &dyn Fn(u64) -> bool, now_ms: i64) {
        let text_bytes = &mut self.text_bytes;
        self.tails.retain(|_, tail| {
            tail.pieces.retain(|piece| stays(piece.log));
            tail.pieces.shrink_to_fit();
            if !stays(tail.pending_log) {
                tail.pending = Vec::new();
            }
            let is_empty = tail.pieces.is_empty() && tail.pending.is_empty();
            let stays = !is_empty || now_ms.abs_diff(tail.used_ms) < IDLE_MS as u64;
            if !stays {
                *text_bytes = text_bytes.saturating_sub(u64::from(tail.text_bytes));
            }
            stays
        });
        self.tails.shrink_to_fit();
    }

    /// How many series are held.
    pub(crate) fn len(&self) -> usize {
        self.tails.len()
    }

    /// Series that are held.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TextId> {
        self.tails.keys().copied()
    }

    /// Series with samples of a log.
    pub(crate) fn ids_of(&self, log: u64) -> impl Iterator<Item = TextId> {
        let has = move |tail: &Tail| {
            let pending = tail.pending_log == log && !tail.pending.is_empty();
            pending || tail.pieces.iter().any(|piece| piece.log == log)
        };
        let tails = self.tails.iter();
        tails.filter(move |(_, tail)| has(tail)).map(|(&id, _)| id)
    }

    /// Appends the samples of a series that came with a log.
    pub(crate) fn points_of(&self, id: TextId, log: u64, out: &mut Points) {
        let Some(tail) = self.tails.get(&id) else {
            return;
        };
        let pieces = tail.pieces.iter().filter(|piece| piece.log == log);
        pieces.for_each(|piece| piece.points(out));
        if tail.pending_log == log {
            let pending = tail.pending.iter();
            pending.for_each(|&(time_ms, value)| out.push(time_ms, value));
        }
    }

    /// Appends the samples of a series that lie in `from..=to`, in order of arrival. Tells whether
    /// the series is held and may have some.
    pub(crate) fn points(
        &self,
        id: TextId,
        (from_ms, to_ms): (i64, i64),
        out: Option<&mut Points>,
    ) -> bool {
        let Some(tail) = self.tails.get(&id) else {
            return false;
        };
        let is_near = |piece: &&Piece| piece.oldest_ms <= to_ms && piece.newest_ms >= from_ms;
        let within = |point: &&(i64, f64)| (from_ms..=to_ms).contains(&point.0);
        let Some(out) = out else {
            return tail.pieces.iter().any(|piece| is_near(&piece))
                || tail.pending.iter().any(|point| within(&point));
        };
        let before = out.len();
        let mut scratch = Points::default();
        for piece in tail.pieces.iter().filter(is_near) {
            if piece.oldest_ms >= from_ms && piece.newest_ms <= to_ms {
                piece.points(out);
            } else {
                scratch.clear();
                piece.points(&mut scratch);
                out.extend_within(&scratch, from_ms, to_ms);
            }
        }
        let pending = tail.pending.iter().filter(within);
        pending.for_each(|&(time_ms, value)| out.push(time_ms, value));
        out.len() > before
    }

    /// Bytes on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        let of_tail = |tail: &Tail| {
            let pieces = tail.pieces.iter().map(|piece| piece.chunks.capacity());
            tail.pending.capacity() * 16
                + tail.pieces.capacity() * size_of::<Piece>()
                + pieces.sum::<usize>()
        };
        self.tails.values().map(of_tail).sum::<usize>()
            + self.tails.capacity() * (size_of::<(TextId, Tail)>() + 1)
            + self.looked_up.capacity() * (size_of::<((TextId, i64), f64)>() + 1)
            + size_of::<Self>()
    }
}

impl Told {
    fn new(first: u32, names: &[&str], samples: &mut [Sample]) -> Self {
        let mut bytes = Vec::with_capacity(samples.len() * 3 + 64);
        let (oldest_ms, newest_ms) = batch::write(&mut bytes, first, names, samples);
        Self {
            bytes,
            oldest_ms,
            newest_ms,
        }
    }
}

impl Tail {
    fn new(now_ms: i64, text_bytes: u32) -> Self {
        Self {
            last: None,
            horizon_ms: None,
            used_ms: now_ms,
            number: 0,
            text_bytes,
            told: 0,
            pending_log: 0,
            pending: Vec::new(),
            pieces: Vec::new(),
        }
    }

    fn push(&mut self, log: u64, time_ms: i64, value: f64, encoder: &mut Encoder) {
        if self.pending_log != log || self.pending.len() >= PENDING {
            self.encode(encoder);
            self.pending_log = log;
        }
        if self.pending.len() == self.pending.capacity() {
            self.pending.reserve_exact(PENDING / 2);
        }
        self.pending.push((time_ms, value));
        if self.last.is_none_or(|(last_ms, _)| time_ms > last_ms) {
            self.last = Some((time_ms, value));
        }
    }

    fn encode(&mut self, encoder: &mut Encoder) {
        if self.pending.is_empty() {
            return;
        }
        let mut points = Points::with_capacity(PENDING);
        for (time_ms, value) in self.pending.drain(..) {
            points.push(time_ms, value);
        }
        points.settle();
        let log = self.pending_log;
        match self.pieces.last_mut() {
            Some(piece) if piece.log == log => piece.add(&points, encoder),
            _ => {
                let mut piece = Piece {
                    log,
                    oldest_ms: i64::MAX,
                    newest_ms: i64::MIN,
                    grid: Grid::of(&points.times),
                    chunks: Vec::new(),
                };
                piece.add(&points, encoder);
                self.pieces.reserve_exact(1);
                self.pieces.push(piece);
            }
        }
    }
}

impl Piece {
    fn add(&mut self, points: &Points, encoder: &mut Encoder) {
        let (Some(&oldest_ms), Some(&newest_ms)) = (points.times.first(), points.times.last())
        else {
            return;
        };
        self.oldest_ms = self.oldest_ms.min(oldest_ms);
        self.newest_ms = self.newest_ms.max(newest_ms);
        let mut bytes = Vec::with_capacity(80);
        encoder.encode(self.grid, &points.times, &points.values, &mut bytes);
        self.chunks.reserve_exact(bytes.len() + 2);
        varint::write(&mut self.chunks, bytes.len() as u64);
        self.chunks.extend_from_slice(&bytes);
    }

    fn points(&self, out: &mut Points) {
        let mut rest = &*self.chunks;
        // Written by this process into its own memory; nothing can be wrong with it.
        while let Some((bytes, after)) = varint::read(&mut rest)
            .and_then(|length| rest.split_at_checked(usize::try_from(length).ok()?))
        {
            rest = after;
            if chunk::decode(self.grid, bytes, out).is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_held_is_an_error_and_never_left_out() {
        let accepted = Accepted {
            id: 7,
            text: "up".into(),
            points: vec![(1, 1.0)],
        };
        let told = Foreign::default().tell(1, &[accepted]);
        assert!(matches!(told, Err(SeriesError::Forgotten)), "{told:?}");
    }
}
