//! A piece of a block on disk: its kind, its length and a checksum around its content.
//!
//! ```text
//! piece = marker:[u8;2] kind:u8 zero:u8 length:u32 crc:u32 body
//! ```

use std::io;

use crate::disk::{self, ReadAt};
use crate::record::Fields;

const MARKER: [u8; 2] = [0xB1, 0x0C];
/// Bytes before the body.
pub(crate) const HEAD_BYTES: usize = 12;
/// Longest body that is read.
const MAX_BODY_BYTES: usize = 256 << 20;

/// What a piece holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Chunks of one series, by host.
    Page,
    /// Where pages are.
    Directory,
    /// Which frames the block holds.
    Ledger,
    /// Totals, and where directory and ledger are.
    Footer,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Page => 1,
            Self::Directory => 2,
            Self::Ledger => 3,
            Self::Footer => 4,
        }
    }
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Bytes, the head included.
    pub(crate) length: u32,
}

impl Place {
    /// First byte behind it.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// Appends a piece.
pub(crate) fn write(out: &mut Vec<u8>, seed: u32, kind: Kind, body: &[u8]) {
    let [first, second] = MARKER;
    let head = [first, second, kind.number(), 0];
    let length = (body.len() as u32).to_le_bytes();
    let crc = sum(seed, &head, &length, body).to_le_bytes();
    out.extend_from_slice(&head);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc);
    out.extend_from_slice(body);
}

/// The body of an intact piece that fills `bytes`.
pub(crate) fn open(bytes: &[u8], seed: u32, kind: Kind) -> Option<&[u8]> {
    let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let mut fields = Fields(head);
    let start = fields.array::<4>()?;
    let length = fields.array::<4>()?;
    let crc = fields.u32()?;
    let [first, second] = MARKER;
    let is_whole = start == [first, second, kind.number(), 0]
        && u32::from_le_bytes(length) as usize == body.len()
        && sum(seed, &start, &length, body) == crc;
    is_whole.then_some(body)
}

/// Reads a piece; `None` if it is damaged.
pub(crate) fn read(
    file: &(impl ReadAt + ?Sized),
    place: Place,
    seed: u32,
    kind: Kind,
) -> io::Result<Option<Vec<u8>>> {
    let length = place.length as usize;
    if !(HEAD_BYTES..=MAX_BODY_BYTES).contains(&length) {
        return Ok(None);
    }
    let mut bytes = disk::read_block(file, place.offset, length)?;
    if bytes.len() != length || open(&bytes, seed, kind).is_none() {
        return Ok(None);
    }
    bytes.drain(..HEAD_BYTES);
    Ok(Some(bytes))
}

fn sum(seed: u32, head: &[u8], length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in [head, length, body] {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damaged_bit_is_noticed() {
        let mut bytes = Vec::new();
        write(&mut bytes, 5, Kind::Page, b"content");
        assert_eq!(open(&bytes, 5, Kind::Page), Some(b"content".as_slice()));
        assert_eq!(open(&bytes, 6, Kind::Page), None);
        assert_eq!(open(&bytes, 5, Kind::Ledger), None);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&bytes, 5, Kind::Page), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
