//! Length-prefixed records on a byte stream: `varint length | kind | payload`.

use crate::batch::Stream;
use crate::codec::varint;
use crate::message::Ack;
use crate::range_set::RangeSet;

/// Longest record; a sender splits before it, a receiver ends the session.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// What a record is. Numbers are fixed for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Up, JSON [`crate::message::Hello`]; always first.
    Hello = 1,
    /// Up, a sample frame of the live lane.
    LiveSamples = 2,
    /// Up, a sample frame of the backlog lane: a chain of its own.
    BacklogSamples = 3,
    /// Up, an event batch of [`Stream::Events`].
    Events = 4,
    /// Up, an event batch of [`Stream::Security`].
    Security = 5,
    /// Up, JSON [`crate::message::Status`].
    Status = 6,
    /// Up, JSON [`crate::message::Goodbye`].
    Goodbye = 7,
    /// Up, empty: acknowledge what is durable without waiting for more.
    Flush = 8,
    /// Up, a poll of a device, [`crate::poll`]: from protocol 3 on.
    Polls = 9,
    /// Down, JSON [`crate::message::Welcome`]; always first.
    Welcome = 32,
    /// Down, binary [`Ack`].
    Ack = 33,
    /// Down, JSON [`crate::message::Refused`].
    Refused = 34,
    /// Down on the directive stream, JSON [`crate::message::DirectiveMessage`].
    Directive = 35,
    /// Up on the directive stream, JSON [`crate::message::DirectiveOutcome`].
    Outcome = 36,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::LiveSamples,
            3 => Self::BacklogSamples,
            4 => Self::Events,
            5 => Self::Security,
            6 => Self::Status,
            7 => Self::Goodbye,
            8 => Self::Flush,
            9 => Self::Polls,
            32 => Self::Welcome,
            33 => Self::Ack,
            34 => Self::Refused,
            35 => Self::Directive,
            36 => Self::Outcome,
            _ => return None,
        })
    }
}

/// Why a byte stream cannot be read as records. The session ends: what follows has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`MAX_RECORD_BYTES`].
    #[error("record of {0} bytes exceeds the limit of {MAX_RECORD_BYTES}")]
    TooLong(u64),
    /// A length that is no number, or a record without a kind.
    #[error("record header is malformed")]
    Malformed,
}

/// Appends one record to `out`.
pub fn write(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    varint::write(out, payload.len() as u64 + 1);
    out.push(kind as u8);
    out.extend_from_slice(payload);
}

/// The number of a record's kind, its payload, and how many bytes of the buffer it took.
pub type Taken<'a> = (u8, &'a [u8], usize);

/// Takes the first whole record off `buffer`: its kind's number, its payload and the bytes used.
/// `None` if more bytes are needed.
///
/// Unknown kinds are returned like any other, so that a reader can skip what a newer peer sends.
///
/// # Errors
/// The stream is unreadable from here on.
pub fn read(buffer: &[u8]) -> Result<Option<Taken<'_>>, RecordError> {
    let mut rest = buffer;
    let Some(length) = varint::read(&mut rest) else {
        return if buffer.len() >= varint::MAX_BYTES {
            Err(RecordError::Malformed)
        } else {
            Ok(None)
        };
    };
    if length == 0 {
        return Err(RecordError::Malformed);
    }
    if length > MAX_RECORD_BYTES as u64 {
        return Err(RecordError::TooLong(length));
    }
    let header = buffer.len() - rest.len();
    let length = length as usize;
    let Some((&kind, payload)) = rest.get(..length).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    Ok(Some((kind, payload, header + length)))
}

/// Version byte of acknowledgements.
const ACK_VERSION: u8 = 1;

/// Appends the payload of an acknowledgement to `out`.
pub fn write_ack(out: &mut Vec<u8>, ack: &Ack) {
    out.push(ACK_VERSION);
    out.push(ack.stream.number());
    varint::write(out, ack.epoch);
    let mut previous = 0;
    for &(first, last) in ack.ranges.ranges() {
        varint::write(out, first - previous);
        varint::write(out, last - first);
        previous = last;
    }
}

/// Reads the payload of an acknowledgement; `None` if it is malformed.
#[must_use]
pub fn read_ack(payload: &[u8]) -> Option<Ack> {
    let (&[version, stream], mut rest) = payload.split_first_chunk()?;
    if version != ACK_VERSION {
        return None;
    }
    let stream = Stream::from_number(stream)?;
    let epoch = varint::read(&mut rest)?;
    let mut ranges = RangeSet::new();
    let mut previous = 0u64;
    while !rest.is_empty() {
        let first = previous.checked_add(varint::read(&mut rest)?)?;
        let last = first.checked_add(varint::read(&mut rest)?)?;
        ranges.insert_range(first, last);
        previous = last;
    }
    Some(Ack {
        stream,
        epoch,
        ranges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_found_however_the_bytes_are_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
            step in 1usize..50,
        ) {
            let mut wire = Vec::new();
            for payload in &payloads {
                write(&mut wire, Kind::Events, payload);
            }
            let mut buffer: Vec<u8> = Vec::new();
            let mut found = Vec::new();
            for chunk in wire.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some((kind, payload, used)) = read(&buffer).unwrap() {
                    prop_assert_eq!(kind, Kind::Events as u8);
                    found.push(payload.to_vec());
                    buffer.drain(..used);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(found, payloads);
        }

        #[test]
        fn acknowledgements_come_back_as_they_went(
            epoch in any::<u64>(),
            ranges in prop::collection::vec((0u64..1 << 40, 0u64..1000), 0..6),
        ) {
            let mut set = RangeSet::new();
            for (first, length) in ranges {
                set.insert_range(first, first + length);
            }
            let ack = Ack { stream: Stream::Security, epoch, ranges: set };
            let mut bytes = Vec::new();
            write_ack(&mut bytes, &ack);
            prop_assert_eq!(read_ack(&bytes), Some(ack));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _outcome = read(&bytes);
            drop(read_ack(&bytes));
        }
    }

    #[test]
    fn an_oversized_record_is_refused_before_it_is_read() {
        let mut wire = Vec::new();
        varint::write(&mut wire, u64::MAX);
        assert_eq!(read(&wire), Err(RecordError::TooLong(u64::MAX)));
        assert_eq!(read(&[0]), Err(RecordError::Malformed));
        assert_eq!(read(&[0x80; 10]), Err(RecordError::Malformed));
    }
}
