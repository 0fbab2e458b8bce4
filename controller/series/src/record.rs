//! The bytes of a stored frame, the same in the log and in sealed segments, and how files begin.
//!
//! ```text
//! log    = header zero* header record*                  the second header at 4,096: no sector has both
//! header = version:u8 kind:[u8;3] id:u64 salt:u64 crc:u32
//! record = marker:[u8;2] length:u32 crc:u32 check:u16 body
//! body   = flags:u8 host:signed epoch:varint seq:varint time:signed wait:signed checksum:u32 frame
//! ```
//!
//! In a log a record may also hold samples of a foreign source ([`crate::foreign`]): the source's key
//! stands in the place of the host, the oldest sample's time in that of the frame, numbers and
//! checksum are 0.
//!
//! Files of version 1, which are read and no longer written, begin with two headers side by side: one bad
//! sector costs such a file. Where a block of version 2 has its headers, [`crate::block`] says.
//!
//! Everything is little-endian; `wait` is arrival minus frame time. Both sums are seeded with the
//! file's random salt: frames come from agents, and without the salt an agent could place a
//! record of another host inside its own frame, to be found when a reader looks for the next
//! intact record behind a damaged one. `check` covers the head, so that such a search costs little.

use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::codec::varint;

use crate::frame::HostKey;
use crate::refused::SECTOR;

/// Version byte of files that are written.
const VERSION: u8 = 2;
/// Version byte of files whose headers lie side by side.
const VERSION_SIDE_BY_SIDE: u8 = 1;
/// Bytes of one header.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes before the first record of a log.
pub(crate) const LOG_START: u64 = SECTOR + HEADER_BYTES as u64;
/// The same of a file of version 1.
pub(crate) const OLD_START: u64 = 2 * HEADER_BYTES as u64;
/// First byte of a record.
pub(crate) const MARKER: [u8; 2] = [0xE7, 0x5A];
/// Bytes of a record's head.
pub(crate) const HEAD_BYTES: usize = 12;
/// Largest frame that is taken: what a protocol record can carry.
pub(crate) const MAX_FRAME_BYTES: usize = 4 << 20;
/// Largest body: a frame and its fields at their longest.
const MAX_BODY_BYTES: usize = MAX_FRAME_BYTES + 64;
const FLAG_KEY: u8 = 1;
const FLAG_GROUP: u8 = 2;
const FLAG_STATE: u8 = 4;
const FLAG_FOREIGN: u8 = 8;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A log segment, in order of arrival.
    Log,
    /// A sealed segment of the first format, grouped by host.
    Sealed,
    /// A block of columns.
    Block,
}

impl FileKind {
    const fn tag(self) -> [u8; 3] {
        match self {
            Self::Log => *b"wal",
            Self::Sealed => *b"seg",
            Self::Block => *b"blk",
        }
    }
}

/// One copy of a file's header.
pub(crate) fn write_header(kind: FileKind, id: u64, salt: u64) -> Vec<u8> {
    let mut copy = vec![VERSION];
    copy.extend_from_slice(&kind.tag());
    copy.extend_from_slice(&id.to_le_bytes());
    copy.extend_from_slice(&salt.to_le_bytes());
    copy.extend_from_slice(&crc32fast::hash(&copy).to_le_bytes());
    copy
}

/// The beginning of a log: both copies of its header, a sector apart.
pub(crate) fn write_log_head(id: u64, salt: u64) -> Vec<u8> {
    let header = write_header(FileKind::Log, id, salt);
    let mut head = header.clone();
    head.resize(SECTOR as usize, 0);
    head.extend_from_slice(&header);
    head
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u64,
    /// Whether the file is of version 1: its copies lie side by side.
    pub(crate) is_old: bool,
}

/// One copy of a header, if it is intact and says what is expected.
pub(crate) fn read_header(bytes: &[u8], kind: FileKind, id: u64) -> Option<Header> {
    let (content, crc) = bytes.get(..HEADER_BYTES)?.split_last_chunk::<4>()?;
    let mut fields = Fields(content);
    let is_intact = u32::from_le_bytes(*crc) == crc32fast::hash(content);
    let [version] = fields.array::<1>()?;
    let is_old = version == VERSION_SIDE_BY_SIDE;
    let is_known = is_intact
        && (is_old || version == VERSION)
        && fields.array::<3>()? == kind.tag()
        && fields.u64()? == id;
    let salt = fields.u64()?;
    is_known.then_some(Header { salt, is_old })
}

/// The salt of a file of version 1, from its first [`OLD_START`] bytes.
pub(crate) fn read_old_header(bytes: &[u8], kind: FileKind, id: u64) -> Option<u64> {
    let mut copies = bytes.chunks_exact(HEADER_BYTES).take(2);
    let found = copies.find_map(|copy| read_header(copy, kind, id).filter(|header| header.is_old));
    found.map(|header| header.salt)
}

/// How a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHead {
    pub(crate) salt: u64,
    /// Where its records begin.
    pub(crate) start: u64,
    /// Where a copy of the header lies that is not readable.
    pub(crate) damaged: Option<u64>,
}

/// Reads the beginning of a log, of its first [`LOG_START`] bytes or fewer; `None` if no copy of its header
/// is intact or it is not this log.
pub(crate) fn read_log_head(bytes: &[u8], id: u64) -> Option<LogHead> {
    let salt_at = |offset: u64, is_old: bool| {
        let copy = read_header(bytes.get(offset as usize..)?, FileKind::Log, id)?;
        (copy.is_old == is_old).then_some(copy.salt)
    };
    let layouts = [
        (false, SECTOR, LOG_START),
        (true, HEADER_BYTES as u64, OLD_START),
    ];
    layouts.into_iter().find_map(|(is_old, second, start)| {
        let copies = [0, second].map(|offset| (offset, salt_at(offset, is_old)));
        let salt = copies.iter().find_map(|copy| copy.1)?;
        let damaged = copies.iter().find(|copy| copy.1.is_none());
        Some(LogHead {
            salt,
            start,
            damaged: damaged.map(|copy| copy.0),
        })
    })
}

/// The seed of all sums of a file with this salt.
pub(crate) fn seed(salt: u64) -> u32 {
    crc32fast::hash(&salt.to_le_bytes())
}

/// What a record holds. Anything but a frame stands in logs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A frame of a host.
    Frame,
    /// No stored frame but one of before, told again as a key frame because the next one of its
    /// chain continues it.
    State,
    /// Samples of a foreign source.
    Foreign,
}

/// A stored frame, or what stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The host.
    pub(crate) host: HostKey,
    /// Epoch of its sequence numbers.
    pub(crate) epoch: u64,
    /// Sequence number, time and content checksum.
    pub(crate) batch: BatchInfo,
    /// Whether the frame starts a chain.
    pub(crate) key: bool,
    /// Whether it is the first of a group: all before it was durable when it was written. Of
    /// meaning only in a log.
    pub(crate) group: bool,
    /// What it holds.
    pub(crate) content: Content,
    /// When it arrived, Unix milliseconds.
    pub(crate) received_ms: i64,
    /// The frame.
    pub(crate) bytes: &'a [u8],
}

/// Appends a record to `out`.
pub(crate) fn write(out: &mut Vec<u8>, seed: u32, record: &Record<'_>) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; HEAD_BYTES - MARKER.len()]);
    let flag = |set, bit| if set { bit } else { 0 };
    let flags = [
        (record.key, FLAG_KEY),
        (record.group, FLAG_GROUP),
        (record.content == Content::State, FLAG_STATE),
        (record.content == Content::Foreign, FLAG_FOREIGN),
    ];
    out.push(
        flags
            .iter()
            .fold(0, |all, &(set, bit)| all | flag(set, bit)),
    );
    varint::write_signed(out, record.host);
    varint::write(out, record.epoch);
    varint::write(out, record.batch.seq);
    varint::write_signed(out, record.batch.time_ms);
    varint::write_signed(out, record.received_ms.wrapping_sub(record.batch.time_ms));
    out.extend_from_slice(&record.batch.checksum.to_le_bytes());
    out.extend_from_slice(record.bytes);
    let Some((head, body)) = out
        .get_mut(start..)
        .and_then(|bytes| bytes.split_first_chunk_mut::<HEAD_BYTES>())
    else {
        return;
    };
    let mut sums = [0; 8];
    let (length, crc) = sums.split_at_mut(4);
    // Bodies are far below 4 GiB: the caller refuses frames above MAX_FRAME_BYTES.
    length.copy_from_slice(&(body.len() as u32).to_le_bytes());
    crc.copy_from_slice(&sum(seed, body).to_le_bytes());
    let check = head_check(seed, &sums);
    let (_, fields) = head.split_at_mut(MARKER.len());
    let (first, last) = fields.split_at_mut(8);
    first.copy_from_slice(&sums);
    last.copy_from_slice(&check);
}

/// What the bytes at one place are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    /// An intact record of this many bytes.
    Whole(usize),
    /// Perhaps a record: this many bytes are needed to tell.
    Short(usize),
    /// No record.
    Bad,
}

/// Tells whether `bytes` begin with an intact record.
pub(crate) fn measure(bytes: &[u8], seed: u32) -> Measured {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Measured::Short(HEAD_BYTES);
    };
    let Some((length, crc)) = read_head(head, seed) else {
        return Measured::Bad;
    };
    let Some(body) = rest.get(..length) else {
        return Measured::Short(HEAD_BYTES + length);
    };
    if sum(seed, body) == crc && read_body(body).is_some() {
        Measured::Whole(HEAD_BYTES + length)
    } else {
        Measured::Bad
    }
}

/// Reads a record that [`measure`] found whole; `None` for anything else.
pub(crate) fn read(bytes: &[u8]) -> Option<Record<'_>> {
    read_body(bytes.get(HEAD_BYTES..)?)
}

fn read_head(head: &[u8; HEAD_BYTES], seed: u32) -> Option<(usize, u32)> {
    let mut fields = Fields(head);
    let marker = fields.array::<2>()?;
    let sums = fields.array::<8>()?;
    if marker != MARKER || fields.array::<2>()? != head_check(seed, &sums) {
        return None;
    }
    let mut sums = Fields(&sums);
    let length = sums.u32()? as usize;
    (length <= MAX_BODY_BYTES).then_some((length, sums.u32()?))
}

fn read_body(mut body: &[u8]) -> Option<Record<'_>> {
    let (&flags, rest) = body.split_first()?;
    body = rest;
    let host = varint::read_signed(&mut body)?;
    let epoch = varint::read(&mut body)?;
    let seq = varint::read(&mut body)?;
    let time_ms = varint::read_signed(&mut body)?;
    let received_ms = time_ms.wrapping_add(varint::read_signed(&mut body)?);
    let (checksum, bytes) = body.split_first_chunk::<4>()?;
    let content = match (flags & FLAG_STATE != 0, flags & FLAG_FOREIGN != 0) {
        (_, true) => Content::Foreign,
        (true, false) => Content::State,
        (false, false) => Content::Frame,
    };
    Some(Record {
        host,
        epoch,
        batch: BatchInfo {
            seq,
            time_ms,
            checksum: u32::from_le_bytes(*checksum),
        },
        key: flags & FLAG_KEY != 0,
        group: flags & FLAG_GROUP != 0,
        content,
        received_ms,
        bytes,
    })
}

fn sum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

fn head_check(seed: u32, sums: &[u8; 8]) -> [u8; 2] {
    let [low, high, ..] = sum(!seed, sums).to_le_bytes();
    [low, high]
}

/// Little-endian fields off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_as_they_went_and_damage_is_noticed(
            host in any::<i64>(), epoch in any::<u64>(), seq in any::<u64>(),
            time_ms in any::<i64>(), received_ms in any::<i64>(), checksum in any::<u32>(),
            key in any::<bool>(), content in 0usize..3, frame in prop::collection::vec(any::<u8>(), 0..300),
            salt in any::<u64>(), damage in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let record = Record {
                host, epoch, batch: BatchInfo { seq, time_ms, checksum }, key, group: !key,
                content: [Content::Frame, Content::State, Content::Foreign][content], received_ms,
                bytes: &frame,
            };
            let seed = seed(salt);
            let mut bytes = Vec::new();
            write(&mut bytes, seed, &record);
            prop_assert_eq!(measure(&bytes, seed), Measured::Whole(bytes.len()));
            prop_assert_eq!(read(&bytes), Some(record));
            prop_assert!(matches!(measure(&bytes[..bytes.len() - 1], seed), Measured::Short(_)));
            let at = damage.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(!matches!(measure(&bytes, seed), Measured::Whole(_)));
        }

        #[test]
        fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(measure(&bytes, 7), Measured::Whole(_)));
            let _ = read(&bytes);
            let _ = read_header(&bytes, FileKind::Log, 1);
            let _ = read_log_head(&bytes, 1);
        }
    }

    fn side_by_side(kind: FileKind, id: u64, salt: u64) -> Vec<u8> {
        let mut copy = write_header(kind, id, salt);
        copy[0] = VERSION_SIDE_BY_SIDE;
        let crc = crc32fast::hash(&copy[..HEADER_BYTES - 4]).to_le_bytes();
        copy[HEADER_BYTES - 4..].copy_from_slice(&crc);
        copy.repeat(2)
    }

    #[test]
    fn one_intact_copy_of_the_header_is_enough() {
        let whole = write_log_head(7, 99);
        assert_eq!(whole.len() as u64, LOG_START);
        let head = |bytes: &[u8]| {
            read_log_head(bytes, 7).map(|head| (head.salt, head.start, head.damaged))
        };
        assert_eq!(head(&whole), Some((99, LOG_START, None)));
        for sector in [0, SECTOR as usize] {
            let mut damaged = whole.clone();
            let end = damaged.len().min(sector + SECTOR as usize);
            damaged[sector..end].fill(0);
            let lost = Some(sector as u64);
            assert_eq!(head(&damaged), Some((99, LOG_START, lost)));
        }
        assert_eq!(read_log_head(&whole, 8), None);
        assert_eq!(read_header(&whole, FileKind::Block, 7), None);
        let mut damaged = whole;
        damaged[0] = 3;
        damaged[SECTOR as usize] = 3;
        assert_eq!(read_log_head(&damaged, 7), None);
    }

    #[test]
    fn headers_side_by_side_are_read_for_ever() {
        let whole = side_by_side(FileKind::Sealed, 7, 99);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(read_old_header(&damaged, FileKind::Sealed, 7), Some(99));
        }
        assert_eq!(read_old_header(&whole, FileKind::Sealed, 8), None);
        assert_eq!(read_old_header(&whole, FileKind::Log, 7), None);
        let mut log = side_by_side(FileKind::Log, 7, 99);
        assert_eq!(log.len() as u64, OLD_START);
        log.resize(9_000, 3);
        let head = read_log_head(&log, 7).unwrap();
        assert_eq!((head.salt, head.start, head.damaged), (99, OLD_START, None));
        log[3] ^= 1;
        let head = read_log_head(&log, 7).unwrap();
        assert_eq!(
            (head.salt, head.start, head.damaged),
            (99, OLD_START, Some(0))
        );
    }
}
