//! The unit of delivery: a sequence-numbered batch of one stream.
//!
//! Each stream has sequence numbers of its own, starting at 1 in a fresh spool, and exactly one
//! store on the controller, so an acknowledgement never waits for two commits. A batch is known by
//! (agent, epoch, stream, sequence number) and by the checksum of its *content*: a batch of samples
//! may be encoded again after a reconnect (as the start of a chain) and is still the same batch.
//!
//! ```text
//! events 1 = 1:u8  seq:varint  time:signed  length:varint  deflated JSON  checksum:u32le
//! events 2 = 2:u8  seq:varint  time:signed  length:varint  signature  deflated JSON  checksum:u32le
//! signature = length:varint host  epoch:varint  Ed25519 signature:64 bytes
//! ```
//!
//! Version 2 is version 1 with a signature; the content and its checksum are the same, so a batch
//! stays the same batch when a sender takes the signature off for a peer that knows only version 1.

use std::io::{Read as _, Write as _};

use serde::{Deserialize, Serialize};

use crate::codec::varint;
use crate::event::Event;
use crate::signature::{BatchSignature, SIGNATURE_BYTES, is_host_name};

/// Kinds of batches that are numbered, spooled, dropped and stored apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What the host read of devices of the network; first to give way when the spool is full.
    Polls,
    /// Samples of the host itself.
    Samples,
    /// Ordinary events and facts.
    Events,
    /// Security events; last to give way.
    Security,
}

impl Stream {
    /// All streams, in the order in which they give way.
    pub const ALL: [Self; 4] = [Self::Polls, Self::Samples, Self::Events, Self::Security];

    /// The stream's number on the wire and in file names.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Samples => 0,
            Self::Events => 1,
            Self::Security => 2,
            Self::Polls => 3,
        }
    }

    /// The stream with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Samples),
            1 => Some(Self::Events),
            2 => Some(Self::Security),
            3 => Some(Self::Polls),
            _ => None,
        }
    }

    /// Lower-case word for logs, labels and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polls => "polls",
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

/// Version byte of event batches without a signature.
pub const EVENTS_VERSION: u8 = 1;

/// Version byte of event batches with one.
pub const SIGNED_EVENTS_VERSION: u8 = 2;

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

/// An event batch as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEvents {
    /// Number, time and checksum.
    pub info: BatchInfo,
    /// The content: JSON exactly as the agent wrote it, which is what a signature covers.
    pub content: Vec<u8>,
    /// The signature, if the agent signed it. It was only read, not verified.
    pub signature: Option<BatchSignature>,
    /// The content's events.
    pub events: Vec<Event>,
}

/// Writes a batch of events without a signature.
///
/// # Errors
/// [`BatchError::TooLarge`] if the caller put too many events into one batch.
pub fn encode_events(
    seq: u64,
    time_ms: i64,
    events: &[Event],
    out: &mut Vec<u8>,
) -> Result<BatchInfo, BatchError> {
    encode_signed_events(seq, time_ms, events, out, |_| None)
}

/// Writes a batch of events with the signature that `sign` makes over its content, or without one if
/// `sign` gives none.
///
/// # Errors
/// [`BatchError::TooLarge`] if the caller put too many events into one batch.
pub fn encode_signed_events(
    seq: u64,
    time_ms: i64,
    events: &[Event],
    out: &mut Vec<u8>,
    sign: impl FnOnce(&[u8]) -> Option<BatchSignature>,
) -> Result<BatchInfo, BatchError> {
    let content = serde_json::to_vec(events).map_err(BatchError::Body)?;
    if content.len() > MAX_EVENT_BYTES {
        return Err(BatchError::TooLarge);
    }
    let checksum = events_checksum(seq, time_ms, &content);
    let signature = sign(&content);
    let head = EventsHead {
        seq,
        time_ms,
        length: content.len(),
        signature,
    };
    write_head(out, &head);
    let mut encoder = flate2::write::DeflateEncoder::new(&mut *out, flate2::Compression::fast());
    encoder
        .write_all(&content)
        .and_then(|()| encoder.finish().map(drop))
        .map_err(BatchError::Compression)?;
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(BatchInfo {
        seq,
        time_ms,
        checksum,
    })
}

/// The events of a batch of any version; [`read_events`] gives the rest too.
///
/// # Errors
/// Any damage is an error; nothing is returned in part.
pub fn decode_events(bytes: &[u8]) -> Result<(BatchInfo, Vec<Event>), BatchError> {
    read_events(bytes).map(|read| (read.info, read.events))
}

/// Reads a batch of any version whole.
///
/// # Errors
/// Any damage of the content is an error; nothing is returned in part. A damaged signature is not
/// noticed here: it does not verify.
pub fn read_events(bytes: &[u8]) -> Result<ReadEvents, BatchError> {
    let info = peek_events(bytes)?;
    let (head, rest) = read_head(bytes)?;
    let (compressed, _) = rest
        .split_at_checked(rest.len().saturating_sub(4))
        .ok_or(BatchError::Malformed)?;
    let mut content = Vec::with_capacity(head.length.min(64 * 1024));
    flate2::read::DeflateDecoder::new(compressed)
        .take(head.length as u64 + 1)
        .read_to_end(&mut content)
        .map_err(BatchError::Compression)?;
    if content.len() != head.length {
        return Err(BatchError::Malformed);
    }
    if events_checksum(info.seq, info.time_ms, &content) != info.checksum {
        return Err(BatchError::Checksum);
    }
    let events = serde_json::from_slice(&content).map_err(BatchError::Body)?;
    Ok(ReadEvents {
        info,
        content,
        signature: head.signature,
        events,
    })
}

/// Reads only the head and the checksum of an event batch.
///
/// # Errors
/// As [`decode_events`], but the content is not looked at.
pub fn peek_events(bytes: &[u8]) -> Result<BatchInfo, BatchError> {
    let (head, rest) = read_head(bytes)?;
    let checksum = rest.last_chunk::<4>().ok_or(BatchError::Malformed)?;
    Ok(BatchInfo {
        seq: head.seq,
        time_ms: head.time_ms,
        checksum: u32::from_le_bytes(*checksum),
    })
}

/// The same batch in version 1, for a peer that knows no other; `None` if it is in version 1 or not
/// readable, and is best sent as it is.
#[must_use]
pub fn without_signature(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut head, rest) = read_head(bytes).ok()?;
    head.signature.take()?;
    let mut out = Vec::with_capacity(bytes.len());
    write_head(&mut out, &head);
    out.extend_from_slice(rest);
    Some(out)
}

struct EventsHead {
    seq: u64,
    time_ms: i64,
    /// Of the content.
    length: usize,
    signature: Option<BatchSignature>,
}

fn write_head(out: &mut Vec<u8>, head: &EventsHead) {
    out.push(match head.signature {
        None => EVENTS_VERSION,
        Some(_) => SIGNED_EVENTS_VERSION,
    });
    varint::write(out, head.seq);
    varint::write_signed(out, head.time_ms);
    varint::write(out, head.length as u64);
    if let Some(signature) = &head.signature {
        varint::write(out, signature.host.len() as u64);
        out.extend_from_slice(signature.host.as_bytes());
        varint::write(out, signature.epoch);
        out.extend_from_slice(&signature.bytes);
    }
}

fn read_head(bytes: &[u8]) -> Result<(EventsHead, &[u8]), BatchError> {
    let (&version, mut rest) = bytes.split_first().ok_or(BatchError::Malformed)?;
    if !matches!(version, EVENTS_VERSION | SIGNED_EVENTS_VERSION) {
        return Err(BatchError::Version(version));
    }
    let seq = varint::read(&mut rest).ok_or(BatchError::Malformed)?;
    let time_ms = varint::read_signed(&mut rest).ok_or(BatchError::Malformed)?;
    let length = varint::read(&mut rest).ok_or(BatchError::Malformed)?;
    let length = usize::try_from(length).map_err(|_| BatchError::TooLarge)?;
    if length > MAX_EVENT_BYTES {
        return Err(BatchError::TooLarge);
    }
    let signature = match version {
        EVENTS_VERSION => None,
        _ => Some(read_signature(&mut rest).ok_or(BatchError::Malformed)?),
    };
    let head = EventsHead {
        seq,
        time_ms,
        length,
        signature,
    };
    Ok((head, rest))
}

fn read_signature(rest: &mut &[u8]) -> Option<BatchSignature> {
    let length = usize::try_from(varint::read(rest)?).ok()?;
    let (host, after) = rest.split_at_checked(length)?;
    *rest = after;
    let host = std::str::from_utf8(host).ok().filter(|h| is_host_name(h))?;
    let epoch = varint::read(rest)?;
    let (bytes, after) = rest.split_first_chunk::<SIGNATURE_BYTES>()?;
    *rest = after;
    Some(BatchSignature {
        host: host.to_owned(),
        epoch,
        bytes: *bytes,
    })
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

    fn signature() -> BatchSignature {
        BatchSignature {
            host: "17".to_owned(),
            epoch: 3,
            bytes: [0x5a; SIGNATURE_BYTES],
        }
    }

    fn signed() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_signed_events(7, 5, &sample(), &mut bytes, |_| Some(signature())).unwrap();
        bytes
    }

    #[test]
    fn a_signature_travels_with_its_batch_and_can_be_taken_off() {
        let mut content = Vec::new();
        let mut bytes = Vec::new();
        let sign = |signed: &[u8]| {
            content.extend_from_slice(signed);
            Some(signature())
        };
        let info = encode_signed_events(7, 5, &sample(), &mut bytes, sign).unwrap();
        assert_eq!(peek_events(&bytes).unwrap(), info);
        let read = read_events(&bytes).unwrap();
        assert_eq!((read.info, &read.events), (info, &sample()));
        assert_eq!((read.signature, read.content), (Some(signature()), content));
        let mut plain = Vec::new();
        let same = encode_events(7, 5, &sample(), &mut plain).unwrap();
        assert_eq!(same, info, "the same batch, signed or not");
        assert_eq!(without_signature(&bytes), Some(plain.clone()));
        assert_eq!(without_signature(&plain), None);
        assert_eq!(without_signature(&[9, 9]), None);
    }

    #[test]
    fn a_host_that_is_no_name_is_refused() {
        let mut bytes = Vec::new();
        let forged = BatchSignature {
            host: "1\nepoch 9".to_owned(),
            ..signature()
        };
        encode_signed_events(7, 5, &sample(), &mut bytes, |_| Some(forged)).unwrap();
        assert!(matches!(read_events(&bytes), Err(BatchError::Malformed)));
    }

    /// Every bit of both kinds of batch, because a few are of no account: those that fill the last
    /// byte of the deflated text.
    #[test]
    fn damage_never_changes_the_content_of_a_batch() {
        let mut unsigned = Vec::new();
        encode_events(7, 5, &sample(), &mut unsigned).unwrap();
        let signed = signed();
        damage_every_bit(&unsigned, None);
        damage_every_bit(&signed, Some(&signature()));
    }

    fn damage_every_bit(whole: &[u8], signature: Option<&BatchSignature>) {
        let last_of_text = whole.len() - size_of::<u32>() - 1;
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.to_vec();
                bytes[position] ^= 1 << bit;
                let flipped = format!("byte {position} of {}, bit {bit}", whole.len());
                if let Ok(read) = read_events(&bytes) {
                    assert_eq!(read.events, sample(), "{flipped}");
                    let is_whole = read.signature.as_ref() == signature;
                    assert!(!is_whole || position == last_of_text, "{flipped}");
                }
                drop(without_signature(&bytes));
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode_events(&bytes));
        }
    }
}
