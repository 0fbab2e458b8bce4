//! The file format of a segment: an append-only run of batches of one stream.
//!
//! ```text
//! file   = version:u8  stream:u8  first:varint  born:varint  crc32:u32le  record*
//! record = marker:u8 (0xB5 key, 0xB4 delta)  length:varint  body  crc32:u32le
//! body   = seq:varint  time:signed  checksum:u32le  payload
//! ```
//!
//! The marker and the checksum over marker, length and body let a reader find the next whole record
//! after a damaged one.

use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_protocol::codec::varint;
use xiezhi_protocol::record::MAX_RECORD_BYTES;

/// Version of the files that this build writes.
pub(crate) const VERSION: u8 = 1;
const KEY: u8 = 0xB5;
const DELTA: u8 = 0xB4;
/// Marker and length: enough bytes to tell how long a record is.
pub(crate) const HEAD_BYTES: usize = 1 + varint::MAX_BYTES;
/// Most of a record that is not payload.
const OVERHEAD_BYTES: usize = 64;
/// A record's number is at most this far from the one before, or it is not a record.
const MAX_STEP: u64 = 1 << 20;

/// What a segment's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) stream: Stream,
    pub(crate) first: u64,
    /// Age clock of the spool when the segment was begun.
    pub(crate) born_ms: u64,
}

/// One whole record in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    pub(crate) info: BatchInfo,
    pub(crate) key: bool,
    pub(crate) payload: &'a [u8],
    /// Bytes that the record takes.
    pub(crate) length: usize,
}

/// The segment's file name: sorts by stream and number.
pub(crate) fn file_name(stream: Stream, first: u64) -> String {
    format!("{}-{first:020}.seg", stream.name())
}

/// Reverses [`file_name`].
pub(crate) fn parse_file_name(name: &str) -> Option<(Stream, u64)> {
    let (stream, first) = name.strip_suffix(".seg")?.split_once('-')?;
    let stream = Stream::ALL
        .into_iter()
        .find(|known| known.name() == stream)?;
    Some((stream, first.parse().ok()?))
}

/// Appends a segment's head.
pub(crate) fn write_header(out: &mut Vec<u8>, header: Header) {
    let start = out.len();
    out.push(VERSION);
    out.push(header.stream.number());
    varint::write(out, header.first);
    varint::write(out, header.born_ms);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Reads a segment's head and its length.
pub(crate) fn read_header(bytes: &[u8]) -> Option<(Header, usize)> {
    let (&[version, stream], mut rest) = bytes.split_first_chunk()?;
    let first = varint::read(&mut rest)?;
    let born_ms = varint::read(&mut rest)?;
    let length = bytes.len() - rest.len();
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    if version != VERSION || crc32fast::hash(bytes.get(..length)?) != checksum {
        return None;
    }
    Some((
        Header {
            stream: Stream::from_number(stream)?,
            first,
            born_ms,
        },
        length + 4,
    ))
}

/// Appends one record.
pub(crate) fn write_record(out: &mut Vec<u8>, info: BatchInfo, key: bool, payload: &[u8]) {
    let mut body = Vec::with_capacity(24);
    varint::write(&mut body, info.seq);
    varint::write_signed(&mut body, info.time_ms);
    body.extend_from_slice(&info.checksum.to_le_bytes());
    let start = out.len();
    out.push(if key { KEY } else { DELTA });
    varint::write(out, (body.len() + payload.len()) as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(payload);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Bytes of the record that begins with `head`; `None` if it is no record.
pub(crate) fn record_length(head: &[u8]) -> Option<usize> {
    let (&marker, mut rest) = head.split_first()?;
    if marker != KEY && marker != DELTA {
        return None;
    }
    let length = usize::try_from(varint::read(&mut rest)?).ok()?;
    (length <= MAX_RECORD_BYTES + OVERHEAD_BYTES).then(|| head.len() - rest.len() + length + 4)
}

/// Reads the record at the start of `bytes`; `None` if it is damaged or cut.
pub(crate) fn parse_record(bytes: &[u8]) -> Option<Parsed<'_>> {
    let length = record_length(bytes)?;
    let record = bytes.get(..length)?;
    let (content, checksum) = record.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (&marker, mut body) = content.split_first()?;
    varint::read(&mut body)?;
    let seq = varint::read(&mut body)?;
    let time_ms = varint::read_signed(&mut body)?;
    let (checksum, payload) = body.split_first_chunk::<4>()?;
    let info = BatchInfo {
        seq,
        time_ms,
        checksum: u32::from_le_bytes(*checksum),
    };
    Some(Parsed {
        info,
        key: marker == KEY,
        payload,
        length,
    })
}

/// The first whole record in `bytes` whose number is one of `from..`, and where it begins.
pub(crate) fn find_record(bytes: &[u8], from: u64) -> Option<(usize, Parsed<'_>)> {
    (0..bytes.len()).find_map(|at| {
        let record = parse_record(bytes.get(at..)?)?;
        let plausible = record.info.seq >= from && record.info.seq - from < MAX_STEP;
        plausible.then_some((at, record))
    })
}

/// What a walk over a segment's bytes found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Whole records in order: number, time, whether it is a key.
    pub(crate) records: Vec<(u64, i64, bool)>,
    /// Where the last whole record ends.
    pub(crate) end: usize,
    /// Where the records end that follow each other without damage from the start.
    pub(crate) intact_end: usize,
    /// How many of `records` lie before `intact_end`.
    pub(crate) intact: usize,
    /// Places where something unreadable lay between or after records.
    pub(crate) damaged: u64,
    /// Whether the file ends in a record that was only partly written.
    pub(crate) torn: bool,
    /// Whether the last record has its full length but not its checksum: its number was used.
    pub(crate) damaged_last: bool,
}

/// Walks over a segment's bytes; `first` is the number in its name.
pub(crate) fn scan(bytes: &[u8], first: u64) -> Scan {
    let mut scan = Scan::default();
    let header = read_header(bytes).map_or(0, |(_, length)| length);
    scan.damaged = u64::from(header == 0);
    (scan.end, scan.intact_end) = (header, header);
    let mut next = first;
    while let Some(rest) = bytes.get(scan.end..).filter(|rest| !rest.is_empty()) {
        let Some((skipped, record)) = find_record(rest, next) else {
            let whole = record_length(rest).is_some_and(|length| length <= rest.len());
            (scan.torn, scan.damaged_last) = (!whole, whole);
            scan.damaged += u64::from(whole);
            break;
        };
        scan.damaged += u64::from(skipped > 0 && scan.end > 0);
        scan.records
            .push((record.info.seq, record.info.time_ms, record.key));
        // A damaged head costs nothing: what it says is in the name as well.
        let adjoins = skipped == 0 || scan.end == 0;
        let follows = adjoins && record.info.seq == next && scan.intact_end == scan.end;
        scan.end += skipped + record.length;
        if follows {
            (scan.intact_end, scan.intact) = (scan.end, scan.records.len());
        }
        next = record.info.seq + 1;
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(seq: u64) -> BatchInfo {
        BatchInfo {
            seq,
            time_ms: seq as i64 * 10,
            checksum: seq as u32 ^ 0xabcd,
        }
    }

    fn segment(first: u64, sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        write_header(
            &mut bytes,
            Header {
                stream: Stream::Events,
                first,
                born_ms: 9,
            },
        );
        let mut ends = vec![bytes.len()];
        for (index, &size) in sizes.iter().enumerate() {
            write_record(
                &mut bytes,
                info(first + index as u64),
                index == 0,
                &vec![KEY; size],
            );
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn a_segment_cut_anywhere_keeps_its_whole_records(
            sizes in prop::collection::vec(0usize..40, 1..8), cut in any::<prop::sample::Index>(),
        ) {
            let (bytes, ends) = segment(5, &sizes);
            let cut = ends[0] + cut.index(bytes.len() - ends[0]);
            let scan = scan(&bytes[..cut], 5);
            let whole = ends.iter().filter(|&&end| end <= cut).count() - 1;
            prop_assert_eq!(scan.records.len(), whole);
            prop_assert_eq!(scan.end, ends[whole]);
            prop_assert_eq!(scan.torn, cut != ends[whole]);
            prop_assert_eq!(scan.damaged, 0);
        }

        #[test]
        fn one_damaged_byte_costs_at_most_the_record_that_holds_it(
            sizes in prop::collection::vec(0usize..40, 1..8),
            at in any::<prop::sample::Index>(), flip in 1u8..=255,
        ) {
            let (mut bytes, ends) = segment(5, &sizes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let found: Vec<u64> = scan(&bytes, 5).records.iter().map(|record| record.0).collect();
            for index in 0..sizes.len() {
                let hit = (ends[index]..ends[index + 1]).contains(&at);
                prop_assert_eq!(found.contains(&(5 + index as u64)), !hit);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = scan(&bytes, 1);
        }
    }

    #[test]
    fn a_segment_of_the_first_release_is_read_for_ever() {
        let mut bytes = Vec::new();
        write_header(
            &mut bytes,
            Header {
                stream: Stream::Security,
                first: 300,
                born_ms: 9,
            },
        );
        write_record(&mut bytes, info(300), true, b"kept");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, KEPT);
    }

    const KEPT: &str = "0102ac02090468c3cab50cac02f02ee1aa00006b657074328c25ee";

    #[test]
    fn names_come_back_as_they_went() {
        assert_eq!(
            parse_file_name(&file_name(Stream::Samples, 42)),
            Some((Stream::Samples, 42))
        );
        assert_eq!(parse_file_name("other.seg"), None);
    }
}
