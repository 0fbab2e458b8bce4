//! Bounds: what gives way when the disk, the memory or the patience ends.

use std::io;

use xiezhi_protocol::batch::Stream;

use crate::drops;
use crate::lane::{Lane, Segment};
use crate::ranges::{intersect, span, subtract};
use crate::spool::Spool;

/// Most bytes that wait in memory while the disk refuses them: about five hours of reports, and a
/// twentieth of the agent's memory.
const MEMORY_BYTES: u64 = 256 * 1024;
/// Bytes of the state file.
const STATE_BYTES: u64 = 32 * 1024;

impl Spool {
    pub(crate) fn bytes(&self) -> u64 {
        STATE_BYTES + self.lanes.iter().map(Lane::bytes).sum::<u64>()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::memory_bytes).sum()
    }

    /// Drops what matters least until `need` more bytes fit: polls of devices, then samples, then
    /// events, then security events, and never anything that matters more than `stream`.
    pub(crate) fn make_room(&mut self, stream: Stream, need: u64) -> bool {
        while self.bytes() + need > self.limits.max_bytes {
            let victim = Stream::ALL
                .into_iter()
                .find(|&other| other <= stream && !self.lane(other).segments.is_empty());
            let Some(victim) = victim else { return false };
            self.drop_segment(victim, 0, drops::FULL);
        }
        true
    }

    /// Drops closed segments beyond the greatest age.
    pub(crate) fn drop_old(&mut self) {
        let max_age_ms = u64::try_from(self.limits.max_age_ms).unwrap_or(0);
        for stream in Stream::ALL {
            while let Some(oldest) = self.lane(stream).segments.front() {
                if self.age_ms.saturating_sub(oldest.born_ms) <= max_age_ms {
                    break;
                }
                self.drop_segment(stream, 0, drops::AGE);
            }
        }
    }

    fn drop_segment(&mut self, stream: Stream, index: usize, reason: &'static str) {
        let Some(segment) = self.lane_mut(stream).take(index) else {
            return;
        };
        let lane = self.lane(stream);
        let path = lane.path(&self.folder, segment.first);
        let lost = lane.unsettled(&segment);
        self.count_dropped(stream, &lost, (segment.from_ms, segment.to_ms), reason);
        self.lane_mut(stream).trim_settled();
        self.save(!lost.is_empty());
        if segment.created {
            self.remove(&path);
        }
    }

    /// Removes closed segments of which every batch is settled.
    pub(crate) fn remove_settled(&mut self) {
        for stream in Stream::ALL {
            let mut index = 0;
            while let Some(segment) = self.lane(stream).segments.get(index) {
                let lane = self.lane(stream);
                let is_open = lane.open && index + 1 == lane.segments.len();
                if is_open || !lane.unsettled(segment).is_empty() {
                    index += 1;
                    continue;
                }
                self.drop_segment(stream, index, drops::FULL);
            }
        }
    }

    /// Ends the open segment of a stream.
    pub(crate) fn close_segment(&mut self, stream: Stream) {
        if !self.lane(stream).open {
            return;
        }
        let Self {
            lanes,
            disk,
            folder,
            ..
        } = self;
        let lane = lanes.iter_mut().find(|lane| lane.stream == stream);
        let outcome = lane.map_or(Ok(()), |lane| lane.close(disk, folder));
        self.note_write(outcome);
        self.sync_folder();
    }

    /// Writes all that waits in memory, oldest first; tells whether nothing waits any more.
    pub(crate) fn flush_all(&mut self) -> bool {
        for lane in &mut self.lanes {
            for index in 0..lane.segments.len() {
                match lane.flush(&self.disk, &self.folder, index) {
                    Ok(made) => self.folder_unsynced |= made,
                    Err(error) => {
                        if self.write_trouble.is_none() {
                            tracing::error!(%error, "spool cannot write; batches wait in memory");
                        }
                        self.counters.write_errors += 1;
                        self.write_trouble = Some(error.to_string());
                        return false;
                    }
                }
            }
        }
        if self.write_trouble.take().is_some() {
            tracing::info!("spool writes again");
        }
        true
    }

    /// Makes the open segments of `streams` and all file names durable.
    pub(crate) fn sync(&mut self, streams: &[Stream]) {
        let mut outcome: io::Result<()> = Ok(());
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| streams.contains(&lane.stream))
        {
            outcome = outcome.and(lane.sync(&self.disk, &self.folder));
        }
        self.note_write(outcome);
        self.sync_folder();
    }

    fn sync_folder(&mut self) {
        if self.folder_unsynced {
            let outcome = self.disk.sync_folder(&self.folder);
            self.folder_unsynced = !self.note_write(outcome);
        }
    }

    /// Gives up what waits in memory beyond its bound, in the usual order.
    pub(crate) fn bound_memory(&mut self) {
        while self.memory_bytes() > MEMORY_BYTES {
            let has_tail = |segment: &Segment| !segment.tail.is_empty();
            let found = Stream::ALL.into_iter().find_map(|stream| {
                let index = self.lane(stream).segments.iter().position(has_tail)?;
                Some((stream, index))
            });
            let Some((stream, index)) = found else { return };
            self.drop_tail(stream, index);
        }
    }

    fn drop_tail(&mut self, stream: Stream, index: usize) {
        let lane = self.lane_mut(stream);
        let is_open = lane.open && index + 1 == lane.segments.len();
        let Some(segment) = lane.segments.get_mut(index) else {
            return;
        };
        if segment.file_len == 0 {
            self.drop_segment(stream, index, drops::FULL);
            return;
        }
        segment.tail = Vec::new();
        let Some(from) = segment.tail_first.take() else {
            return;
        };
        let tail = intersect(&segment.held, &span(from, u64::MAX));
        segment.held = subtract(&segment.held, &tail);
        segment.last = segment.held.last().unwrap_or(segment.first);
        let times = (segment.from_ms, segment.to_ms);
        let lost = subtract(&tail, &lane.settled);
        if is_open {
            lane.end();
        }
        self.count_dropped(stream, &lost, times, drops::FULL);
    }
}
