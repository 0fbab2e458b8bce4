//! Collects a host's stored frames from segments of the first format, within a query's bounds.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use xiezhi_protocol::batch::BatchInfo;

use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::options::QueryLimits;
use crate::record::Record;
use crate::scan::Step;
use crate::segment::{Entry, Segment};

/// Segments looked at for the beginning of a chain. A chain has at most 240 frames: an hour at 15 s,
/// 20 hours at 5 minutes.
const MAX_LOOK_BACK: usize = 48;

/// A frame in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) batch: BatchInfo,
    pub(crate) key: bool,
    pub(crate) received_ms: i64,
    start: usize,
    length: usize,
}

/// A frame that a chain lacks.
#[derive(Debug, Clone, Copy)]
struct Missing {
    epoch: u64,
    seq: u64,
    /// When the frame after it arrived.
    received_ms: i64,
}

/// Frames of one host, gathered.
#[derive(Debug)]
pub(crate) struct Gathering<'e> {
    engine: &'e Engine,
    files: Catalog,
    host: HostKey,
    limits: QueryLimits,
    frames: Vec<Held>,
    arena: Vec<u8>,
    regions: HashSet<(u64, u64)>,
    pub(crate) damaged: u64,
}

impl<'e> Gathering<'e> {
    /// Nothing yet, from the files as they are now.
    pub(crate) fn new(engine: &'e Engine, host: HostKey, limits: QueryLimits) -> Self {
        Self {
            engine,
            files: engine.files(),
            host,
            limits,
            frames: Vec::new(),
            arena: Vec::new(),
            regions: HashSet::new(),
            damaged: 0,
        }
    }

    /// The frames, by epoch and sequence number, each once.
    pub(crate) fn frames(&self) -> &[Held] {
        &self.frames
    }

    /// What the query may cost.
    pub(crate) fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// A frame's bytes.
    pub(crate) fn bytes(&self, frame: &Held) -> &[u8] {
        self.arena
            .get(frame.start..frame.start + frame.length)
            .unwrap_or_default()
    }

    /// Reads whatever may lie in the time range.
    pub(crate) fn read_range(&mut self, from_ms: i64, to_ms: i64) -> Result<(), SeriesError> {
        let files = self.files.clone();
        for segment in files
            .sealed
            .values()
            .filter(|one| one.span.overlaps(from_ms, to_ms))
        {
            self.read_segment(segment, &|entry| {
                entry.oldest_ms <= to_ms && entry.newest_ms >= from_ms
            })?;
        }
        self.sort();
        Ok(())
    }

    /// Reads the file that holds one frame, newest files first.
    pub(crate) fn read_frame(&mut self, epoch: u64, seq: u64) -> Result<(), SeriesError> {
        let files = self.files.clone();
        for segment in files.sealed.values().rev() {
            if self.read_segment(segment, &|entry| entry.may_hold(epoch, seq))? {
                break;
            }
        }
        self.sort();
        Ok(())
    }

    /// Reads on, backwards, until the chain of every wanted frame has its beginning or the bound
    /// is met.
    pub(crate) fn read_beginnings(
        &mut self,
        wanted: &dyn Fn(&Held) -> bool,
    ) -> Result<(), SeriesError> {
        let mut missing = self.missing(wanted);
        let files = self.files.clone();
        // A predecessor arrived before its successor.
        let newest_ms = missing
            .iter()
            .map(|lost| lost.received_ms)
            .max()
            .unwrap_or(i64::MIN);
        let earlier = |one: &&Arc<Segment>| one.span.first_received_ms <= newest_ms;
        let bound = MAX_LOOK_BACK + self.regions.len();
        for segment in files.sealed.values().rev().filter(earlier).take(bound) {
            if missing.is_empty() {
                return Ok(());
            }
            let holds = |entry: &Entry| {
                missing
                    .iter()
                    .any(|lost| entry.may_hold(lost.epoch, lost.seq))
            };
            if self.read_segment(segment, &holds)? {
                self.sort();
                missing = self.missing(wanted);
            }
        }
        Ok(())
    }

    /// Predecessors that the chains of wanted frames lack.
    fn missing(&self, wanted: &dyn Fn(&Held) -> bool) -> Vec<Missing> {
        let chains = chains(&self.frames);
        let chains = chains
            .iter()
            .filter_map(|chain| self.frames.get(chain.clone()));
        chains
            .filter_map(|chain| {
                let first = chain.first().filter(|first| !first.key)?;
                let seq = first.batch.seq.checked_sub(1)?;
                let (epoch, received_ms) = (first.epoch, first.received_ms);
                chain.iter().any(wanted).then_some(Missing {
                    epoch,
                    seq,
                    received_ms,
                })
            })
            .collect()
    }

    /// Reads the regions that are asked for and not read yet; tells whether there were any.
    fn read_segment(
        &mut self,
        segment: &Segment,
        asked: &dyn Fn(&Entry) -> bool,
    ) -> Result<bool, SeriesError> {
        let entries = segment
            .find(self.host)
            .map_err(self.engine.error("read", &segment.name))?;
        let mut any = false;
        for entry in entries.iter().filter(|entry| asked(entry)) {
            if self.regions.insert((segment.id, entry.epoch)) {
                self.check(u64::from(entry.frames), entry.length)?;
                self.read_region(segment, entry)
                    .map_err(self.engine.error("read", &segment.name))?;
                any = true;
            }
        }
        Ok(any)
    }

    fn read_region(&mut self, segment: &Segment, entry: &Entry) -> io::Result<()> {
        let mut region = segment.region(entry);
        while let Some(step) = region.step()? {
            match step {
                Step::Record { record, .. } if record.host == self.host => self.hold(&record),
                Step::Record { offset, .. } | Step::Damaged { offset, .. } => {
                    self.damaged += 1;
                    self.engine.damage.note(&segment.name, offset);
                }
            }
        }
        Ok(())
    }

    fn hold(&mut self, record: &Record<'_>) {
        self.frames.push(Held {
            epoch: record.epoch,
            batch: record.batch,
            key: record.key,
            received_ms: record.received_ms,
            start: self.arena.len(),
            length: record.bytes.len(),
        });
        self.arena.extend_from_slice(record.bytes);
    }

    fn check(&self, frames: u64, bytes: u64) -> Result<(), SeriesError> {
        let limits = &self.limits;
        let too_much = |what, limit| Err(SeriesError::TooMuch { what, limit });
        if self.frames.len() as u64 + frames > limits.max_frames {
            return too_much("frames", limits.max_frames);
        }
        if self.arena.len() as u64 + bytes > limits.max_bytes {
            return too_much("bytes", limits.max_bytes);
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.frames
            .sort_by_key(|held| (held.epoch, held.batch.seq, held.received_ms));
        self.frames
            .dedup_by_key(|held| (held.epoch, held.batch.seq));
    }
}

/// Cuts sorted frames into chains: each begins with a key frame, or with a frame whose
/// predecessor is not there.
pub(crate) fn chains(frames: &[Held]) -> Vec<std::ops::Range<usize>> {
    let mut chains: Vec<std::ops::Range<usize>> = Vec::new();
    let mut before: Option<&Held> = None;
    for (index, frame) in frames.iter().enumerate() {
        let follows = before.is_some_and(|before| {
            before.epoch == frame.epoch && before.batch.seq.checked_add(1) == Some(frame.batch.seq)
        });
        match chains.last_mut() {
            Some(chain) if follows && !frame.key => chain.end = index + 1,
            _ => chains.push(index..index + 1),
        }
        before = Some(frame);
    }
    chains
}
