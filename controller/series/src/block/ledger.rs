//! Which frames a block holds, without their samples: what de-duplication and proofs need.
//!
//! ```text
//! ledger = group*
//! group  = host:signed epoch:varint length:varint frames:varint seqs times waits flags checksum:u32*
//! seqs, times, waits, flags = (value:signed repeated:varint)*    until all frames are told
//! ```
//!
//! Sequence numbers and waits (arrival minus frame time, in seconds) are differences, times the
//! differences of differences: five bytes a frame, of which four are the checksum.

use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::codec::varint;

use super::envelope::Place;
use crate::frame::{HostKey, StoredFrame};

const FLAG_KEY: i64 = 1;
const FLAG_UNDECODED: i64 = 2;

/// A frame and whether its samples are in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) frame: StoredFrame,
    pub(crate) undecoded: bool,
}

/// The first group of a piece, kept in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) host: HostKey,
    pub(crate) place: Place,
}

/// Frames of one host and epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'b> {
    pub(crate) host: HostKey,
    pub(crate) epoch: u64,
    body: &'b [u8],
}

/// Appends a group; its frames ascend in number and are of one epoch.
pub(crate) fn write(out: &mut Vec<u8>, host: HostKey, frames: &[Noted]) {
    let Some(first) = frames.first() else { return };
    let mut body = Vec::new();
    varint::write(&mut body, frames.len() as u64);
    let batches = || frames.iter().map(|noted| noted.frame.batch);
    write_runs(
        &mut body,
        differences(batches().map(|batch| batch.seq as i64)),
    );
    write_runs(
        &mut body,
        differences(differences(batches().map(|batch| batch.time_ms))),
    );
    write_runs(&mut body, differences(frames.iter().map(wait_s)));
    write_runs(&mut body, frames.iter().map(flags));
    for batch in batches() {
        body.extend_from_slice(&batch.checksum.to_le_bytes());
    }
    varint::write_signed(out, host);
    varint::write(out, first.frame.epoch);
    varint::write(out, body.len() as u64);
    out.extend_from_slice(&body);
}

fn wait_s(noted: &Noted) -> i64 {
    let frame = &noted.frame;
    frame
        .received_ms
        .wrapping_sub(frame.batch.time_ms)
        .div_euclid(1000)
}

fn flags(noted: &Noted) -> i64 {
    let flag = |set, bit| if set { bit } else { 0 };
    flag(noted.frame.key, FLAG_KEY) | flag(noted.undecoded, FLAG_UNDECODED)
}

fn differences(values: impl Iterator<Item = i64>) -> impl Iterator<Item = i64> {
    let mut before = 0i64;
    values.map(move |value| {
        let difference = value.wrapping_sub(before);
        before = value;
        difference
    })
}

fn write_runs(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let mut run: Option<(i64, u64)> = None;
    let put = |out: &mut Vec<u8>, (value, length): (i64, u64)| {
        varint::write_signed(out, value);
        varint::write(out, length);
    };
    for value in values {
        match &mut run {
            Some((known, length)) if *known == value => *length += 1,
            _ => {
                if let Some(done) = run.replace((value, 1)) {
                    put(out, done);
                }
            }
        }
    }
    if let Some(done) = run {
        put(out, done);
    }
}

/// The groups of a piece; ends early at bytes that are none.
pub(crate) fn groups(mut bytes: &[u8]) -> impl Iterator<Item = Group<'_>> {
    std::iter::from_fn(move || {
        let host = varint::read_signed(&mut bytes)?;
        let epoch = varint::read(&mut bytes)?;
        let length = usize::try_from(varint::read(&mut bytes)?).ok()?;
        let (body, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(Group { host, epoch, body })
    })
}

impl Group<'_> {
    /// The frames, ascending in number; `None` if the bytes are none.
    pub(crate) fn frames(&self) -> Option<Vec<Noted>> {
        let mut bytes = self.body;
        let count = usize::try_from(varint::read(&mut bytes)?).ok()?;
        // Each frame has a checksum, so a lie about their number ends here.
        if count > bytes.len() / 4 {
            return None;
        }
        let seqs = sums(read_runs(&mut bytes, count)?);
        let times = sums(sums(read_runs(&mut bytes, count)?));
        let waits = sums(read_runs(&mut bytes, count)?);
        let flags = read_runs(&mut bytes, count)?;
        let checksums = bytes.chunks_exact(4).filter_map(|four| four.first_chunk());
        let batches = seqs.into_iter().zip(times).zip(checksums);
        let batches = batches.map(|((seq, time_ms), checksum)| BatchInfo {
            seq: seq as u64,
            time_ms,
            checksum: u32::from_le_bytes(*checksum),
        });
        let noted = |((batch, wait_s), flags): ((BatchInfo, i64), i64)| Noted {
            frame: StoredFrame {
                epoch: self.epoch,
                batch,
                key: flags & FLAG_KEY != 0,
                received_ms: batch.time_ms.wrapping_add(wait_s.wrapping_mul(1000)),
            },
            undecoded: flags & FLAG_UNDECODED != 0,
        };
        let frames: Vec<Noted> = batches.zip(waits).zip(flags).map(noted).collect();
        (frames.len() == count).then_some(frames)
    }
}

fn sums(mut values: Vec<i64>) -> Vec<i64> {
    let mut sum = 0i64;
    for value in &mut values {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
    values
}

fn read_runs(bytes: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let value = varint::read_signed(bytes)?;
        let length = usize::try_from(varint::read(bytes)?).ok()?;
        if length == 0 || length > count - values.len() {
            return None;
        }
        values.resize(values.len() + length, value);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noted(seq: u64, time_ms: i64, wait_s: i64, flags: u8) -> Noted {
        let batch = BatchInfo {
            seq,
            time_ms,
            checksum: seq as u32 ^ 0x5555,
        };
        let frame = StoredFrame {
            epoch: 3,
            batch,
            key: flags & 1 != 0,
            received_ms: time_ms + wait_s * 1000,
        };
        Noted {
            frame,
            undecoded: flags & 2 != 0,
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(
            rows in prop::collection::vec((1u64..9, any::<i32>(), -5i64..50, 0u8..4), 1..50),
        ) {
            let mut seq = 0;
            let frames: Vec<Noted> = rows
                .iter()
                .map(|&(gap, time, wait, flags)| { seq += gap; noted(seq, i64::from(time), wait, flags) })
                .collect();
            let mut bytes = Vec::new();
            write(&mut bytes, -4, &frames);
            write(&mut bytes, 9, &frames);
            let groups: Vec<_> = groups(&bytes).collect();
            prop_assert_eq!(groups.len(), 2);
            prop_assert_eq!((groups[0].host, groups[1].host, groups[0].epoch), (-4, 9, 3));
            prop_assert_eq!(groups[1].frames().unwrap(), frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for group in groups(&bytes) {
                drop(group.frames());
            }
        }
    }

    #[test]
    fn a_steady_host_costs_five_bytes_a_frame() {
        let frames: Vec<Noted> = (1..=240)
            .map(|seq| noted(seq, seq as i64 * 15_000, 1, 0))
            .collect();
        let mut bytes = Vec::new();
        write(&mut bytes, 1, &frames);
        assert!(bytes.len() < 240 * 5, "{}", bytes.len());
    }
}
