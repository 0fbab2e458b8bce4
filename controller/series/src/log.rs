//! A log segment: frames and foreign samples in order of arrival, with an index of where each host's
//! frames are.
//!
//! One writer appends; any number of readers see what is durable.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::{self, Disk, DiskFile};
use crate::foreign::batch;
use crate::frame::{Damage, HostKey};
use crate::record::{self, Content, HEADER_BYTES, LOG_START, LogHead, Measured, OLD_START, Record};
use crate::refused::{self, SECTOR};
use crate::scan::{Scanner, Step};
use crate::stray::HIGHEST;

/// Read at once for one record: almost every frame is shorter.
const GUESS_BYTES: usize = 512;

/// How the name of a torn end ends.
const TORN: &str = ".torn";

/// A file name of a log segment.
pub(crate) fn name(id: u64) -> String {
    format!("wal-{id:010}.log")
}

/// The id in a file name, if it is written as [`name`] writes it.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    let id = number.parse().ok()?;
    (id <= HIGHEST && self::name(id) == name).then_some(id)
}

/// The name of the file that holds the torn end of a log.
fn torn_name(name: &str) -> String {
    format!("{name}{TORN}")
}

/// The id of the log whose torn end a file holds.
pub(crate) fn torn_id_of(name: &str) -> Option<u64> {
    id_of(name.strip_suffix(TORN)?)
}

/// A log segment, active or waiting to be sealed.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) salt: u64,
    pub(crate) seed: u32,
    /// Where its records begin.
    pub(crate) start: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    state: RwLock<State>,
}

/// What is durable in a log segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Length of the file up to the last durable record.
    pub(crate) length: u64,
    pub(crate) frames: u64,
    /// Records of foreign samples.
    pub(crate) batches: u64,
    pub(crate) span: Span,
    /// Offsets of a host's records. 32 bits, and no length, because there are 240 per host.
    pub(crate) index: HashMap<HostKey, Vec<u32>>,
}

/// Extent of frames in time and in arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
    pub(crate) first_received_ms: i64,
    pub(crate) last_received_ms: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            first_received_ms: i64::MAX,
            last_received_ms: i64::MIN,
        }
    }
}

impl Span {
    /// Takes a frame in.
    pub(crate) fn add(&mut self, time_ms: i64, received_ms: i64) {
        self.oldest_ms = self.oldest_ms.min(time_ms);
        self.newest_ms = self.newest_ms.max(time_ms);
        self.first_received_ms = self.first_received_ms.min(received_ms);
        self.last_received_ms = self.last_received_ms.max(received_ms);
    }

    /// Whether any frame time may lie in `from..=to`.
    pub(crate) fn overlaps(&self, from_ms: i64, to_ms: i64) -> bool {
        self.oldest_ms <= to_ms && self.newest_ms >= from_ms
    }
}

/// A record that was just written, for the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) host: HostKey,
    /// Offset within the group of records.
    pub(crate) offset: u32,
    pub(crate) time_ms: i64,
    pub(crate) received_ms: i64,
    /// Time of the newest sample, if it is of a foreign source. Nobody looks for such a record by
    /// its number, so it is not in the index.
    pub(crate) foreign_newest_ms: Option<i64>,
}

impl Log {
    /// Creates an empty, durable log segment.
    pub(crate) fn create(disk: &dyn Disk, id: u64, salt: u64) -> io::Result<Self> {
        let name = name(id);
        let file = disk.create(&name)?;
        file.write_at(&record::write_log_head(id, salt), 0)?;
        file.sync()?;
        disk.sync()?;
        let state = State {
            length: LOG_START,
            ..State::default()
        };
        Ok(Self {
            id,
            name,
            salt,
            seed: record::seed(salt),
            start: LOG_START,
            file,
            state: RwLock::new(state),
        })
    }

    /// Opens a log segment and reads it through: `seen` gets every frame, `damaged` every place
    /// that is none. The last value is the length of a torn end, which is left to the caller.
    /// `None` if the header is unreadable, or damaged and nothing was stored.
    ///
    /// Damage with no beginning of a group behind it is a group that was being written when the
    /// power went, and never acknowledged: it is torn off at its first unreadable byte. Damage
    /// before the beginning of a later group was durable once, so something else destroyed it. Nor is an
    /// end torn off a file of which the disk refused anything, which `refused` tells once it was read: what
    /// lies there may have been acknowledged.
    pub(crate) fn open(
        disk: &dyn Disk,
        id: u64,
        refused: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(&Record<'_>),
        damaged: &mut dyn FnMut(Damage),
    ) -> io::Result<Option<(Self, u64)>> {
        let name = name(id);
        let Some(file) = refused::or_nothing(disk.open(&name).map(Some))? else {
            return Ok(None);
        };
        // A process that was killed between write and sync leaves records that only the page cache
        // holds. They count as stored from here on, so they must be: a replay of one of them is
        // acknowledged without another write.
        file.sync()?;
        let Some(LogHead {
            salt,
            start,
            damaged: copy,
        }) = read_head(&*file, id)?
        else {
            return Ok(None);
        };
        let end = file.length()?;
        if let Some(offset) = copy {
            // The power went when it was made, and nothing was stored in it.
            if end <= start {
                return Ok(None);
            }
            damaged(Damage {
                file: name.clone(),
                offset,
                bytes: HEADER_BYTES as u64,
            });
        }
        let seed = record::seed(salt);
        let mut state = State {
            length: start,
            ..State::default()
        };
        let mut doubt = Doubt::default();
        let mut scanner = Scanner::new(&*file, seed, start, end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Damaged { offset, length } => doubt.damaged.push((offset, length)),
                Step::Record {
                    offset,
                    length,
                    record,
                } => {
                    doubt.add(&record, offset, length);
                    if record.group || doubt.damaged.is_empty() {
                        doubt.settle(&name, &mut state, seen, damaged);
                    }
                }
            }
        }
        if refused() {
            doubt.settle(&name, &mut state, seen, damaged);
            state.length = end;
        }
        for offsets in state.index.values_mut() {
            offsets.shrink_to_fit();
        }
        let torn = end.saturating_sub(state.length);
        Ok(Some((
            Self {
                id,
                name,
                salt,
                seed,
                start,
                file,
                state: RwLock::new(state),
            },
            torn,
        )))
    }

    /// What is durable.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a group of records and makes it durable; only then readers see it. Returns where it
    /// begins.
    pub(crate) fn append(&self, group: &[u8], placed: &[Placed]) -> io::Result<u64> {
        let start = self.state().length;
        self.file.write_at(group, start)?;
        self.file.sync()?;
        let mut state = self.state_mut();
        for record in placed {
            state.note(record, start);
        }
        state.length = start + group.len() as u64;
        Ok(start)
    }

    /// Copies whatever lies behind the last durable record into a file of its own: of a disk that
    /// broke its promise it is what was acknowledged and is lost.
    pub(crate) fn keep_tail(&self, disk: &dyn Disk) -> io::Result<()> {
        const CHUNK: usize = 1 << 20;
        let start = self.state().length;
        let kept = disk.create(&torn_name(&self.name))?;
        let mut copied = 0;
        loop {
            let bytes = disk::read_block(&*self.file, start + copied, CHUNK)?;
            if bytes.is_empty() {
                break;
            }
            kept.write_at(&bytes, copied)?;
            copied += bytes.len() as u64;
        }
        kept.sync()?;
        disk.sync()
    }

    /// Cuts off whatever lies behind the last durable record.
    pub(crate) fn cut_tail(&self) -> io::Result<()> {
        self.file.set_len(self.state().length)?;
        self.file.sync()
    }

    /// Where the copies of its header are.
    pub(crate) fn copies(&self) -> [u64; 2] {
        [0, self.start - HEADER_BYTES as u64]
    }

    /// Where a host's records are.
    pub(crate) fn offsets(&self, host: HostKey) -> Vec<u32> {
        self.state().index.get(&host).cloned().unwrap_or_default()
    }

    /// Appends the intact record at `offset` to `out` and returns its length; `None` if it is
    /// damaged.
    pub(crate) fn read(&self, offset: u32, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let start = out.len();
        let mut need = GUESS_BYTES;
        loop {
            out.resize(start + need, 0);
            let window = out.get_mut(start..).unwrap_or_default();
            let filled = disk::fill(&*self.file, window, u64::from(offset))?;
            out.truncate(start + filled);
            match record::measure(out.get(start..).unwrap_or_default(), self.seed) {
                Measured::Whole(length) => {
                    out.truncate(start + length);
                    return Ok(Some(length));
                }
                Measured::Short(more) if more > need => need = more,
                _ => {
                    out.truncate(start);
                    return Ok(None);
                }
            }
        }
    }
}

/// How a log begins; `None` if that is not readable, or it is not this log.
pub(crate) fn read_head(file: &dyn DiskFile, id: u64) -> io::Result<Option<LogHead>> {
    let head = disk::read_block(file, 0, LOG_START as usize)?;
    Ok(record::read_log_head(&head, id))
}

/// Whether a log without a readable header was cut short when it was made: nothing was stored in it yet.
pub(crate) fn is_unborn(file: &dyn DiskFile) -> io::Result<bool> {
    let length = file.length()?;
    if length > LOG_START {
        return Ok(false);
    }
    let head = disk::read_block(file, 0, LOG_START as usize)?;
    let mut between = head.iter().take(SECTOR as usize).skip(HEADER_BYTES);
    Ok(length <= OLD_START || between.all(|byte| *byte == 0))
}

/// What was read of a log and may belong to a torn group.
#[derive(Default)]
struct Doubt {
    damaged: Vec<(u64, u64)>,
    records: Vec<(u64, u32, Record<'static>, Option<i64>)>,
}

impl Doubt {
    fn add(&mut self, record: &Record<'_>, offset: u64, length: u32) {
        let Record {
            host,
            epoch,
            batch,
            key,
            group,
            content,
            received_ms,
            bytes,
        } = *record;
        let newest_ms =
            (content == Content::Foreign).then(|| batch::newest_ms(batch.time_ms, bytes));
        let record = Record {
            host,
            epoch,
            batch,
            key,
            group,
            content,
            received_ms,
            bytes: &[],
        };
        self.records.push((offset, length, record, newest_ms));
    }

    /// All of it was durable.
    fn settle(
        &mut self,
        name: &str,
        state: &mut State,
        seen: &mut dyn FnMut(&Record<'_>),
        damaged: &mut dyn FnMut(Damage),
    ) {
        for (offset, bytes) in self.damaged.drain(..) {
            damaged(Damage {
                file: name.to_owned(),
                offset,
                bytes,
            });
        }
        for (offset, length, record, newest_ms) in self.records.drain(..) {
            if record.content == Content::Frame {
                seen(&record);
            }
            if record.content != Content::State {
                let placed = Placed {
                    host: record.host,
                    offset: 0,
                    time_ms: record.batch.time_ms,
                    received_ms: record.received_ms,
                    foreign_newest_ms: newest_ms,
                };
                state.note(&placed, offset);
            }
            state.length = offset + u64::from(length);
        }
    }
}

impl State {
    /// Takes a record in whose group begins at `start`.
    fn note(&mut self, placed: &Placed, start: u64) {
        self.span.add(placed.time_ms, placed.received_ms);
        if let Some(newest_ms) = placed.foreign_newest_ms {
            self.batches += 1;
            self.span.add(newest_ms, placed.received_ms);
            return;
        }
        // The caller keeps segments below 4 GiB; a longer file would have been refused.
        let Ok(offset) = u32::try_from(start + u64::from(placed.offset)) else {
            return;
        };
        let offsets = self.index.entry(placed.host).or_default();
        if offsets.len() == offsets.capacity() {
            offsets.reserve_exact((offsets.len() / 4).clamp(4, 32));
        }
        offsets.push(offset);
        self.frames += 1;
    }

    /// Whether it holds neither frames nor foreign samples.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0 && self.batches == 0
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let entry = size_of::<(HostKey, Vec<u32>)>() + 1;
        self.index.capacity() * entry * 8 / 7
            + self
                .index
                .values()
                .map(|offsets| offsets.capacity() * 4)
                .sum::<usize>()
    }
}
