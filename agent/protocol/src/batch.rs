//! The unit of delivery: a sequence-numbered batch of one stream.
//!
//! Each stream has sequence numbers of its own, starting at 1 in a fresh spool, and exactly one
//! store on the controller, so an acknowledgement never waits for two commits. A batch is known by
//! (agent, epoch, stream, sequence number) and by the checksum of its *content*: a batch of samples
//! may be encoded again after a reconnect (as the start of a chain) and is still the same batch.

use std::io::{Read as _, Write as _};

use serde::{Deserialize, Serialize};

use crate::codec::varint;
use crate::event::Event;

/// Kinds of batches that are numbered, spooled, dropped and stored apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Samples; first to give way when the spool is full.
    Samples,
    /// Ordinary events and facts.
    Events,
    /// Security events; last to give way.
    Security,
}

impl Stream {
    /// All streams, in the order in which they give way.
    pub const ALL: [Self; 3] = [Self::Samples, Self::Events, Self::Security];

    /// The stream's number on the wire and in file names.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Samples => 0,
            Self::Events => 1,
            Self::Security => 2,
        }
    }

    /// The stream with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Samples),
            1 => Some(Self::Events),
            2 => Some(Self::Security),
            _ => None,
        }
    }

    /// Lower-case word for logs, labels and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Events => "events",
            Self::Security => "security",
        }
    }
}

/// What can be said of a batch without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    /// Sequence number within its stream.
    pub seq: u64,
    /// Time of the batch, Unix milliseconds.
    pub time_ms: i64,
    /// Checksum of the content.
    pub checksum: u32,
}

/// Version byte of event batches.
pub const EVENTS_VERSION: u8 = 1;

/// Largest uncompressed body of an event batch; a sender splits before it.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Why an event batch could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end early, or run on.
    #[error("event batch is truncated or malformed")]
    Malformed,
    /// A version that this build does not know.
    #[error("event batch has unknown version {0}")]
    Version(u8),
    /// Body exceeds [`MAX_EVENT_BYTES`].
    #[error("event batch exceeds {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    /// The content does not match its checksum.
    #[error("event batch does not match its checksum")]
    Checksum,
    /// The body is not what the version says.
    #[error("event batch body is not readable")]
    Body(#[source] serde_json::Error),
    /// Compression failed.
    #[error("event batch does not decompress")]
    Compression(#[source] std::io::Error),
}

/// Writes a batch of events: version, sequence number, time, deflated JSON, checksum.
///
/// # Errors
/// [`BatchError::TooLarge`] if the caller put too many events into one batch.
pub fn encode_events(
    seq: u64,
    time_ms: i64,
    events: &[Event],
    out: &mut Vec<u8>,
) -> Result<BatchInfo, BatchError> {
    let body = serde_json::to_vec(events).map_err(BatchError::Body)?;
    if body.len() > MAX_EVENT_BYTES {
        return Err(BatchError::TooLarge);
    }
    let checksum = events_checksum(seq, time_ms, &body);
    out.push(EVENTS_VERSION);
    varint::write(out, seq);
    varint::write_signed(out, time_ms);
    varint::write(out, body.len() as u64);
    let mut encoder = flate2::write::DeflateEncoder::new(&mut *out, flate2::Compression::fast());
    encoder
        .write_all(&body)
        .and_then(|()| encoder.finish().map(drop))
        .map_err(BatchError::Compression)?;
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(BatchInfo {
        seq,
        time_ms,
        checksum,
    })
}

/// Reads what [`encode_events`] wrote.
///
/// # Errors
/// Any damage is an error; nothing is returned in part.
pub fn decode_events(bytes: &[u8]) -> Result<(BatchInfo, Vec<Event>), BatchError> {
    let info = peek_events(bytes)?;
    let (header, rest) = read_header(bytes)?;
    let (compressed, _) = rest
        .split_at_checked(rest.len().saturating_sub(4))
        .ok_or(BatchError::Malformed)?;
    let mut body = Vec::with_capacity(header.length.min(64 * 1024));
    flate2::read::DeflateDecoder::new(compressed)
        .take(header.length as u64 + 1)
        .read_to_end(&mut body)
        .map_err(BatchError::Compression)?;
    if body.len() != header.length {
        return Err(BatchError::Malformed);
    }
    if events_checksum(info.seq, info.time_ms, &body) != info.checksum {
        return Err(BatchError::Checksum);
    }
    let events = serde_json::from_slice(&body).map_err(BatchError::Body)?;
    Ok((info, events))
}

/// Reads only the header and the checksum of an event batch.
///
/// # Errors
/// As [`decode_events`], but the body is not looked at.
pub fn peek_events(bytes: &[u8]) -> Result<BatchInfo, BatchError> {
    let (header, rest) = read_header(bytes)?;
    let checksum = rest.last_chunk::<4>().ok_or(BatchError::Malformed)?;
    Ok(BatchInfo {
        seq: header.seq,
        time_ms: header.time_ms,
        checksum: u32::from_le_bytes(*checksum),
    })
}

struct EventsHeader {
    seq: u64,
    time_ms: i64,
    length: usize,
}

fn read_header(bytes: &[u8]) -> Result<(EventsHeader, &[u8]), BatchError> {
    let (&version, mut rest) = bytes.split_first().ok_or(BatchError::Malformed)?;
    if version != EVENTS_VERSION {
        return Err(BatchError::Version(version));
    }
    let seq = varint::read(&mut rest).ok_or(BatchError::Malformed)?;
    let time_ms = varint::read_signed(&mut rest).ok_or(BatchError::Malformed)?;
    let length = varint::read(&mut rest).ok_or(BatchError::Malformed)?;
    let length = usize::try_from(length).map_err(|_| BatchError::TooLarge)?;
    if length > MAX_EVENT_BYTES {
        return Err(BatchError::TooLarge);
    }
    Ok((
        EventsHeader {
            seq,
            time_ms,
            length,
        },
        rest,
    ))
}

fn events_checksum(seq: u64, time_ms: i64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(&time_ms.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Severity, kinds};
    use proptest::prelude::*;

    fn sample() -> Vec<Event> {
        vec![
            Event::new(
                1_700_000_000_123,
                kinds::LOGIN,
                Severity::Info,
                "张三 logged in",
            )
            .with("user", "zhangsan"),
            Event::new(1_700_000_000_456, kinds::SUDO, Severity::Notice, "sudo"),
        ]
    }

    #[test]
    fn events_come_back_as_they_went() {
        let mut bytes = Vec::new();
        let info = encode_events(7, 1_700_000_001_000, &sample(), &mut bytes).unwrap();
        assert_eq!(peek_events(&bytes).unwrap(), info);
        let (decoded, events) = decode_events(&bytes).unwrap();
        assert_eq!((decoded, events), (info, sample()));
    }

    proptest! {
        #[test]
        fn damaged_batches_are_refused_without_panic(position in 0usize..200, bit in 0u8..8) {
            let mut bytes = Vec::new();
            encode_events(7, 5, &sample(), &mut bytes).unwrap();
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            prop_assert!(decode_events(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode_events(&bytes));
        }
    }
}
