//! A content with its number, its time and a checksum over all of it.

use super::{MAX_POLL_BYTES, POLL_VERSION, Poll, PollError, body};
use crate::batch::BatchInfo;
use crate::codec::varint;

/// Appends the batch of a content, which is not looked at, to `out`.
///
/// # Errors
/// [`PollError::TooLarge`] if the content exceeds [`MAX_POLL_BYTES`].
pub fn encode_poll(
    seq: u64,
    time_ms: i64,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<BatchInfo, PollError> {
    if content.len() > MAX_POLL_BYTES {
        return Err(PollError::TooLarge("bytes"));
    }
    let checksum = checksum(seq, time_ms, content);
    out.push(POLL_VERSION);
    varint::write(out, seq);
    varint::write_signed(out, time_ms);
    out.extend_from_slice(content);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(BatchInfo {
        seq,
        time_ms,
        checksum,
    })
}

/// Reads only the head and the checksum of a batch.
///
/// # Errors
/// The batch is too short or of an unknown version; its content is not looked at.
pub fn peek_poll(bytes: &[u8]) -> Result<BatchInfo, PollError> {
    split(bytes).map(|(info, _)| info)
}

/// Reads a batch whole.
///
/// # Errors
/// Any damage is an error, and so is anything beyond a bound of this module; nothing is returned in part.
pub fn read_poll(bytes: &[u8]) -> Result<(BatchInfo, Poll), PollError> {
    let (info, content) = split(bytes)?;
    if content.len() > MAX_POLL_BYTES {
        return Err(PollError::TooLarge("bytes"));
    }
    if checksum(info.seq, info.time_ms, content) != info.checksum {
        return Err(PollError::Checksum);
    }
    let poll = body::decode(content, info.time_ms)?;
    Ok((info, poll))
}

fn split(bytes: &[u8]) -> Result<(BatchInfo, &[u8]), PollError> {
    let (rest, checksum) = bytes.split_last_chunk::<4>().ok_or(PollError::Malformed)?;
    let (&version, mut rest) = rest.split_first().ok_or(PollError::Malformed)?;
    if version != POLL_VERSION {
        return Err(PollError::Version(version));
    }
    let seq = varint::read(&mut rest).ok_or(PollError::Malformed)?;
    let time_ms = varint::read_signed(&mut rest).ok_or(PollError::Malformed)?;
    let info = BatchInfo {
        seq,
        time_ms,
        checksum: u32::from_le_bytes(*checksum),
    };
    Ok((info, rest))
}

fn checksum(seq: u64, time_ms: i64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(&time_ms.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}
