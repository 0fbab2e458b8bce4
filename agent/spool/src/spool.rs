//! The queue itself: numbers, appending, acknowledging, what is known of it.

use std::io;
use std::path::{Path, PathBuf};

use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_protocol::codec::MAX_CHAIN;
use xiezhi_protocol::message::{Dropped, SpoolStatus};
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record::MAX_RECORD_BYTES;

use crate::disk::Disk;
use crate::drops;
use crate::error::{Limits, SpoolError};
use crate::lane::Lane;
use crate::ranges::{intersect, span, subtract};
use crate::segment;
use crate::state::{MAX_SESSION_BYTES, State, StateFile, StreamState};

/// Numbers that are reserved ahead with one sync: at 15 seconds a report, one sync in four hours,
/// and the largest hole that a power cut leaves in a stream's numbers.
pub(crate) const RESERVE: u64 = 1000;
/// A segment of events ends at this size or at a 32nd of the spool, so that making room costs
/// little at a time.
const SEGMENT_BYTES: u64 = 128 * 1024;
/// A segment of events ends at this age, so that age is judged by the hour.
const SEGMENT_AGE_MS: u64 = 3600 * 1000;
/// How long a power cut may reach back for samples and ordinary events.
const SYNC_EVERY_MS: u64 = 60 * 1000;
/// Two ticks further apart than this count as this far apart: the host slept, or its clock jumped.
const MAX_TICK_MS: i64 = 600 * 1000;
/// Largest payload; a record on the wire must hold it too.
const MAX_PAYLOAD_BYTES: usize = MAX_RECORD_BYTES - 64;

/// The queue. One process, one folder.
#[derive(Debug)]
pub struct Spool {
    pub(crate) folder: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) limits: Limits,
    pub(crate) file: StateFile,
    pub(crate) epoch: u64,
    pub(crate) session: String,
    pub(crate) boot_id: String,
    pub(crate) age_ms: u64,
    pub(crate) ticked_ms: i64,
    pub(crate) synced_ms: i64,
    pub(crate) folder_unsynced: bool,
    /// In the order of [`Stream::ALL`].
    pub(crate) lanes: [Lane; 4],
    pub(crate) drops: Vec<Dropped>,
    pub(crate) counters: Counters,
    /// Why segments cannot be written at present.
    pub(crate) write_trouble: Option<String>,
    /// Why the state cannot be written at present.
    pub(crate) state_trouble: Option<String>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) lost_on_open: Vec<(Stream, RangeSet, (i64, i64))>,
}

/// What happened since the spool was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches appended.
    pub appended: u64,
    /// Batches given up, whatever the reason.
    pub dropped: u64,
    /// Segment tails that a crash had torn and that were cut off.
    pub torn_tails: u64,
    /// Damaged records met.
    pub damaged: u64,
    /// Writes and syncs that the system refused.
    pub write_errors: u64,
    /// Bytes that wait in memory because the disk refuses them.
    pub memory_bytes: u64,
}

impl Spool {
    /// The number that the next batch of `stream` must carry.
    #[must_use]
    pub fn next_seq(&self, stream: Stream) -> u64 {
        self.lane(stream).next
    }

    /// The last number of `stream` that a batch certainly had; 0 if none had. After a power cut it is
    /// that of the last batch on disk, and numbers up to [`Spool::next_seq`] may have been used.
    #[must_use]
    pub fn last_used(&self, stream: Stream) -> u64 {
        self.lane(stream).used
    }

    /// Whether the next sample frame must be a key frame because the open chain has ended. Restart
    /// the encoder then; [`Spool::append`] refuses a delta with [`SpoolError::NeedsKey`].
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.require_chain(Stream::Samples, 0, false).is_err()
    }

    /// Adds one batch. `key` tells whether a sample frame is a key frame; ignored for events.
    ///
    /// If the disk is full the batch is held in memory (at most 256 KiB of all streams), can be
    /// sent from there, and is written as soon as the disk takes it; [`Spool::status`] says so.
    ///
    /// # Errors
    /// [`SpoolError::NeedsKey`], [`SpoolError::OutOfOrder`], [`SpoolError::TooLarge`] and
    /// [`SpoolError::State`] change nothing: the number is still free. On [`SpoolError::Full`] the
    /// number is used up and counted as dropped.
    pub fn append(
        &mut self,
        stream: Stream,
        info: BatchInfo,
        key: bool,
        bytes: &[u8],
    ) -> Result<(), SpoolError> {
        let key = key || stream != Stream::Samples;
        self.check(stream, info.seq, bytes.len())?;
        self.require_chain(stream, info.seq, key)?;
        self.reserve(stream, info.seq)?;
        let mut record = std::mem::take(&mut self.scratch);
        record.clear();
        segment::write_record(&mut record, info, key, bytes);
        let outcome = self.append_record(stream, info, key, &record);
        record.shrink_to(16 * 1024);
        self.scratch = record;
        outcome
    }

    fn append_record(
        &mut self,
        stream: Stream,
        info: BatchInfo,
        key: bool,
        record: &[u8],
    ) -> Result<(), SpoolError> {
        if !self.make_room(stream, record.len() as u64) {
            return Err(self.refuse_full(stream, info));
        }
        // Making room may have taken the chain that this frame continues.
        self.require_chain(stream, info.seq, key)?;
        let begins = key && stream == Stream::Samples;
        if begins {
            self.close_segment(stream);
        }
        let age_ms = self.age_ms;
        let lane = self.lane_mut(stream);
        if !lane.open {
            lane.begin(info.seq, info.time_ms, age_ms);
        }
        if let Some(segment) = lane.segments.back_mut() {
            segment.tail.extend_from_slice(record);
            segment.tail_first.get_or_insert(info.seq);
            segment.held.insert(info.seq);
            segment.last = info.seq;
            segment.from_ms = segment.from_ms.min(info.time_ms);
            segment.to_ms = segment.to_ms.max(info.time_ms);
            segment.records += 1;
        }
        lane.next = info.seq + 1;
        lane.used = info.seq;
        self.counters.appended += 1;
        self.settle_on_disk(stream, info.seq, record.len())
    }

    /// Brings what is in memory to disk, or keeps it bounded.
    fn settle_on_disk(
        &mut self,
        stream: Stream,
        seq: u64,
        length: usize,
    ) -> Result<(), SpoolError> {
        if self.flush_all() {
            if stream == Stream::Security {
                self.sync(&[stream]);
            }
            let ended = self.lane(stream).segments.back().is_some_and(|segment| {
                let limit = SEGMENT_BYTES.min(self.limits.max_bytes / 32);
                stream != Stream::Samples && segment.bytes() >= limit
            });
            if ended {
                self.close_segment(stream);
            }
            return Ok(());
        }
        self.bound_memory();
        let kept = self
            .lane(stream)
            .segments
            .back()
            .is_some_and(|s| s.held.contains(seq));
        // The number is used up from now on, which only the state can tell a later run.
        let state = self.state(false);
        let saved = self.file.save(&self.disk, &state, false);
        self.note_state(&saved);
        match saved {
            _ if !kept => Err(SpoolError::Full { seq }),
            Ok(()) => Ok(()),
            Err(error) => {
                self.undo(stream, seq, length);
                Err(SpoolError::State(error))
            }
        }
    }

    /// Takes back the batch that was appended last and is only in memory.
    fn undo(&mut self, stream: Stream, seq: u64, length: usize) {
        self.counters.appended -= 1;
        let lane = self.lane_mut(stream);
        lane.next = seq;
        lane.used = seq - 1;
        let Some(segment) = lane.segments.back_mut() else {
            return;
        };
        segment
            .tail
            .truncate(segment.tail.len().saturating_sub(length));
        segment.held = subtract(&segment.held, &span(seq, seq));
        segment.records = segment.records.saturating_sub(1);
        segment.tail_first = segment.tail_first.filter(|&first| first < seq);
        match segment.held.last() {
            Some(last) => segment.last = last,
            None => {
                lane.segments.pop_back();
                lane.end();
            }
        }
    }

    fn check(&self, stream: Stream, seq: u64, length: usize) -> Result<(), SpoolError> {
        let expected = self.lane(stream).next;
        if seq != expected {
            return Err(SpoolError::OutOfOrder { seq, expected });
        }
        if length > MAX_PAYLOAD_BYTES {
            return Err(SpoolError::TooLarge {
                bytes: length,
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        Ok(())
    }

    fn require_chain(&self, stream: Stream, seq: u64, key: bool) -> Result<(), SpoolError> {
        let lane = self.lane(stream);
        let chain_full = || {
            lane.segments
                .back()
                .is_none_or(|open| open.records >= MAX_CHAIN)
        };
        if !key && (!lane.open || chain_full()) {
            return Err(SpoolError::NeedsKey { seq });
        }
        Ok(())
    }

    /// Makes sure that no later run will hand out `seq` again.
    fn reserve(&mut self, stream: Stream, seq: u64) -> Result<(), SpoolError> {
        let before = self.lane(stream).reserved;
        if seq < before {
            return Ok(());
        }
        self.lane_mut(stream).reserved = seq + RESERVE;
        self.save_durable(false)
            .inspect_err(|_| self.lane_mut(stream).reserved = before)
    }

    fn refuse_full(&mut self, stream: Stream, info: BatchInfo) -> SpoolError {
        self.close_segment(stream);
        let lane = self.lane_mut(stream);
        lane.next = info.seq + 1;
        lane.used = info.seq;
        let lost = span(info.seq, info.seq);
        self.count_dropped(stream, &lost, (info.time_ms, info.time_ms), drops::FULL);
        self.save(false);
        SpoolError::Full { seq: info.seq }
    }

    /// Takes note that the controller has made these batches durable. Numbers that were never
    /// handed out are ignored.
    pub fn ack(&mut self, stream: Stream, ranges: &RangeSet) {
        let lane = self.lane_mut(stream);
        for &(first, last) in ranges.ranges() {
            lane.settled.insert_range(first, last.min(lane.next - 1));
        }
        lane.trim_settled();
        // The state goes first: if the process dies in between, the file is only removed later.
        self.save(false);
        self.remove_settled();
    }

    /// Gives up one batch that the controller will not take; counted as `refused`.
    pub fn give_up(&mut self, stream: Stream, seq: u64) {
        let lane = self.lane(stream);
        let found = lane
            .segments
            .iter()
            .find(|segment| segment.held.contains(seq));
        let Some(times) = found.map(|segment| (segment.from_ms, segment.to_ms)) else {
            return;
        };
        if self.lane_mut(stream).settled.insert(seq) {
            self.count_dropped(stream, &span(seq, seq), times, drops::REFUSED);
        }
        self.save(true);
        self.remove_settled();
    }

    /// Forgets that these batches were acknowledged, as far as they are still here; the number of
    /// batches of the range that will be sent (again).
    pub fn resend(&mut self, stream: Stream, first: u64, last: u64) -> u64 {
        let lane = self.lane_mut(stream);
        let mut found = 0;
        for segment in &lane.segments {
            let again = intersect(&segment.held, &span(first, last));
            found += again.len();
            lane.settled = subtract(&lane.settled, &again);
        }
        self.save(false);
        found
    }

    /// Whether a batch needs no more sending: acknowledged, given up or no longer here.
    #[must_use]
    pub fn is_settled(&self, stream: Stream, seq: u64) -> bool {
        let lane = self.lane(stream);
        lane.settled.contains(seq) || !lane.segments.iter().any(|s| s.held.contains(seq))
    }

    /// The first batch numbered `from` or later that still waits for its acknowledgement.
    #[must_use]
    pub fn first_unsettled(&self, stream: Stream, from: u64) -> Option<u64> {
        let lane = self.lane(stream);
        let later = lane.segments.iter().filter(|segment| segment.last >= from);
        later.into_iter().find_map(|segment| {
            let held = intersect(&segment.held, &span(from, u64::MAX));
            subtract(&held, &lane.settled).first()
        })
    }

    /// To be called about once a minute or more often: writes and syncs what is due, and drops what
    /// is too old. `now_ms` is the local clock, which may jump.
    pub fn tick(&mut self, now_ms: i64) {
        let passed = now_ms.saturating_sub(self.ticked_ms).clamp(0, MAX_TICK_MS);
        self.ticked_ms = now_ms;
        self.age_ms += passed as u64;
        self.flush_all();
        for stream in [Stream::Polls, Stream::Events, Stream::Security] {
            let lane = self.lane(stream);
            let old = |born_ms| self.age_ms.saturating_sub(born_ms) > SEGMENT_AGE_MS;
            if lane.open
                && lane
                    .segments
                    .back()
                    .is_some_and(|segment| old(segment.born_ms))
            {
                self.close_segment(stream);
            }
        }
        self.drop_old();
        if now_ms.abs_diff(self.synced_ms) >= SYNC_EVERY_MS {
            self.synced_ms = now_ms;
            self.sync(&Stream::ALL);
            self.save(true);
        }
        self.remove_settled();
    }

    /// Makes everything durable, for an orderly stop.
    pub fn close(&mut self) {
        self.flush_all();
        for stream in Stream::ALL {
            self.close_segment(stream);
        }
        self.sync(&Stream::ALL);
        if let Err(error) = self.save_durable(true) {
            tracing::warn!(%error, "spool was not closed in order");
        }
    }

    /// What the spool holds, has dropped and suffers from.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let mut trouble: Vec<String> = Vec::new();
        if let Some(error) = &self.write_trouble {
            trouble.push(format!("cannot write: {error}; new batches wait in memory"));
        }
        trouble.extend(
            self.state_trouble
                .iter()
                .map(|error| format!("cannot keep state: {error}")),
        );
        SpoolStatus {
            bytes: self.bytes(),
            pending: self.lanes.iter().map(Lane::pending).sum(),
            dropped: self.drops.clone(),
            trouble: trouble.join("; "),
        }
    }

    /// Whether it cannot write at the moment: [`SpoolStatus::trouble`] says why.
    #[must_use]
    pub const fn is_troubled(&self) -> bool {
        self.write_trouble.is_some() || self.state_trouble.is_some()
    }

    /// Forgets drops that the controller has taken note of (as [`Spool::status`] gave them).
    pub fn confirm_dropped(&mut self, reported: &[Dropped]) {
        if !reported.is_empty() {
            drops::confirm(&mut self.drops, reported);
            self.save(false);
        }
    }

    /// Numbers since the spool was opened, for the agent's own metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            memory_bytes: self.memory_bytes(),
            ..self.counters
        }
    }

    /// Epoch that the controller assigned; 0 for a fresh spool.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adopts an epoch; durable when it returns.
    ///
    /// # Errors
    /// The state could not be made durable: nothing may be sent.
    pub fn set_epoch(&mut self, epoch: u64) -> Result<(), SpoolError> {
        let before = std::mem::replace(&mut self.epoch, epoch);
        if before == epoch {
            return Ok(());
        }
        self.save_durable(false)
            .inspect_err(|_| self.epoch = before)
    }

    /// Session identifier that the controller gave last; empty for a fresh spool.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Stores a session identifier; durable when it returns.
    ///
    /// # Errors
    /// The state could not be made durable: nothing may be sent.
    pub fn set_session(&mut self, session: &str) -> Result<(), SpoolError> {
        if session.len() > MAX_SESSION_BYTES {
            return Err(SpoolError::TooLarge {
                bytes: session.len(),
                limit: MAX_SESSION_BYTES,
            });
        }
        let before = std::mem::replace(&mut self.session, session.to_owned());
        self.save_durable(false)
            .inspect_err(|_| self.session = before)
    }
}

/// Shared by the parts of the spool.
impl Spool {
    pub(crate) fn lane(&self, stream: Stream) -> &Lane {
        let [polls, samples, events, security] = &self.lanes;
        match stream {
            Stream::Polls => polls,
            Stream::Samples => samples,
            Stream::Events => events,
            Stream::Security => security,
        }
    }

    pub(crate) fn lane_mut(&mut self, stream: Stream) -> &mut Lane {
        let [polls, samples, events, security] = &mut self.lanes;
        match stream {
            Stream::Polls => polls,
            Stream::Samples => samples,
            Stream::Events => events,
            Stream::Security => security,
        }
    }

    /// Writes the state; what is lost of it without a sync is only sent again.
    pub(crate) fn save(&mut self, sync: bool) {
        let state = self.state(false);
        let outcome = self.file.save(&self.disk, &state, sync);
        self.note_state(&outcome);
    }

    pub(crate) fn save_durable(&mut self, closed: bool) -> Result<(), SpoolError> {
        let state = self.state(closed);
        let outcome = self.file.save(&self.disk, &state, true);
        self.note_state(&outcome);
        outcome.map_err(SpoolError::State)
    }

    fn note_state(&mut self, outcome: &io::Result<()>) {
        self.counters.write_errors += u64::from(outcome.is_err());
        self.state_trouble = outcome.as_ref().err().map(ToString::to_string);
    }

    fn state(&self, closed: bool) -> State {
        let streams = Stream::ALL.map(|stream| {
            let Lane {
                next,
                reserved,
                settled,
                ..
            } = self.lane(stream);
            StreamState {
                next: *next,
                reserved: *reserved,
                settled: settled.clone(),
            }
        });
        State {
            epoch: self.epoch,
            session: self.session.clone(),
            boot_id: self.boot_id.clone(),
            closed,
            age_ms: self.age_ms,
            streams,
            drops: self.drops.clone(),
        }
    }

    pub(crate) fn count_dropped(
        &mut self,
        stream: Stream,
        lost: &RangeSet,
        times: (i64, i64),
        reason: &'static str,
    ) {
        for &range in lost.ranges() {
            drops::add(&mut self.drops, stream, range, times, reason);
        }
        if !lost.is_empty() {
            self.counters.dropped += lost.len();
            tracing::error!(
                stream = stream.name(),
                batches = lost.len(),
                reason,
                "batches given up"
            );
        }
    }

    pub(crate) fn note_write(&mut self, outcome: io::Result<()>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(error) => {
                self.counters.write_errors += 1;
                self.write_trouble = Some(error.to_string());
                false
            }
        }
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        let outcome = self.disk.remove(path);
        self.note_write(outcome);
    }
}
