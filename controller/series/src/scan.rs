//! Reads records one after another and finds the next intact one behind damage.

use std::io;
use std::ops::Range;

use crate::disk::{self, ReadAt};
use crate::record::{self, HEAD_BYTES, MARKER, Measured, Record};

/// Read at least this much at once when scanning a file.
const CHUNK: usize = 256 << 10;

/// What was found at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// An intact record.
    Record {
        /// Where it begins.
        offset: u64,
        /// Its length with the head.
        length: u32,
        /// What it says.
        record: Record<'a>,
    },
    /// Bytes that are no record. At the end of a log this is a write that was cut short.
    Damaged {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        length: u64,
    },
}

/// Whether all that a file holds in this range is intact records.
///
/// # Errors
/// What the device says.
pub(crate) fn is_whole<S: ReadAt + ?Sized>(
    source: &S,
    seed: u32,
    range: Range<u64>,
) -> io::Result<bool> {
    let mut scanner = Scanner::new(source, seed, range.start, range.end);
    while let Some(step) = scanner.step()? {
        if matches!(step, Step::Damaged { .. }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A walk over the records of `source` between two offsets. Memory: a chunk or the largest record.
#[derive(Debug)]
pub(crate) struct Scanner<'s, S: ReadAt + ?Sized> {
    source: &'s S,
    seed: u32,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl<'s, S: ReadAt + ?Sized> Scanner<'s, S> {
    /// A walk from `start` to `end` over records whose sums have this seed.
    pub(crate) fn new(source: &'s S, seed: u32, start: u64, end: u64) -> Self {
        Self {
            source,
            seed,
            position: start,
            end,
            buffer: Vec::new(),
            buffer_start: start,
        }
    }

    /// The next record or damaged place; `None` at the end.
    ///
    /// # Errors
    /// What the device says.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step<'_>>> {
        let offset = self.position;
        if offset >= self.end {
            return Ok(None);
        }
        let Some(length) = self.measure(offset)? else {
            let next = self.find_next(offset + 1)?;
            self.position = next;
            return Ok(Some(Step::Damaged {
                offset,
                length: next - offset,
            }));
        };
        self.position = offset + length as u64;
        let bytes = self.buffered(offset).get(..length).unwrap_or_default();
        Ok(Some(match record::read(bytes) {
            Some(record) => Step::Record {
                offset,
                length: length as u32,
                record,
            },
            None => Step::Damaged {
                offset,
                length: length as u64,
            },
        }))
    }

    /// Length of the intact record at `offset`.
    fn measure(&mut self, offset: u64) -> io::Result<Option<usize>> {
        let mut need = HEAD_BYTES;
        loop {
            if !self.load(offset, need)? {
                return Ok(None);
            }
            match record::measure(self.buffered(offset), self.seed) {
                Measured::Whole(length) => return Ok(Some(length)),
                Measured::Short(more) => need = more,
                Measured::Bad => return Ok(None),
            }
        }
    }

    /// Where the next intact record begins, or the end.
    fn find_next(&mut self, from: u64) -> io::Result<u64> {
        let mut at = from;
        while at < self.end {
            if !self.load(at, 1)? {
                return Ok(self.end);
            }
            let window = self.buffered(at);
            let Some(skip) = window.iter().position(|byte| Some(byte) == MARKER.first()) else {
                at += window.len() as u64;
                continue;
            };
            at += skip as u64;
            if self.measure(at)?.is_some() {
                return Ok(at);
            }
            at += 1;
        }
        Ok(self.end)
    }

    fn buffered(&self, offset: u64) -> &[u8] {
        let skip = usize::try_from(offset - self.buffer_start).unwrap_or(usize::MAX);
        self.buffer.get(skip..).unwrap_or_default()
    }

    /// Makes `need` bytes at `offset` available; false if the walk ends before.
    fn load(&mut self, offset: u64, need: usize) -> io::Result<bool> {
        if self.end.saturating_sub(offset) < need as u64 {
            return Ok(false);
        }
        let held = self.buffered(offset).len();
        if held >= need {
            return Ok(true);
        }
        let skip = self.buffer.len() - held;
        self.buffer.drain(..skip);
        self.buffer_start = offset;
        let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        self.buffer.resize(need.max(CHUNK).min(left), 0);
        let rest = self.buffer.get_mut(held..).unwrap_or_default();
        let filled = disk::fill(self.source, rest, offset + held as u64)?;
        self.buffer.truncate(held + filled);
        Ok(self.buffer.len() >= need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xiezhi_protocol::batch::BatchInfo;

    fn log(frames: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
        let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
        for (seq, frame) in frames.iter().enumerate() {
            offsets.push(bytes.len() as u64);
            let batch = BatchInfo {
                seq: seq as u64,
                time_ms: 5,
                checksum: 9,
            };
            let record = Record {
                host: 1,
                epoch: 1,
                batch,
                key: false,
                group: false,
                content: record::Content::Frame,
                received_ms: 6,
                bytes: frame,
            };
            record::write(&mut bytes, 3, &record);
        }
        (bytes, offsets)
    }

    fn walk(bytes: &[u8]) -> (Vec<u64>, u64) {
        let mut scanner = Scanner::new(bytes, 3, 0, bytes.len() as u64);
        let (mut seqs, mut damaged) = (Vec::new(), 0);
        while let Some(step) = scanner.step().unwrap() {
            match step {
                Step::Record { record, .. } => seqs.push(record.batch.seq),
                Step::Damaged { length, .. } => damaged += length,
            }
        }
        (seqs, damaged)
    }

    proptest! {
        #[test]
        fn a_damaged_record_isolates_itself(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..30),
            victim in any::<prop::sample::Index>(),
            place in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let (mut bytes, offsets) = log(&frames);
            let all: Vec<u64> = (0..frames.len() as u64).collect();
            prop_assert_eq!(walk(&bytes), (all.clone(), 0));
            let victim = victim.index(frames.len());
            let start = offsets[victim] as usize;
            let end = offsets.get(victim + 1).map_or(bytes.len(), |&next| next as usize);
            bytes[start + place.index(end - start)] ^= 1 << bit;
            let mut left = all;
            left.remove(victim);
            prop_assert_eq!(walk(&bytes), (left, (end - start) as u64));
        }

        #[test]
        fn arbitrary_bytes_are_walked_to_the_end(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(walk(&bytes), (Vec::new(), bytes.len() as u64));
        }
    }

    #[test]
    fn records_larger_than_a_chunk_are_read() {
        let frames = vec![vec![1; CHUNK * 3], vec![2; 10], vec![3; CHUNK - 5]];
        let (bytes, _) = log(&frames);
        assert_eq!(walk(&bytes), (vec![0, 1, 2], 0));
    }
}
