//! Delta frames: the samples of one report in a few hundred bytes.
//!
//! A *chain* starts with a key frame, which names every series (a column) and gives its value. Each
//! delta frame after it holds a bit per column for "changed" and, for the changed ones, the
//! difference of a decimal integer. Of the 150 series of a busy host about half change between two
//! reports; the frame is then close to one byte per sample.
//!
//! ```text
//! frame   = version:u8  flags:u8  seq:varint  body  checksum:u32le
//! key     = time:signed  interval:varint  columns
//! delta   = step:varint  columns  toggles  bitmap  changes
//! columns = count:varint [ packed-length:varint raw-length:varint deflated-names value* ]
//! value   = head:u8 (scale, bit 7 = present)  mantissa:signed | bits:u64le
//! step    = 0: one interval after the frame before; else zigzag(ms) + 1
//! toggles = count:varint gap:varint*     columns that come or go
//! changes = 0 head value: new scale | zigzag(mantissa − mantissa before) + 1 | 1 bits:u64le (raw)
//! ```
//!
//! The checksum covers the *content* (sequence number, time, names, values), not the bytes: a frame
//! may be encoded again as the key of a new chain and keeps its identity, and a decoder whose state
//! has drifted notices.
//!
//! Values are exact: a value that is not a short decimal number is sent as its 64 bits.

mod checksum;
mod decoder;
mod encoder;
mod glance;
mod name;
mod schema;
mod value;
pub mod varint;

pub use decoder::{Column, Decoder, FrameInfo};
pub use encoder::Encoder;
pub use name::SeriesName;

/// Version byte of sample frames.
pub const FRAME_VERSION: u8 = 1;

/// Most frames in one chain: an hour at 15 s. It bounds what must be read to decode one frame and
/// what is lost behind a damaged one.
pub const MAX_CHAIN: u32 = 240;

const FLAG_KEY: u8 = 1;

/// Why a frame was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes end early, run on or contradict themselves.
    #[error("frame is truncated or malformed")]
    Malformed,
    /// A version that this build does not know.
    #[error("frame has unknown version {0}")]
    Version(u8),
    /// A delta frame whose predecessor was not decoded: the chain must start again.
    #[error("frame {seq} continues a chain that is not known here")]
    ChainBroken {
        /// The frame's sequence number.
        seq: u64,
    },
    /// More series than a host may have.
    #[error("frame has more than {} series", crate::report::MAX_SERIES_PER_REPORT)]
    TooManySeries,
    /// The names did not decompress.
    #[error("names of the series do not decompress")]
    Compression(#[source] std::io::Error),
    /// What was decoded is not what was encoded.
    #[error("frame {seq} does not match its checksum")]
    Checksum {
        /// The frame's sequence number.
        seq: u64,
    },
}

/// What can be said of a frame without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    /// Sequence number.
    pub seq: u64,
    /// Whether it starts a chain.
    pub key: bool,
    /// Checksum of its content.
    pub checksum: u32,
}

/// Reads a frame's sequence number, kind and checksum without any state.
///
/// # Errors
/// The frame is too short or of an unknown version.
pub fn peek(frame: &[u8]) -> Result<Peek, FrameError> {
    let (head, _) = split(frame)?;
    Ok(head)
}

/// Takes the frame apart: its head, and its body without the checksum.
fn split(frame: &[u8]) -> Result<(Peek, &[u8]), FrameError> {
    let (content, checksum) = frame.split_last_chunk::<4>().ok_or(FrameError::Malformed)?;
    let (&[version, flags], mut rest) = content
        .split_first_chunk::<2>()
        .ok_or(FrameError::Malformed)?;
    if version != FRAME_VERSION {
        return Err(FrameError::Version(version));
    }
    if flags & !FLAG_KEY != 0 {
        return Err(FrameError::Malformed);
    }
    let seq = varint::read(&mut rest).ok_or(FrameError::Malformed)?;
    let head = Peek {
        seq,
        key: flags & FLAG_KEY != 0,
        checksum: u32::from_le_bytes(*checksum),
    };
    Ok((head, rest))
}

#[cfg(test)]
mod tests;
