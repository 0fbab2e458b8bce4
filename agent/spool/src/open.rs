//! Opening a spool: what an earlier run, a killed one or a power cut left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use xiezhi_protocol::range_set::RangeSet;

use crate::disk::Disk;
use crate::drops;
use crate::error::{Limits, SpoolError};
use crate::lane::{Lane, Segment};
use crate::ranges::{span, subtract};
use crate::segment;
use crate::spool::{Counters, RESERVE, Spool};
use crate::state::{Loaded, State, StateFile};
use xiezhi_protocol::batch::Stream;

impl Spool {
    /// Opens the spool in `dir`, making it if needed; `now_ms` is the local clock.
    ///
    /// Every segment is read once: a tail that a crash tore is cut, a damaged record is isolated.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds it.
    pub fn open(dir: &Path, limits: Limits, now_ms: i64) -> Result<Self, SpoolError> {
        // Unreadable means that every start counts as one after a power cut, which is safe.
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_with(dir, limits, now_ms, boot_id.trim(), Disk::default())
    }

    pub(crate) fn open_with(
        dir: &Path,
        limits: Limits,
        now_ms: i64,
        boot_id: &str,
        disk: Disk,
    ) -> Result<Self, SpoolError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(SpoolError::io("create", dir))?;
        let (file, Loaded { state, doubtful }) = StateFile::open(&disk, dir)?;
        if state.is_none() && doubtful {
            tracing::error!(path = %dir.display(), "spool state is unreadable: the controller will open a new epoch");
        }
        let known = state.is_some();
        let state = state.unwrap_or_default();
        let exact = known
            && !doubtful
            && (state.closed || (!boot_id.is_empty() && state.boot_id == boot_id));
        let mut spool = Self {
            folder: dir.to_owned(),
            disk,
            limits,
            file,
            epoch: state.epoch,
            session: state.session.clone(),
            boot_id: boot_id.get(..64).unwrap_or(boot_id).to_owned(),
            age_ms: state.age_ms,
            ticked_ms: now_ms,
            synced_ms: now_ms,
            folder_unsynced: false,
            lanes: Stream::ALL.map(Lane::new),
            drops: state.drops.clone(),
            counters: Counters::default(),
            write_trouble: None,
            state_trouble: None,
            scratch: Vec::new(),
            lost_on_open: Vec::new(),
        };
        let emptied = spool.load_segments()?;
        spool.sync_newest()?;
        spool.load_numbers(&state, exact, doubtful);
        spool.save_durable(false)?;
        for path in emptied {
            spool.remove(&path);
        }
        spool.remove_settled();
        Ok(spool)
    }

    /// Reads all segments; the paths of those in which nothing can be read.
    fn load_segments(&mut self) -> Result<Vec<PathBuf>, SpoolError> {
        let mut names: Vec<(Stream, u64)> = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(SpoolError::io("list", &self.folder))? {
            let entry = entry.map_err(SpoolError::io("list", &self.folder))?;
            names.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(segment::parse_file_name),
            );
        }
        names.sort_unstable();
        let mut emptied = Vec::new();
        for (stream, first) in names {
            let path = self.lane(stream).path(&self.folder, first);
            let bytes = fs::read(&path).map_err(SpoolError::io("read", &path))?;
            if bytes
                .first()
                .is_some_and(|&version| version > segment::VERSION && version < 16)
            {
                tracing::warn!(path = %path.display(), "left alone: written by a newer agent");
                continue;
            }
            match self.load_segment(stream, first, &bytes, &path) {
                Some(segment) => self.lane_mut(stream).segments.push_back(segment),
                None => emptied.push(path),
            }
        }
        Ok(emptied)
    }

    /// A killed process may have left bytes that a power cut would still take; only the newest
    /// segment of each stream can hold such, because a segment is made durable when it ends.
    fn sync_newest(&mut self) -> Result<(), SpoolError> {
        for lane in &self.lanes {
            let Some(segment) = lane.segments.back() else {
                continue;
            };
            let path = lane.path(&self.folder, segment.first);
            let file = File::open(&path).map_err(SpoolError::io("open", &path))?;
            self.disk
                .sync(&file, &path)
                .map_err(SpoolError::io("sync", &path))?;
        }
        self.disk
            .sync_folder(&self.folder)
            .map_err(SpoolError::io("sync", &self.folder))
    }

    fn load_segment(
        &mut self,
        stream: Stream,
        first: u64,
        bytes: &[u8],
        path: &Path,
    ) -> Option<Segment> {
        let scan = segment::scan(bytes, first);
        self.counters.damaged += scan.damaged;
        self.counters.torn_tails += u64::from(scan.torn);
        if scan.torn
            && let Err(error) = cut(&self.disk, path, scan.end as u64)
        {
            tracing::warn!(%error, path = %path.display(), "cannot cut a torn tail");
        }
        let is_chain = stream == Stream::Samples;
        let chain_starts = scan
            .records
            .first()
            .is_some_and(|&(seq, _, key)| key && seq == first);
        let readable = match (is_chain, chain_starts) {
            (false, _) => scan.records.len(),
            (true, true) => scan.intact,
            (true, false) => 0,
        };
        let mut held = RangeSet::new();
        for &(seq, _, _) in scan.records.iter().take(readable) {
            held.insert(seq);
        }
        let times = || scan.records.iter().map(|&(_, time_ms, _)| time_ms);
        let (from_ms, to_ms) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let seen = scan.records.last().map(|&(seq, _, _)| seq);
        let used = match (seen, scan.damaged_last) {
            (Some(seq), damaged) => Some(seq + u64::from(damaged)),
            (None, true) => Some(first),
            (None, false) => None,
        };
        if let Some(used) = used {
            let lane = self.lane_mut(stream);
            lane.next = lane.next.max(used + 1);
            let lost = subtract(&span(first, used), &held);
            self.lost_on_open.push((stream, lost, (from_ms, to_ms)));
        }
        let last = held.last()?;
        Some(Segment {
            first,
            last,
            held,
            from_ms,
            to_ms,
            born_ms: segment::read_header(bytes).map_or(self.age_ms, |(header, _)| header.born_ms),
            records: readable as u32,
            file_len: if is_chain { scan.intact_end } else { scan.end } as u64,
            created: true,
            tail: Vec::new(),
            tail_first: None,
        })
    }

    /// Numbers, acknowledgements and losses, once the segments are known.
    fn load_numbers(&mut self, state: &State, exact: bool, doubtful: bool) {
        for (lane, kept) in self.lanes.iter_mut().zip(&state.streams) {
            // Within one boot the files are as the killed process left them. After a power cut
            // numbers beyond the files may have been sent, but none beyond the reservation.
            let mut next = if exact { kept.next } else { kept.reserved };
            if doubtful && kept.reserved == 0 {
                next = lane.next + RESERVE;
            }
            lane.used = if exact {
                lane.next.max(next)
            } else {
                lane.next
            }
            .saturating_sub(1);
            lane.next = lane.next.max(next).max(1);
            lane.reserved = lane.next + RESERVE;
            lane.settled = kept.settled.clone();
        }
        for (stream, lost, times) in std::mem::take(&mut self.lost_on_open) {
            let lost = subtract(&lost, &self.lane(stream).settled);
            self.count_dropped(stream, &lost, times, drops::DAMAGED);
            for &(first, last) in lost.ranges() {
                self.lane_mut(stream).settled.insert_range(first, last);
            }
        }
    }
}

fn cut(disk: &Disk, path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    disk.truncate(&file, path, length)
}
