//! One stream's segments and what is known of its numbers.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::range_set::RangeSet;

use crate::disk::Disk;
use crate::ranges::subtract;
use crate::segment::{self, Header};

/// A run of batches in one file, and the part of it that the disk would not take yet.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Numbers that can be read.
    pub(crate) held: RangeSet,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) born_ms: u64,
    pub(crate) records: u32,
    /// Bytes of the file that hold whole records.
    pub(crate) file_len: u64,
    /// Whether the file exists.
    pub(crate) created: bool,
    /// What comes after `file_len` and is only in memory.
    pub(crate) tail: Vec<u8>,
    pub(crate) tail_first: Option<u64>,
}

impl Segment {
    pub(crate) fn new(stream: Stream, first: u64, time_ms: i64, born_ms: u64) -> Self {
        let mut tail = Vec::with_capacity(512);
        segment::write_header(
            &mut tail,
            Header {
                stream,
                first,
                born_ms,
            },
        );
        Self {
            first,
            last: first,
            held: RangeSet::new(),
            from_ms: time_ms,
            to_ms: time_ms,
            born_ms,
            records: 0,
            file_len: 0,
            created: false,
            tail,
            tail_first: None,
        }
    }

    /// Bytes in the file and in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.file_len + self.tail.len() as u64
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) stream: Stream,
    /// Oldest first.
    pub(crate) segments: VecDeque<Segment>,
    /// Whether the last segment takes more.
    pub(crate) open: bool,
    /// The last segment's file while it is open.
    file: Option<File>,
    /// Whether that file has bytes that a power cut would take.
    pub(crate) unsynced: bool,
    /// Acknowledged or given up; numbers before the first segment are not kept.
    pub(crate) settled: RangeSet,
    pub(crate) next: u64,
    pub(crate) reserved: u64,
    /// The last number that was certainly used; 0 if none was.
    pub(crate) used: u64,
}

impl Lane {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            segments: VecDeque::new(),
            open: false,
            file: None,
            unsynced: false,
            settled: RangeSet::new(),
            next: 1,
            reserved: 1,
            used: 0,
        }
    }

    pub(crate) fn path(&self, folder: &Path, first: u64) -> PathBuf {
        folder.join(segment::file_name(self.stream, first))
    }

    /// Numbers of `segment` that still wait for their acknowledgement.
    pub(crate) fn unsettled(&self, segment: &Segment) -> RangeSet {
        subtract(&segment.held, &self.settled)
    }

    pub(crate) fn pending(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| self.unsettled(segment).len())
            .sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.tail.len() as u64)
            .sum()
    }

    /// Begins a segment; the one before must be closed.
    pub(crate) fn begin(&mut self, first: u64, time_ms: i64, born_ms: u64) {
        self.segments
            .push_back(Segment::new(self.stream, first, time_ms, born_ms));
        self.open = true;
    }

    /// Ends the open segment. Its bytes are durable afterwards, unless there is an error.
    pub(crate) fn close(&mut self, disk: &Disk, folder: &Path) -> io::Result<()> {
        self.open = false;
        let outcome = self.sync(disk, folder);
        self.file = None;
        self.unsynced = false;
        outcome
    }

    /// Makes the open segment's bytes durable.
    pub(crate) fn sync(&mut self, disk: &Disk, folder: &Path) -> io::Result<()> {
        if let (Some(file), Some(segment), true) = (&self.file, self.segments.back(), self.unsynced)
        {
            disk.sync(file, &self.path(folder, segment.first))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Writes what is only in memory of the segment at `index`; tells whether a file was made.
    pub(crate) fn flush(&mut self, disk: &Disk, folder: &Path, index: usize) -> io::Result<bool> {
        let is_open = self.open && index + 1 == self.segments.len();
        let Some(first) = self.segments.get(index).map(|segment| segment.first) else {
            return Ok(false);
        };
        let path = self.path(folder, first);
        let Some(segment) = self.segments.get_mut(index) else {
            return Ok(false);
        };
        if segment.tail.is_empty() {
            return Ok(false);
        }
        let made = !segment.created;
        let kept = if is_open { self.file.take() } else { None };
        let file = match kept {
            Some(file) => file,
            None if made => disk.create(&path)?,
            None => OpenOptions::new().read(true).write(true).open(&path)?,
        };
        segment.created = true;
        let written = disk.write(&file, &path, &segment.tail, segment.file_len);
        if written.is_ok() {
            segment.file_len += segment.tail.len() as u64;
            segment.tail.clear();
            segment.tail.shrink_to(4096);
            segment.tail_first = None;
        } else if let Err(error) = disk.truncate(&file, &path, segment.file_len) {
            // Bytes beyond `file_len` are overwritten by the next attempt, or cut at the next open.
            tracing::debug!(%error, path = %path.display(), "cannot cut a partial write");
        }
        if is_open {
            self.file = Some(file);
            self.unsynced = true;
        } else if written.is_ok() {
            disk.sync(&file, &path)?;
        }
        written.map(|()| made)
    }

    /// Takes out the segment at `index`, ending it if it is open.
    pub(crate) fn take(&mut self, index: usize) -> Option<Segment> {
        if self.open && index + 1 == self.segments.len() {
            self.end();
        }
        self.segments.remove(index)
    }

    /// Ends the open segment without making it durable.
    pub(crate) fn end(&mut self) {
        self.open = false;
        self.file = None;
        self.unsynced = false;
    }

    /// Forgets settled numbers of which no segment is left.
    pub(crate) fn trim_settled(&mut self) {
        match self.segments.front() {
            None => self.settled.clear(),
            Some(segment)
                if self
                    .settled
                    .first()
                    .is_some_and(|first| first < segment.first) =>
            {
                let gone = crate::ranges::span(0, segment.first - 1);
                self.settled = subtract(&self.settled, &gone);
            }
            Some(_) => {}
        }
    }
}
