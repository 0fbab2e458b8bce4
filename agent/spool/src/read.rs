//! Reading batches back, in order, for the uplink.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use xiezhi_protocol::batch::{BatchInfo, Stream};

use crate::drops;
use crate::lane::Segment;
use crate::ranges::{intersect, span, subtract};
use crate::segment;
use crate::spool::Spool;

/// One batch as [`Spool::read`] yields it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Number, time and checksum.
    pub info: BatchInfo,
    /// Whether it starts a chain (always true for events).
    pub key: bool,
}

/// A place in a stream from which [`Spool::read`] goes on. It stays valid whatever happens to the
/// spool: what was dropped or acknowledged away meanwhile is passed over.
#[derive(Debug)]
pub struct Cursor {
    stream: Stream,
    /// Numbers below are not wanted.
    next: u64,
    /// First number of the segment that `offset` is in.
    segment: Option<u64>,
    offset: u64,
    file: Option<File>,
}

impl Cursor {
    /// Which stream it reads.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The number from which it goes on.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }
}

impl Spool {
    /// A cursor whose first record is `seq` itself, or what follows if that is no longer here.
    #[must_use]
    pub fn cursor(&self, stream: Stream, seq: u64) -> Cursor {
        Cursor {
            stream,
            next: seq,
            segment: None,
            offset: 0,
            file: None,
        }
    }

    /// A cursor whose first record is the key frame of the chain that holds `seq`, so that a decoder
    /// can follow from there; or what follows if that is no longer here.
    #[must_use]
    pub fn chain_cursor(&self, stream: Stream, seq: u64) -> Cursor {
        let holds = |segment: &&Segment| segment.last >= seq;
        let found = self.lane(stream).segments.iter().find(holds);
        self.cursor(stream, found.map_or(seq, |segment| segment.first))
    }

    /// Whether every batch of the chain that holds `seq` still waits for its acknowledgement.
    #[must_use]
    pub fn is_chain_untouched(&self, seq: u64) -> bool {
        let lane = self.lane(Stream::Samples);
        let found = lane
            .segments
            .iter()
            .find(|segment| segment.held.contains(seq));
        found.is_some_and(|segment| intersect(&segment.held, &lane.settled).is_empty())
    }

    /// Appends the bytes of the next batch to `out` and moves the cursor on; `None` at the end, from
    /// where it goes on once more was appended. Damaged batches are passed over and counted.
    pub fn read(&mut self, cursor: &mut Cursor, out: &mut Vec<u8>) -> Option<Record> {
        let mut buffer = std::mem::take(&mut self.scratch);
        let found = loop {
            match self.step(cursor, &mut buffer, out) {
                Step::Found(record) => break Some(record),
                Step::End => break None,
                Step::On => {}
            }
        };
        buffer.clear();
        buffer.shrink_to(16 * 1024);
        self.scratch = buffer;
        found
    }

    fn step(&mut self, cursor: &mut Cursor, buffer: &mut Vec<u8>, out: &mut Vec<u8>) -> Step {
        let lane = self.lane(cursor.stream);
        let Some(segment) = lane
            .segments
            .iter()
            .find(|segment| segment.last >= cursor.next)
        else {
            return Step::End;
        };
        if cursor.segment != Some(segment.first) {
            (cursor.segment, cursor.offset, cursor.file) = (Some(segment.first), 0, None);
        }
        let path = lane.path(&self.folder, segment.first);
        if cursor.file.is_none() && segment.created {
            cursor.file = File::open(path).ok();
        }
        if cursor.offset == 0 {
            cursor.offset = header_length(segment, cursor.file.as_ref(), buffer);
        }
        let fetched = fetch(segment, cursor.file.as_ref(), cursor.offset, buffer);
        match fetched.ok().and_then(|()| segment::parse_record(buffer)) {
            Some(record) if record.info.seq >= cursor.next => {
                cursor.offset += record.length as u64;
                cursor.next = record.info.seq + 1;
                out.extend_from_slice(record.payload);
                Step::Found(Record {
                    info: record.info,
                    key: record.key,
                })
            }
            Some(record) => {
                cursor.offset += record.length as u64;
                Step::On
            }
            None => self.pass_damage(cursor),
        }
    }

    /// Something at the cursor cannot be read: moves it to the next whole record, or for samples to
    /// the next chain, and counts what lies between.
    fn pass_damage(&mut self, cursor: &mut Cursor) -> Step {
        let stream = cursor.stream;
        let folder = self.folder.clone();
        let lane = self.lane_mut(stream);
        let Some(index) = lane
            .segments
            .iter()
            .position(|s| Some(s.first) == cursor.segment)
        else {
            return Step::End;
        };
        let path = lane.path(&folder, cursor.segment.unwrap_or_default());
        let Some(segment) = lane.segments.get_mut(index) else {
            return Step::End;
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if is_loss(&error) => Vec::new(),
            // For instance too many open files: nothing is lost, and the reader comes again.
            Err(error) => {
                self.note_write(Err(error));
                return Step::End;
            }
        };
        let from = usize::try_from(cursor.offset).unwrap_or(usize::MAX);
        let after = segment::find_record(bytes.get(from..).unwrap_or_default(), cursor.next);
        let whole_head = stream != Stream::Samples || (from == 0 && cursor.next == segment.first);
        let until = match after {
            Some((skipped, record)) if whole_head && record.info.seq <= segment.last => {
                cursor.offset += skipped as u64;
                record.info.seq
            }
            _ => segment.last + 1,
        };
        if until == cursor.next {
            // Whole after all: what failed was opening or reading, not the record.
            return if after.is_some_and(|(skipped, _)| skipped > 0) {
                Step::On
            } else {
                Step::End
            };
        }
        let unreadable = intersect(&segment.held, &span(cursor.next, until - 1));
        segment.held = subtract(&segment.held, &unreadable);
        let times = (segment.from_ms, segment.to_ms);
        tracing::warn!(stream = stream.name(), "damaged segment");
        let rest_is_lost = until > segment.last;
        let lost = subtract(&unreadable, &lane.settled);
        if rest_is_lost {
            // Nothing may follow in this file; what is appended next begins another.
            if lane.open && index + 1 == lane.segments.len() {
                lane.end();
            }
            if let Some(segment) = lane.segments.get_mut(index) {
                segment.last = segment.held.last().unwrap_or(segment.first);
                segment.tail.clear();
                segment.tail_first = None;
            }
        }
        for &(first, last) in lost.ranges() {
            lane.settled.insert_range(first, last);
        }
        cursor.next = until;
        self.counters.damaged += 1;
        self.count_dropped(stream, &lost, times, drops::DAMAGED);
        self.save(false);
        Step::On
    }
}

/// Whether an error means that the bytes are gone: an unreadable sector, a removed file.
fn is_loss(error: &io::Error) -> bool {
    const INPUT_OUTPUT_ERROR: i32 = 5;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(INPUT_OUTPUT_ERROR)
}

enum Step {
    Found(Record),
    On,
    End,
}

/// Length of the segment's head, 0 if it is damaged.
fn header_length(segment: &Segment, file: Option<&File>, buffer: &mut Vec<u8>) -> u64 {
    let mut head = [0; 40];
    if segment.file_len == 0 {
        return segment::read_header(&segment.tail).map_or(0, |(_, length)| length as u64);
    }
    buffer.clear();
    let count = file.map_or(0, |file| file.read_at(&mut head, 0).unwrap_or(0));
    segment::read_header(head.get(..count).unwrap_or_default())
        .map_or(0, |(_, length)| length as u64)
}

/// Fills `buffer` with the record at `offset`.
fn fetch(
    segment: &Segment,
    file: Option<&File>,
    offset: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    buffer.clear();
    if offset >= segment.file_len {
        let at = usize::try_from(offset - segment.file_len).unwrap_or(usize::MAX);
        let rest = segment.tail.get(at..).unwrap_or_default();
        let length = segment::record_length(rest).unwrap_or(0);
        buffer.extend_from_slice(rest.get(..length).unwrap_or_default());
        return Ok(());
    }
    let file = file.ok_or(io::ErrorKind::NotFound)?;
    let left = segment.file_len - offset;
    let mut head = [0; segment::HEAD_BYTES];
    let head_length = (left as usize).min(head.len());
    let head = head.get_mut(..head_length).unwrap_or_default();
    file.read_exact_at(head, offset)?;
    let length = segment::record_length(head).filter(|&length| length as u64 <= left);
    buffer.resize(length.ok_or(io::ErrorKind::InvalidData)?, 0);
    file.read_exact_at(buffer, offset)
}
