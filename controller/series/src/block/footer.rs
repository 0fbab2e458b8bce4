//! A block's totals and the first lines of directory and ledger, and how to find them at the end.
//!
//! ```text
//! footer = version:u8 first:varint last:varint resolution:varint frames:varint samples:varint
//!          oldest newest first-received last-received:signed orphans-start orphans-end:varint
//!          copy:varint lines:varint (text-length:varint text host:signed offset length:varint)*
//!          lines:varint (host:signed offset length:varint)*
//! tail   = footer-offset:u64 copy-offset:u64 length:u32 "xzbt" crc:u32
//! ```
//!
//! Directory, footer and tail are there twice, in different sectors: one bad sector costs none of them.

use std::sync::Arc;

use xiezhi_protocol::codec::varint;

use super::envelope::Place;
use super::{directory, ledger};
use crate::log::Span;
use crate::record::{Fields, HEADER_BYTES};

const VERSION: u8 = 1;
const TAG: [u8; 4] = *b"xzbt";
/// Bytes of one tail.
pub(crate) const TAIL_BYTES: usize = 28;

/// The ends of a block, which tell what it is and where its footers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Where the headers are.
    pub(crate) headers: [u64; 2],
    /// Where the tails are, the one that is looked at first in front.
    pub(crate) tails: [u64; 2],
}

impl Ends {
    /// Those of a block of so many bytes, of which enough are there.
    pub(crate) fn of(bytes: u64, is_old: bool) -> Option<Self> {
        let (header, tail) = (HEADER_BYTES as u64, TAIL_BYTES as u64);
        let last = bytes.checked_sub(header + 2 * tail)? + header + tail;
        Some(match is_old {
            true => Self {
                headers: [0, header],
                tails: [last, last - tail],
            },
            false => Self {
                headers: [0, last - header],
                tails: [header, last],
            },
        })
    }
}

/// What the footer says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Footer {
    /// Ids of the first and the last log in the block.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Milliseconds between two rows of a rollup; 0: as reported.
    pub(crate) resolution_ms: u64,
    pub(crate) frames: u64,
    pub(crate) samples: u64,
    pub(crate) span: Span,
    /// Where records that could not be decoded are kept.
    pub(crate) orphans: (u64, u64),
    /// Distance from a directory piece to its copy.
    pub(crate) copy: u64,
    pub(crate) directory: Vec<directory::Line>,
    pub(crate) ledger: Vec<ledger::Line>,
}

impl Footer {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let numbers = [
            self.first,
            self.last,
            self.resolution_ms,
            self.frames,
            self.samples,
        ];
        numbers
            .iter()
            .for_each(|&number| varint::write(&mut out, number));
        let span = &self.span;
        let times = [
            span.oldest_ms,
            span.newest_ms,
            span.first_received_ms,
            span.last_received_ms,
        ];
        times
            .iter()
            .for_each(|&time| varint::write_signed(&mut out, time));
        for number in [self.orphans.0, self.orphans.1, self.copy] {
            varint::write(&mut out, number);
        }
        varint::write(&mut out, self.directory.len() as u64);
        for line in &self.directory {
            varint::write(&mut out, line.text.len() as u64);
            out.extend_from_slice(line.text.as_bytes());
            varint::write_signed(&mut out, line.host);
            write_place(&mut out, line.place);
        }
        varint::write(&mut out, self.ledger.len() as u64);
        for line in &self.ledger {
            varint::write_signed(&mut out, line.host);
            write_place(&mut out, line.place);
        }
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let bytes = &mut rest;
        let [first, last, resolution_ms, frames, samples] = read_numbers(bytes)?;
        let span = Span {
            oldest_ms: varint::read_signed(bytes)?,
            newest_ms: varint::read_signed(bytes)?,
            first_received_ms: varint::read_signed(bytes)?,
            last_received_ms: varint::read_signed(bytes)?,
        };
        let [start, end, copy] = read_numbers(bytes)?;
        let mut footer = Self {
            first,
            last,
            resolution_ms,
            frames,
            samples,
            span,
            orphans: (start, end),
            copy,
            ..Self::default()
        };
        for _ in 0..varint::read(bytes)? {
            let length = usize::try_from(varint::read(bytes)?).ok()?;
            let (text, after) = bytes.split_at_checked(length)?;
            *bytes = after;
            footer.directory.push(directory::Line {
                text: Arc::from(std::str::from_utf8(text).ok()?),
                host: varint::read_signed(bytes)?,
                place: read_place(bytes)?,
            });
        }
        for _ in 0..varint::read(bytes)? {
            footer.ledger.push(ledger::Line {
                host: varint::read_signed(bytes)?,
                place: read_place(bytes)?,
            });
        }
        Some(footer)
    }
}

fn write_place(out: &mut Vec<u8>, place: Place) {
    varint::write(out, place.offset);
    varint::write(out, u64::from(place.length));
}

fn read_place(bytes: &mut &[u8]) -> Option<Place> {
    Some(Place {
        offset: varint::read(bytes)?,
        length: u32::try_from(varint::read(bytes)?).ok()?,
    })
}

fn read_numbers<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = varint::read(bytes)?;
    }
    Some(numbers)
}

/// A tail.
pub(crate) fn write_tail(footer: Place, copy: Place) -> Vec<u8> {
    let mut tail = footer.offset.to_le_bytes().to_vec();
    tail.extend_from_slice(&copy.offset.to_le_bytes());
    tail.extend_from_slice(&footer.length.to_le_bytes());
    tail.extend_from_slice(&TAG);
    tail.extend_from_slice(&crc32fast::hash(&tail).to_le_bytes());
    tail
}

/// Where footer and copy are, of one tail.
pub(crate) fn parse_tail(tail: &[u8]) -> Option<[Place; 2]> {
    let (content, crc) = tail.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(content);
    let (footer, copy) = (fields.u64()?, fields.u64()?);
    let length = fields.u32()?;
    let places = [footer, copy].map(|offset| Place { offset, length });
    (fields.array::<4>()? == TAG).then_some(places)
}
