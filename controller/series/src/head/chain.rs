//! One chain of frames of a host, followed: the newest frames as they came, then columns.
//!
//! A frame costs a copy when it arrives. When [`RUN_ROWS`] have come they are decoded together, while
//! the decoder is in the processor's cache, and become a [`Run`]. What the decoder refuses is an
//! orphan: it stays in the log and in the block as the bytes that came.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use xiezhi_protocol::codec::{Column, Decoder, varint};

use super::Keep;
use super::run::{RUN_ROWS, Run, RunBuilder};
use super::texts::{REFUSED, Schema, TextId};
use crate::column::{ABSENT, STALE};

thread_local! {
    static BUILDER: RefCell<RunBuilder> = RefCell::default();
}

/// A frame on its way into a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) time_ms: i64,
    pub(crate) key: bool,
    pub(crate) bytes: &'a [u8],
    /// The log that holds it, and where.
    pub(crate) log: u64,
    pub(crate) offset: u32,
}

/// What catching up yields.
#[derive(Debug, Default)]
pub(crate) struct Caught {
    pub(crate) runs: Vec<Run>,
    /// Log and offset of frames that could not be decoded.
    pub(crate) orphans: Vec<(u64, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    end: u32,
    offset: u32,
    time_ms: i64,
}

/// A chain and its newest frames.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) epoch: u64,
    /// The last frame, pending ones included.
    pub(crate) last_seq: u64,
    /// The log of the pending frames, and of everything that is needed to decode them.
    pub(crate) log: u64,
    /// Whether `log` begins this chain with a key frame.
    pub(crate) anchored: bool,
    /// Rises with each use among the chains of a host.
    pub(crate) used: u64,
    decoder: Decoder,
    schema: Option<Arc<Schema>>,
    present: Vec<bool>,
    bytes: Vec<u8>,
    pending: Vec<Pending>,
    /// Frames that make the next run.
    rows: usize,
}

impl Chain {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last_seq: 0,
            log: 0,
            anchored: false,
            used: 0,
            decoder: Decoder::new(),
            schema: None,
            present: Vec::new(),
            bytes: Vec::new(),
            pending: Vec::new(),
            rows: RUN_ROWS,
        }
    }

    /// Whether a frame continues this chain.
    pub(crate) fn is_before(&self, epoch: u64, seq: u64) -> bool {
        self.epoch == epoch && self.last_seq.checked_add(1) == Some(seq)
    }

    /// Whether a frame of this time may meet a pending one of the same time.
    pub(crate) fn may_collide(&self, time_ms: i64) -> bool {
        let times = || self.pending.iter().map(|one| one.time_ms);
        times().min().is_some_and(|first| first <= time_ms)
            && times().max().is_some_and(|last| last >= time_ms)
    }

    /// Takes a frame of this chain in. Pending ones of another log must have been caught up with.
    pub(crate) fn push(&mut self, arrival: &Arrival<'_>, keep: &Keep<'_>, caught: &mut Caught) {
        self.last_seq = arrival.seq;
        if self.log != arrival.log {
            self.rows = first_rows(arrival.offset);
        }
        self.log = arrival.log;
        self.anchored = true;
        self.bytes.extend_from_slice(arrival.bytes);
        self.pending.push(Pending {
            end: self.bytes.len() as u32,
            offset: arrival.offset,
            time_ms: arrival.time_ms,
        });
        let is_full = self.pending.len() >= self.rows;
        if is_full || !is_plain(arrival.bytes) {
            self.catch_up(keep, caught);
        }
        if is_full {
            self.rows = RUN_ROWS;
        }
    }

    /// Follows a frame without taking its samples: it is stored already, or it tells the state
    /// before the next one. False: it cannot be decoded.
    pub(crate) fn follow(&mut self, seq: u64, bytes: &[u8], keep: &Keep<'_>) -> bool {
        self.last_seq = seq;
        self.anchored = false;
        let followed = self
            .decoder
            .decode(bytes, &mut |text| keep.shared(text))
            .is_ok();
        if !is_plain(bytes) {
            self.note_columns(keep);
        }
        self.present.clear();
        let present = self
            .decoder
            .columns()
            .iter()
            .map(|column| column.value().is_some());
        self.present.extend(present);
        followed
    }

    /// The state after the last frame as a key frame; `None` if it is not known.
    pub(crate) fn state(&self) -> Option<Vec<u8>> {
        let last = self
            .decoder
            .last()
            .filter(|last| last.seq == self.last_seq)?;
        let mut bytes = Vec::new();
        self.decoder
            .encode_key(&mut bytes)
            .filter(|batch| batch.seq == last.seq)?;
        Some(bytes)
    }

    /// The decoder, once all frames are caught up with.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Series that it has.
    pub(crate) fn series(&self) -> usize {
        self.schema
            .as_ref()
            .map_or(0, |schema| schema.order().len())
    }

    /// Texts that it uses.
    pub(crate) fn schema(&self) -> Option<&Arc<Schema>> {
        self.schema.as_ref()
    }

    /// Visits some columns of the pending frames, without decoding them all. `columns` ascend.
    /// [`ABSENT`] and [`STALE`] stand for what no report holds.
    pub(crate) fn glance(&self, columns: &[usize], each: &mut dyn FnMut(i64, &[f64])) {
        let mut starts = 0;
        let frames = self.pending.iter().map(|one| {
            let end = one.end as usize;
            let frame = self.bytes.get(starts..end).unwrap_or_default();
            starts = end;
            frame
        });
        let present = columns
            .iter()
            .map(|&column| self.present.get(column).copied());
        let mut present: Vec<bool> = present.map(Option::unwrap_or_default).collect();
        let mut row = Vec::with_capacity(columns.len());
        let seen = self
            .decoder
            .glance(frames, columns, &mut |time_ms, values| {
                row.clear();
                row.extend(values.iter().zip(&mut present).map(|(value, present)| {
                    let was = std::mem::replace(present, value.is_some());
                    value.unwrap_or(if was { STALE } else { ABSENT })
                }));
                each(time_ms, &row);
            });
        if let Err(error) = seen {
            tracing::debug!(error = %error, "a pending frame cannot be read yet");
        }
    }

    /// Times of the pending frames.
    pub(crate) fn pending_times(&self) -> impl Iterator<Item = i64> {
        self.pending.iter().map(|one| one.time_ms)
    }

    /// Decodes the pending frames.
    pub(crate) fn catch_up(&mut self, keep: &Keep<'_>, caught: &mut Caught) {
        if self.pending.is_empty() {
            return;
        }
        BUILDER.with_borrow_mut(|builder| self.decode_pending(builder, keep, caught));
    }

    fn decode_pending(&mut self, builder: &mut RunBuilder, keep: &Keep<'_>, caught: &mut Caught) {
        let bytes = std::mem::take(&mut self.bytes);
        let pending = std::mem::take(&mut self.pending);
        builder.begin(self.decoder.columns().len());
        let mut start = 0;
        for one in pending {
            let end = one.end as usize;
            let frame = bytes.get(start..end).unwrap_or_default();
            start = end;
            let plain = is_plain(frame);
            if !plain || builder.is_full() {
                self.end_run(builder, caught);
            }
            let before = if plain { None } else { self.present_texts() };
            let decoded = self.decoder.decode(frame, &mut |text| keep.shared(text));
            let continues = before.as_ref().is_some_and(|(seq, _)| {
                decoded
                    .as_ref()
                    .is_ok_and(|info| seq.checked_add(1) == Some(info.batch.seq))
            });
            if !decoded.is_ok_and(|info| info.batch.time_ms == one.time_ms) {
                self.decoder = Decoder::new();
                caught.orphans.push((self.log, one.offset));
                continue;
            }
            if !plain {
                self.note_columns(keep);
                builder.begin(self.decoder.columns().len());
                if let Some((_, texts)) = before.filter(|_| continues) {
                    self.end_series(&texts, one.time_ms, builder, keep, caught);
                }
            }
            let Self {
                decoder, present, ..
            } = self;
            builder.push(one.time_ms, rows(decoder.columns(), present));
        }
        self.end_run(builder, caught);
    }

    fn end_run(&mut self, builder: &mut RunBuilder, caught: &mut Caught) {
        if let Some(schema) = &self.schema {
            caught.runs.extend(builder.take(self.log, schema));
        }
    }

    /// The last frame's number and the texts that had a value in it.
    fn present_texts(&self) -> Option<(u64, Vec<TextId>)> {
        let last = self.decoder.last()?;
        let ids = self.schema.as_ref()?.ids().iter().zip(&self.present);
        let texts = ids.filter(|&(&id, &present)| present && id != REFUSED);
        Some((last.seq, texts.map(|(&id, _)| id).collect()))
    }

    /// A key frame that follows on need not name what is gone; it is marked stale here.
    fn end_series(
        &self,
        before: &[TextId],
        time_ms: i64,
        builder: &mut RunBuilder,
        keep: &Keep<'_>,
        caught: &mut Caught,
    ) {
        let Some(schema) = &self.schema else { return };
        let columns = self.decoder.columns().iter().zip(schema.ids());
        let now: HashSet<TextId> = columns
            .filter(|(column, _)| column.value().is_some())
            .map(|(_, &id)| id)
            .collect();
        let in_frame = |id: &TextId| now.contains(id) || schema.column(*id).is_some();
        let gone: Vec<TextId> = before.iter().copied().filter(|id| !in_frame(id)).collect();
        if gone.is_empty() {
            return;
        }
        builder.begin(gone.len());
        builder.push(time_ms, gone.iter().map(|_| STALE));
        caught
            .runs
            .extend(builder.take(self.log, &keep.texts.schema(&gone)));
        builder.begin(self.decoder.columns().len());
    }

    /// Numbers the columns after a frame that named some. What was there before keeps its presence.
    fn note_columns(&mut self, keep: &Keep<'_>) {
        let columns = self.decoder.columns();
        let is_known = |schema: &Arc<Schema>| schema.ids().len() == columns.len();
        let before = self.schema.take();
        let ids = keep.number(columns);
        if let Some(before) = before
            .as_ref()
            .filter(|&before| is_known(before) && *before.ids() == *ids)
        {
            self.schema = Some(Arc::clone(before));
            return;
        }
        let mut present = vec![false; columns.len()];
        if let Some(before) = before {
            for (flag, &id) in present.iter_mut().zip(&ids) {
                let column = before.column(id);
                *flag = column
                    .and_then(|column| self.present.get(column).copied())
                    .unwrap_or(false);
            }
        }
        self.present = present;
        self.schema = Some(keep.texts.schema(&ids));
    }

    /// Bytes on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.decoder.columns().len() * (size_of::<Column>() + 1)
            + self.bytes.capacity()
            + self.pending.capacity() * size_of::<Pending>()
            + size_of::<Self>()
    }
}

/// A value per column: a number, the marker of a series that just ended, or nothing.
fn rows(columns: &[Column], present: &mut [bool]) -> impl Iterator<Item = f64> {
    columns
        .iter()
        .zip(present)
        .map(|(column, present)| match column.value() {
            Some(value) => {
                *present = true;
                value
            }
            None if std::mem::take(present) => STALE,
            None => ABSENT,
        })
}

/// Frames of a chain's first run in a log. A new log begins for all hosts at once, and a fleet of
/// one cadence would fill its buffers together and leave them empty together; so each host's first
/// run is of another length, told by where its first frame lies.
fn first_rows(offset: u32) -> usize {
    const LEAST: usize = 8;
    let spread = offset.wrapping_mul(0x9e37_79b1) >> 16;
    LEAST + spread as usize % (RUN_ROWS - LEAST + 1)
}

/// Whether a frame is a delta without new columns.
fn is_plain(frame: &[u8]) -> bool {
    let Some((&[_, flags], mut rest)) = frame.split_first_chunk::<2>() else {
        return false;
    };
    let mut number = || varint::read(&mut rest);
    let (_seq, _step, columns) = (number(), number(), number());
    flags & 1 == 0 && columns == Some(0)
}
