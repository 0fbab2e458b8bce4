//! Appending: judge, write, make durable, and only then remember.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use xiezhi_protocol::batch::BatchInfo;

use crate::checkpoint::Lanes;
use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::foreign::{Accepted, AcceptedSource};
use crate::frame::{Appended, Frame, HostKey};
use crate::head::foreign::Told;
use crate::head::{Anchor, Arrival};
use crate::lane::Known;
use crate::log::{Log, Placed};
use crate::options::SeriesOptions;
use crate::recall::Recall;
use crate::record::{self, Content, MAX_FRAME_BYTES, Record};

/// Most bytes in one append, so that a group always fits a fresh segment.
const MAX_GROUP_BYTES: u64 = 512 << 20;
/// Most bytes of states that a group tells beside its frames.
const MAX_STATE_BYTES: usize = 512 << 20;
/// A segment's length bound, whatever the options say: offsets have 32 bits.
const MAX_SEGMENT_BYTES: u64 = u32::MAX as u64 - MAX_GROUP_BYTES - MAX_STATE_BYTES as u64;
/// At least what a record adds to its frame.
const RECORD_OVERHEAD: u64 = 80;

/// State of the one writer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// What is stored, by (host, epoch).
    pub(crate) lanes: Lanes,
    active: Option<Arc<Log>>,
    next_id: u64,
    /// The active log may have bytes behind its last durable record.
    tail_is_dirty: bool,
    recall: Recall,
    group: Vec<u8>,
    placed: Vec<Placed>,
}

impl Writer {
    /// A writer that goes on with the `active` log, or begins one with this id.
    pub(crate) fn new(lanes: Lanes, active: Option<Arc<Log>>, next_id: u64) -> Self {
        Self {
            lanes,
            active,
            next_id,
            ..Self::default()
        }
    }

    /// The next frames go into another log.
    pub(crate) fn leave(&mut self) {
        self.active = None;
    }

    /// See [`crate::SeriesStore::append`].
    pub(crate) fn append(
        &mut self,
        engine: &Engine,
        frames: &[Frame<'_>],
    ) -> Result<Vec<Appended>, SeriesError> {
        let size = group_size(frames)?;
        let verdicts = self.judge(engine, frames);
        self.follow_replays(engine, frames, &verdicts);
        let is_new = |verdict: &Appended| *verdict == Appended::Stored;
        if verdicts.iter().any(is_new) {
            let new = frames
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| is_new(verdict));
            let new: Vec<&Frame<'_>> = new.map(|(frame, _)| frame).collect();
            let written = self.write(engine, &new, size);
            let full = written.as_ref().is_err_and(SeriesError::is_full);
            engine.counters.full.store(full, Ordering::Relaxed);
            written?;
        }
        self.count(engine, &verdicts);
        Ok(verdicts)
    }

    /// An agent that sends again may continue what it sent again.
    fn follow_replays(&self, engine: &Engine, frames: &[Frame<'_>], verdicts: &[Appended]) {
        let replays = frames.iter().zip(verdicts);
        for (frame, _) in replays.filter(|(_, verdict)| **verdict == Appended::Replay) {
            engine.heads.follow(
                frame.host,
                &arrival(frame, 0, 0),
                engine.options.clock.now_ms(),
            );
        }
    }

    fn judge(&mut self, engine: &Engine, frames: &[Frame<'_>]) -> Vec<Appended> {
        let mut staged = HashMap::with_capacity(frames.len());
        self.recall.refill();
        frames
            .iter()
            .map(|frame| {
                let checksum = frame.batch.checksum;
                let staged = match staged.entry((frame.host, frame.epoch, frame.batch.seq)) {
                    Entry::Occupied(entry) if *entry.get() == checksum => return Appended::Replay,
                    Entry::Occupied(_) => return Appended::Conflict,
                    Entry::Vacant(entry) => entry,
                };
                match self.look_up(engine, frame) {
                    Known::New => {
                        staged.insert(checksum);
                        Appended::Stored
                    }
                    Known::Same => Appended::Replay,
                    Known::Other | Known::Forgotten => Appended::Conflict,
                }
            })
            .collect()
    }

    /// Looks in memory, then, for a frame that memory has forgotten, among the stored frames.
    fn look_up(&mut self, engine: &Engine, frame: &Frame<'_>) -> Known {
        let (host, epoch) = (frame.host, frame.epoch);
        let Some(lane) = self.lanes.get(&(host, epoch)) else {
            return Known::New;
        };
        let known = lane.look_up(frame.batch.seq, frame.batch.checksum);
        if known != Known::Forgotten {
            return known;
        }
        match self.recall.checksum(engine, host, epoch, frame.batch.seq) {
            Some(checksum) if checksum == frame.batch.checksum => Known::Same,
            Some(_) => Known::Other,
            // Its samples are gone and summed up in steps: stored again, they would count twice.
            None if frame.batch.time_ms <= engine.files().floor_ms() => Known::Same,
            None => Known::Forgotten,
        }
    }

    fn write(
        &mut self,
        engine: &Engine,
        frames: &[&Frame<'_>],
        size: u64,
    ) -> Result<(), SeriesError> {
        self.clean_tail(engine)?;
        let received_ms = engine.options.clock.now_ms();
        let log = self.log_for(engine, received_ms, size)?;
        self.lay_out(engine, &log, frames, received_ms);
        let start = self.commit(engine, &log)?;
        for (frame, placed) in frames.iter().zip(&self.placed) {
            let lane = self.lanes.entry((frame.host, frame.epoch)).or_default();
            lane.insert(frame.batch.seq, frame.batch.checksum, received_ms);
            // Offsets have 32 bits: the segment's bound sees to it.
            let offset = (start + u64::from(placed.offset)) as u32;
            let arrival = arrival(frame, log.id, offset);
            engine.heads.push(frame.host, &arrival, received_ms);
        }
        Ok(())
    }

    /// Writes new samples of sources; see [`crate::SeriesStore::append_sources`].
    pub(crate) fn append_foreign(
        &mut self,
        engine: &Engine,
        accepted: &[AcceptedSource],
    ) -> Result<(), SeriesError> {
        let written = self.write_foreign(engine, accepted);
        let full = written.as_ref().is_err_and(SeriesError::is_full);
        engine.counters.full.store(full, Ordering::Relaxed);
        written
    }

    fn write_foreign(
        &mut self,
        engine: &Engine,
        accepted: &[AcceptedSource],
    ) -> Result<(), SeriesError> {
        let size = foreign_size(accepted)?;
        self.clean_tail(engine)?;
        let received_ms = engine.options.clock.now_ms();
        let log = self.log_for(engine, received_ms, size)?;
        let heads = &engine.heads;
        self.group.clear();
        self.placed.clear();
        let mut written = Ok(());
        for one in accepted {
            let told = heads.with_foreign(one.source, received_ms, |foreign, _| {
                foreign.tell(log.id, &one.series)
            });
            match told {
                Ok(told) => self.lay_out_foreign(&log, one.source, &told, received_ms),
                Err(error) => {
                    written = Err(error);
                    break;
                }
            }
        }
        let written = written.and_then(|()| self.commit(engine, &log));
        for one in accepted {
            heads.with_foreign(one.source, received_ms, |foreign, keep| match written {
                Ok(_) => foreign.push(log.id, &one.series, received_ms, keep),
                // What a log never took has no number in it.
                Err(_) => foreign.untell(),
            });
        }
        written.map(drop)
    }

    fn lay_out_foreign(&mut self, log: &Log, source: HostKey, told: &[Told], received_ms: i64) {
        for one in told {
            self.placed.push(Placed {
                host: source,
                offset: self.group.len() as u32,
                time_ms: one.oldest_ms,
                received_ms,
                foreign_newest_ms: Some(one.newest_ms),
            });
            let record = Record {
                host: source,
                epoch: 0,
                batch: BatchInfo {
                    seq: 0,
                    time_ms: one.oldest_ms,
                    checksum: 0,
                },
                key: false,
                group: self.group.is_empty(),
                content: Content::Foreign,
                received_ms,
                bytes: &one.bytes,
            };
            record::write(&mut self.group, log.seed, &record);
        }
    }

    /// Writes the group and makes it durable; yields where it begins.
    fn commit(&mut self, engine: &Engine, log: &Log) -> Result<u64, SeriesError> {
        log.append(&self.group, &self.placed).map_err(|error| {
            self.tail_is_dirty = true;
            if let Err(error) = self.clean_tail(engine) {
                tracing::warn!(error = %error, "torn end stays until the next append");
            }
            engine.error("append to", &log.name)(error)
        })
    }

    /// Fills the group. A chain that this log has not begun gets its state before the frame, so
    /// that each log can be decoded without those before it.
    fn lay_out(&mut self, engine: &Engine, log: &Log, frames: &[&Frame<'_>], received_ms: i64) {
        self.group.clear();
        self.placed.clear();
        let mut begun: HashSet<(HostKey, u64, u64)> = HashSet::with_capacity(frames.len());
        let mut told = 0;
        for frame in frames {
            let (host, epoch, seq) = (frame.host, frame.epoch, frame.batch.seq);
            let before = seq.checked_sub(1);
            let continues = before.is_some_and(|before| begun.remove(&(host, epoch, before)));
            begun.insert((host, epoch, seq));
            if let (false, false, Some(before)) = (continues, frame.key, before) {
                let anchor = engine.heads.anchor(host, epoch, seq, log.id, received_ms);
                if let Anchor::State(state) = anchor
                    && told + state.len() <= MAX_STATE_BYTES
                {
                    told += state.len();
                    self.lay_out_state(log, frame, before, received_ms, &state);
                }
            }
            self.placed.push(Placed {
                host: frame.host,
                offset: self.group.len() as u32,
                time_ms: frame.batch.time_ms,
                received_ms,
                foreign_newest_ms: None,
            });
            let record = Record {
                host: frame.host,
                epoch: frame.epoch,
                batch: frame.batch,
                key: frame.key,
                group: self.group.is_empty(),
                content: Content::Frame,
                received_ms,
                bytes: frame.bytes,
            };
            record::write(&mut self.group, log.seed, &record);
        }
    }

    fn lay_out_state(
        &mut self,
        log: &Log,
        frame: &Frame<'_>,
        seq: u64,
        received_ms: i64,
        state: &[u8],
    ) {
        let batch = BatchInfo { seq, ..frame.batch };
        let record = Record {
            host: frame.host,
            epoch: frame.epoch,
            batch,
            key: true,
            group: self.group.is_empty(),
            content: Content::State,
            received_ms,
            bytes: state,
        };
        record::write(&mut self.group, log.seed, &record);
    }

    /// After a failed write the file may hold part of the group; it must not stay there, or the
    /// next group would follow damage.
    fn clean_tail(&mut self, engine: &Engine) -> Result<(), SeriesError> {
        if let Some(log) = self.active.as_ref().filter(|_| self.tail_is_dirty) {
            log.cut_tail()
                .map_err(engine.error("cut the torn end of", &log.name))?;
            self.tail_is_dirty = false;
        }
        Ok(())
    }

    /// The log that takes the next group: the active one, or a new one when that is full.
    fn log_for(
        &mut self,
        engine: &Engine,
        received_ms: i64,
        size: u64,
    ) -> Result<Arc<Log>, SeriesError> {
        match self.active.clone() {
            Some(log) if !is_due(&log, &engine.options, received_ms, size) => return Ok(log),
            Some(log) => match self.begin_log(engine) {
                Ok(log) => return Ok(log),
                Err(error) if log.state().length + size <= u64::from(u32::MAX) => {
                    tracing::warn!(error = %error, "cannot begin a segment, going on with the last one");
                    return Ok(log);
                }
                Err(error) => return Err(error),
            },
            None => {}
        }
        self.begin_log(engine)
    }

    fn begin_log(&mut self, engine: &Engine) -> Result<Arc<Log>, SeriesError> {
        let id = self.next_id;
        let name = crate::log::name(id);
        let log = random_salt()
            .and_then(|salt| Log::create(&*engine.disk, id, salt))
            .map_err(engine.error("create", &name))?;
        let log = Arc::new(log);
        engine.change_files(|files| {
            files.logs.insert(id, Arc::clone(&log));
            files.active = Some(id);
        });
        if self.active.replace(Arc::clone(&log)).is_some() {
            engine.bell.ring();
        }
        self.next_id = id + 1;
        Ok(log)
    }

    fn count(&self, engine: &Engine, verdicts: &[Appended]) {
        let of = |wanted| {
            verdicts
                .iter()
                .filter(|&&verdict| verdict == wanted)
                .count() as u64
        };
        count(&engine.counters.appended, of(Appended::Stored));
        count(&engine.counters.replays, of(Appended::Replay));
        count(&engine.counters.conflicts, of(Appended::Conflict));
    }
}

fn arrival<'a>(frame: &Frame<'a>, log: u64, offset: u32) -> Arrival<'a> {
    Arrival {
        epoch: frame.epoch,
        seq: frame.batch.seq,
        time_ms: frame.batch.time_ms,
        key: frame.key,
        bytes: frame.bytes,
        log,
        offset,
    }
}

/// An upper bound of what the group takes on disk.
fn group_size(frames: &[Frame<'_>]) -> Result<u64, SeriesError> {
    let mut size = 0;
    for frame in frames {
        let bytes = frame.bytes.len() as u64;
        if bytes > MAX_FRAME_BYTES as u64 {
            let limit = MAX_FRAME_BYTES as u64;
            return Err(SeriesError::TooLarge {
                what: "frame",
                bytes,
                limit,
            });
        }
        size += bytes + RECORD_OVERHEAD;
    }
    if size > MAX_GROUP_BYTES {
        let limit = MAX_GROUP_BYTES;
        return Err(SeriesError::TooLarge {
            what: "group of frames",
            bytes: size,
            limit,
        });
    }
    Ok(size)
}

/// An upper bound of what a source's samples take on disk.
fn foreign_size(accepted: &[AcceptedSource]) -> Result<u64, SeriesError> {
    /// A sample's number, time and value at their longest.
    const SAMPLE_BYTES: u64 = 40;
    let of = |one: &Accepted| one.text.len() as u64 + 20 + one.points.len() as u64 * SAMPLE_BYTES;
    let of_source = |one: &AcceptedSource| RECORD_OVERHEAD + one.series.iter().map(of).sum::<u64>();
    let size = accepted.iter().map(of_source).sum::<u64>();
    if size > MAX_GROUP_BYTES {
        let limit = MAX_GROUP_BYTES;
        return Err(SeriesError::TooLarge {
            what: "request",
            bytes: size,
            limit,
        });
    }
    Ok(size)
}

fn is_due(log: &Log, options: &SeriesOptions, received_ms: i64, size: u64) -> bool {
    let state = log.state();
    if state.is_empty() {
        return false;
    }
    let span_ms = u64::try_from(options.segment_span.as_millis()).unwrap_or(u64::MAX);
    let records = state.length.saturating_sub(log.start);
    let too_large = records + size > options.segment_bytes.min(MAX_SEGMENT_BYTES);
    // By distance, so that a clock that went back ends a segment too.
    too_large || received_ms.abs_diff(state.span.first_received_ms) >= span_ms
}

pub(crate) fn random_salt() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}
