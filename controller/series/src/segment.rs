//! A segment of the first format, which is read and no longer written: records grouped by (host, epoch), and a footer that tells where each group is.
//!
//! ```text
//! file      = header header region* block* directory tail
//! region    = record*                       one (host, epoch), by sequence number
//! block     = entry{1..256} crc:u32         entries ascending by (host, epoch)
//! entry     = host:i64 epoch:u64 offset:u64 length:u64 frames:u32 keys:u32 first:u64 last:u64
//!             oldest:i64 newest:i64
//! directory = totals (host:i64 epoch:u64 offset:u64 entries:u32)*       one line per block
//! totals    = frames:u64 data_end:u64 oldest newest first_received last_received:i64
//! tail      = directory-offset:u64 directory-length:u32 directory-crc:u32 "xzft" crc:u32
//! ```
//!
//! Only the directory stays in memory (about 30 bytes per 256 hosts). If footer or directory is
//! damaged, the entries are rebuilt by reading the records: nothing is lost with them.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::disk::{self, Disk, DiskFile};
use crate::frame::HostKey;
use crate::log::Span;
use crate::record::{self, Fields, FileKind, OLD_START, Record};
use crate::scan::{Scanner, Step};
use crate::stray::HIGHEST;

const ENTRY_BYTES: usize = 72;
const LINE_BYTES: usize = 28;
const TOTALS_BYTES: usize = 48;
const TAIL_BYTES: usize = 24;
const TAIL_TAG: [u8; 4] = *b"xzft";

/// A file name of a sealed segment.
pub(crate) fn name(id: u64) -> String {
    format!("segment-{id:010}.xzs")
}

/// The id in a file name, if it is written as [`name`] writes it.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("segment-")?.strip_suffix(".xzs")?;
    let id = number.parse().ok()?;
    (id <= HIGHEST && self::name(id) == name).then_some(id)
}

/// Where the frames of one (host, epoch) are in a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) host: HostKey,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) frames: u32,
    pub(crate) keys: u32,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
}

impl Entry {
    /// An entry for the region that begins with this record at `offset`.
    pub(crate) fn begin(record: &Record<'_>, offset: u64) -> Self {
        Self {
            host: record.host,
            epoch: record.epoch,
            offset,
            length: 0,
            frames: 0,
            keys: 0,
            first_seq: record.batch.seq,
            last_seq: record.batch.seq,
            oldest_ms: record.batch.time_ms,
            newest_ms: record.batch.time_ms,
        }
    }

    /// Takes the record at `offset` in.
    pub(crate) fn add(&mut self, record: &Record<'_>, offset: u64, length: u64) {
        self.length = offset + length - self.offset;
        self.frames += 1;
        self.keys += u32::from(record.key);
        self.first_seq = self.first_seq.min(record.batch.seq);
        self.last_seq = self.last_seq.max(record.batch.seq);
        self.oldest_ms = self.oldest_ms.min(record.batch.time_ms);
        self.newest_ms = self.newest_ms.max(record.batch.time_ms);
    }

    /// Whether the frame may be in the region.
    pub(crate) fn may_hold(&self, epoch: u64, seq: u64) -> bool {
        self.epoch == epoch && (self.first_seq..=self.last_seq).contains(&seq)
    }

    /// Whether the region holds every number between its first and its last.
    pub(crate) fn is_gapless(&self) -> bool {
        (self.last_seq - self.first_seq).checked_add(1) == Some(u64::from(self.frames))
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            host: fields.i64()?,
            epoch: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u64()?,
            frames: fields.u32()?,
            keys: fields.u32()?,
            first_seq: fields.u64()?,
            last_seq: fields.u64()?,
            oldest_ms: fields.i64()?,
            newest_ms: fields.i64()?,
        })
    }
}

/// The first entry of a footer block.
#[derive(Debug, Clone, Copy)]
struct Line {
    host: HostKey,
    offset: u64,
    entries: u32,
}

/// A sealed segment, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seed: u32,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) span: Span,
    /// Where the regions end.
    pub(crate) data_end: u64,
    directory: Vec<Line>,
    /// All entries, read from the records, once the footer has proved damaged.
    rebuilt: OnceLock<Vec<Entry>>,
}

impl Segment {
    /// Opens a sealed segment. `None` if its header is unreadable, so that its records cannot be
    /// told from damage. A segment whose footer is damaged opens all the same if `rebuild` is set.
    pub(crate) fn open(disk: &dyn Disk, id: u64, rebuild: bool) -> io::Result<Option<Self>> {
        let name = name(id);
        let file = disk.open(&name)?;
        let header = disk::read_block(&*file, 0, OLD_START as usize)?;
        let Some(salt) = record::read_old_header(&header, FileKind::Sealed, id) else {
            return Ok(None);
        };
        let bytes = file.length()?;
        let mut segment = Self {
            id,
            name,
            file,
            seed: record::seed(salt),
            bytes,
            frames: 0,
            span: Span::default(),
            data_end: bytes,
            directory: Vec::new(),
            rebuilt: OnceLock::new(),
        };
        if segment.read_directory()?.is_some() {
            return Ok(Some(segment));
        }
        if !rebuild {
            return Ok(None);
        }
        segment.rebuild_all()?;
        Ok(Some(segment))
    }

    fn read_directory(&mut self) -> io::Result<Option<()>> {
        let Some(tail_offset) = self.bytes.checked_sub(TAIL_BYTES as u64) else {
            return Ok(None);
        };
        let tail = disk::read_block(&*self.file, tail_offset, TAIL_BYTES)?;
        let Some((offset, length, crc)) = parse_tail(&tail) else {
            return Ok(None);
        };
        if offset.checked_add(length as u64) != Some(tail_offset) {
            return Ok(None);
        }
        let directory = disk::read_block(&*self.file, offset, length)?;
        if crc32fast::hash(&directory) != crc {
            return Ok(None);
        }
        Ok(self.parse_directory(&directory))
    }

    fn parse_directory(&mut self, bytes: &[u8]) -> Option<()> {
        let (totals, lines) = bytes.split_at_checked(TOTALS_BYTES)?;
        let mut totals = Fields(totals);
        let frames = totals.u64()?;
        let data_end = totals.u64()?;
        let span = Span {
            oldest_ms: totals.i64()?,
            newest_ms: totals.i64()?,
            first_received_ms: totals.i64()?,
            last_received_ms: totals.i64()?,
        };
        let mut directory = Vec::with_capacity(lines.len() / LINE_BYTES);
        for line in lines.chunks_exact(LINE_BYTES) {
            let mut line = Fields(line);
            let host = line.i64()?;
            line.u64()?;
            let offset = line.u64()?.checked_add(data_end)?;
            directory.push(Line {
                host,
                offset,
                entries: line.u32()?,
            });
        }
        (self.frames, self.data_end, self.span, self.directory) =
            (frames, data_end, span, directory);
        Some(())
    }

    /// Reads all records to learn what the footer no longer tells.
    fn rebuild_all(&mut self) -> io::Result<()> {
        let mut span = Span::default();
        let mut end = OLD_START;
        let entries = scan_entries(&*self.file, self.seed, self.bytes, &mut |record, next| {
            span.add(record.batch.time_ms, record.received_ms);
            end = next;
        })?;
        self.frames = entries.iter().map(|entry| u64::from(entry.frames)).sum();
        (self.span, self.data_end) = (span, end);
        self.rebuilt = OnceLock::from(entries);
        Ok(())
    }

    /// Whether the footer proved damaged.
    pub(crate) fn is_rebuilt(&self) -> bool {
        self.rebuilt.get().is_some()
    }

    /// The regions of a host, by epoch.
    pub(crate) fn find(&self, host: HostKey) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let from = self
            .directory
            .partition_point(|line| line.host < host)
            .saturating_sub(1);
        self.each_entry(from, &mut |entry| {
            if entry.host == host {
                found.push(*entry);
            }
            if entry.host > host {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// Visits all entries, ascending.
    pub(crate) fn entries(&self, visit: &mut dyn FnMut(&Entry)) -> io::Result<()> {
        self.each_entry(0, &mut |entry| {
            visit(entry);
            ControlFlow::Continue(())
        })
    }

    fn each_entry(
        &self,
        first_block: usize,
        visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> io::Result<()> {
        if let Some(entries) = self.rebuilt.get() {
            let _done = entries.iter().try_for_each(visit);
            return Ok(());
        }
        let mut last_visited = None;
        for line in self.directory.get(first_block..).unwrap_or_default() {
            let Some(block) = self.read_block(line)? else {
                let entries = self.rebuild_entries()?;
                // What was visited already came from intact blocks.
                let rest = entries
                    .iter()
                    .filter(|entry| Some(key(entry)) > last_visited);
                let _done = rest.into_iter().try_for_each(visit);
                return Ok(());
            };
            for entry in &block {
                last_visited = Some(key(entry));
                if visit(entry).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn rebuild_entries(&self) -> io::Result<&[Entry]> {
        tracing::error!(file = %self.name, "segment index is damaged, reading its records instead");
        let entries = scan_entries(&*self.file, self.seed, self.data_end, &mut |_, _| {})?;
        Ok(self.rebuilt.get_or_init(|| entries))
    }

    fn read_block(&self, line: &Line) -> io::Result<Option<Vec<Entry>>> {
        let length = line.entries as usize * ENTRY_BYTES;
        let block = disk::read_block(&*self.file, line.offset, length + 4)?;
        let Some((content, crc)) = block.split_last_chunk::<4>() else {
            return Ok(None);
        };
        if content.len() != length || crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Ok(None);
        }
        let entries = content.chunks_exact(ENTRY_BYTES);
        Ok(entries
            .map(|entry| Entry::read(&mut Fields(entry)))
            .collect())
    }

    /// Whether every footer block is intact.
    pub(crate) fn damaged_blocks(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut damaged = Vec::new();
        for line in &self.directory {
            if self.read_block(line)?.is_none() {
                damaged.push((line.offset, line.entries as u64 * ENTRY_BYTES as u64 + 4));
            }
        }
        Ok(damaged)
    }

    /// A walk over a region.
    pub(crate) fn region(&self, entry: &Entry) -> Scanner<'_, dyn DiskFile> {
        let end = entry.offset.saturating_add(entry.length).min(self.data_end);
        Scanner::new(&*self.file, self.seed, entry.offset, end)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rebuilt = self.rebuilt.get().map_or(0, Vec::capacity);
        self.directory.capacity() * size_of::<Line>() + rebuilt * size_of::<Entry>()
    }
}

fn key(entry: &Entry) -> (HostKey, u64) {
    (entry.host, entry.epoch)
}

fn parse_tail(tail: &[u8]) -> Option<(u64, usize, u32)> {
    let (content, crc) = tail.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(content);
    let offset = fields.u64()?;
    let length = fields.u32()? as usize;
    let crc = fields.u32()?;
    (fields.array::<4>()? == TAIL_TAG).then_some((offset, length, crc))
}

/// Entries of all regions up to `end`, from their records. Intact records around a damaged one
/// still make one region.
fn scan_entries(
    file: &dyn DiskFile,
    seed: u32,
    end: u64,
    seen: &mut dyn FnMut(&Record<'_>, u64),
) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut scanner = Scanner::new(file, seed, OLD_START, end);
    while let Some(step) = scanner.step()? {
        let Step::Record {
            offset,
            length,
            record,
        } = step
        else {
            continue;
        };
        seen(&record, offset + u64::from(length));
        match entries.last_mut() {
            Some(last) if key(last) == (record.host, record.epoch) => {
                last.add(&record, offset, u64::from(length));
            }
            _ => {
                let mut entry = Entry::begin(&record, offset);
                entry.add(&record, offset, u64::from(length));
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}
