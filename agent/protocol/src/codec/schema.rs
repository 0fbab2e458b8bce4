//! The names of a chain's new columns: front-coded, then deflated.
//!
//! Series of one metric stand together, so a name mostly repeats the one before it; coding the
//! shared prefix as a number leaves deflate little to do and makes a key frame of 150 series
//! about 2 kB.

use std::io::{Read as _, Write as _};

use super::{FrameError, varint};
use crate::report::{MAX_SERIES_BYTES, MAX_SERIES_PER_REPORT};

/// Most bytes of names in one frame before compression.
const MAX_RAW_BYTES: usize = 4 << 20;

/// Appends `count` and, if there are any, the packed names.
pub(super) fn write<'a>(out: &mut Vec<u8>, count: usize, names: impl Iterator<Item = &'a str>) {
    varint::write(out, count as u64);
    if count == 0 {
        return;
    }
    let mut raw = Vec::with_capacity(count * 16);
    let mut previous: &str = "";
    for name in names {
        let shared = name
            .bytes()
            .zip(previous.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        varint::write(&mut raw, shared as u64);
        varint::write(&mut raw, (name.len() - shared) as u64);
        raw.extend_from_slice(name.as_bytes().get(shared..).unwrap_or_default());
        previous = name;
    }
    let packed = deflate(&raw);
    varint::write(out, packed.len() as u64);
    varint::write(out, raw.len() as u64);
    out.extend_from_slice(&packed);
}

fn deflate(raw: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(7));
    // A Vec accepts every write; an error here cannot come from outside.
    if encoder.write_all(raw).is_err() {
        return Vec::new();
    }
    encoder.finish().unwrap_or_default()
}

/// Takes names off the front of `bytes` and hands each to `each`; returns how many there were.
///
/// A name that is no text becomes an empty one: it is the caller's to refuse, and must not cost the
/// other series of the frame.
pub(super) fn read(bytes: &mut &[u8], mut each: impl FnMut(&str)) -> Result<usize, FrameError> {
    let count = read_length(bytes, MAX_SERIES_PER_REPORT).ok_or(FrameError::TooManySeries)?;
    if count == 0 {
        return Ok(0);
    }
    let packed_length = read_length(bytes, MAX_RAW_BYTES).ok_or(FrameError::Malformed)?;
    let raw_length = read_length(bytes, MAX_RAW_BYTES).ok_or(FrameError::Malformed)?;
    let (packed, rest) = bytes
        .split_at_checked(packed_length)
        .ok_or(FrameError::Malformed)?;
    *bytes = rest;
    let mut raw = Vec::with_capacity(raw_length.min(1 << 16));
    flate2::read::DeflateDecoder::new(packed)
        .take(raw_length as u64 + 1)
        .read_to_end(&mut raw)
        .map_err(FrameError::Compression)?;
    if raw.len() != raw_length {
        return Err(FrameError::Malformed);
    }
    unpack(&raw, count, &mut each)?;
    Ok(count)
}

fn unpack(raw: &[u8], count: usize, each: &mut dyn FnMut(&str)) -> Result<(), FrameError> {
    let mut rest = raw;
    let mut name: Vec<u8> = Vec::new();
    for _ in 0..count {
        let shared = read_length(&mut rest, name.len()).ok_or(FrameError::Malformed)?;
        let length = read_length(&mut rest, MAX_RAW_BYTES).ok_or(FrameError::Malformed)?;
        let (suffix, after) = rest.split_at_checked(length).ok_or(FrameError::Malformed)?;
        rest = after;
        name.truncate(shared);
        name.extend_from_slice(suffix);
        let fits = name.len() <= MAX_SERIES_BYTES;
        each(if fits {
            std::str::from_utf8(&name).unwrap_or_default()
        } else {
            ""
        });
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(FrameError::Malformed)
    }
}

fn read_length(bytes: &mut &[u8], most: usize) -> Option<usize> {
    let length = usize::try_from(varint::read(bytes)?).ok()?;
    (length <= most).then_some(length)
}
