//! The spool's small durable state: epoch, session, sequence numbers, what was acknowledged and what
//! was dropped.
//!
//! The file holds two slots of fixed size, written in place, so that neither a full disk nor a power
//! cut can take the state away: the slot that was last made durable is never overwritten, and a slot
//! that does not match its checksum is ignored. A torn write therefore costs what changed since the
//! last sync, at most a minute of acknowledgements, which are only sent once more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::codec::varint;
use xiezhi_protocol::message::Dropped;
use xiezhi_protocol::range_set::RangeSet;

use crate::disk::Disk;
use crate::drops::{reason_from_number, reason_number};
use crate::error::SpoolError;

const VERSION: u8 = 1;
const SLOT_BYTES: usize = 16 * 1024;
/// Version, length and generation.
const HEADER_BYTES: usize = 1 + 4 + 8;
/// Ranges kept per stream; what is beyond is sent again after a restart, and is then a replay.
const MAX_RANGES: usize = 100;
/// Longest session identifier.
pub(crate) const MAX_SESSION_BYTES: usize = 256;

/// What is kept of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    /// The number after the last one used, as far as is known.
    pub(crate) next: u64,
    /// No number from here on was ever used.
    pub(crate) reserved: u64,
    /// Acknowledged or given up.
    pub(crate) settled: RangeSet,
}

/// What is kept of the spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    pub(crate) session: String,
    /// Kernel boot in which this was written; after another boot unsynced writes may be missing.
    pub(crate) boot_id: String,
    /// Whether the spool was closed in an orderly way.
    pub(crate) closed: bool,
    /// Milliseconds that agents ran on this spool.
    pub(crate) age_ms: u64,
    /// In the order of [`Stream::ALL`].
    pub(crate) streams: [StreamState; 4],
    pub(crate) drops: Vec<Dropped>,
}

/// The file that holds it.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    path: PathBuf,
    generation: u64,
    /// The slot that must survive.
    durable_slot: usize,
}

/// What was found on opening.
pub(crate) struct Loaded {
    pub(crate) state: Option<State>,
    /// Whether a slot was unreadable: the other may be older than the last write.
    pub(crate) doubtful: bool,
}

impl StateFile {
    /// Opens and locks the file, making it at full size if needed.
    pub(crate) fn open(disk: &Disk, folder: &Path) -> Result<(Self, Loaded), SpoolError> {
        let path = folder.join("state");
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk
                .create(&path)
                .map_err(SpoolError::io("create", &path))?,
            Err(source) => return Err(SpoolError::io("open", &path)(source)),
        };
        if file.try_lock().is_err() {
            return Err(SpoolError::Busy {
                path: folder.to_owned(),
            });
        }
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let length = read_up_to(&file, &mut bytes).map_err(SpoolError::io("read", &path))?;
        if length < bytes.len() {
            let missing = bytes.get(length..).unwrap_or_default();
            disk.write(&file, &path, missing, length as u64)
                .map_err(SpoolError::io("make room for", &path))?;
        }
        // Before the first write here the slot that was found must be durable, because the other
        // one is about to be overwritten.
        disk.sync(&file, &path)
            .map_err(SpoolError::io("sync", &path))?;
        let (first, second) = bytes.split_at(SLOT_BYTES);
        let slots = [read_slot(first), read_slot(second)];
        let doubtful = slots.iter().any(|slot| matches!(slot, Slot::Damaged));
        let mut this = Self {
            file,
            path,
            generation: 0,
            durable_slot: 1,
        };
        let mut state = None;
        for (index, slot) in slots.into_iter().enumerate() {
            if let Slot::Whole(generation, found) = slot
                && (state.is_none() || generation > this.generation)
            {
                (this.generation, this.durable_slot) = (generation, index);
                state = Some(*found);
            }
        }
        Ok((this, Loaded { state, doubtful }))
    }

    /// Writes the state; with `sync` it is durable afterwards.
    pub(crate) fn save(&mut self, disk: &Disk, state: &State, sync: bool) -> io::Result<()> {
        let mut bytes = vec![VERSION, 0, 0, 0, 0];
        self.generation += 1;
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        encode(state, &mut bytes);
        let length = (bytes.len() - HEADER_BYTES) as u32;
        for (target, byte) in bytes.iter_mut().skip(1).zip(length.to_le_bytes()) {
            *target = byte;
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        if bytes.len() > SLOT_BYTES {
            return Err(io::Error::other("state exceeds its slot"));
        }
        let slot = 1 - self.durable_slot;
        disk.write(&self.file, &self.path, &bytes, (slot * SLOT_BYTES) as u64)?;
        if sync {
            disk.sync(&self.file, &self.path)?;
            self.durable_slot = slot;
        }
        Ok(())
    }
}

fn read_up_to(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

enum Slot {
    Empty,
    Damaged,
    Whole(u64, Box<State>),
}

fn read_slot(bytes: &[u8]) -> Slot {
    if bytes.iter().all(|&byte| byte == 0) {
        return Slot::Empty;
    }
    match parse_slot(bytes) {
        Some((generation, state)) => Slot::Whole(generation, Box::new(state)),
        None => Slot::Damaged,
    }
}

fn parse_slot(bytes: &[u8]) -> Option<(u64, State)> {
    let (&version, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (payload, rest) = rest.split_at_checked(length)?;
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    if version != VERSION || crc32fast::hash(bytes.get(..HEADER_BYTES + length)?) != checksum {
        return None;
    }
    Some((u64::from_le_bytes(*generation), decode(payload)?))
}

fn encode(state: &State, out: &mut Vec<u8>) {
    varint::write(out, state.epoch);
    write_text(out, &state.session);
    write_text(out, &state.boot_id);
    out.push(u8::from(state.closed));
    varint::write(out, state.age_ms);
    let [polls, samples, events, security] = &state.streams;
    for stream in [samples, events, security] {
        encode_stream(stream, out);
    }
    let (drops_of_polls, drops): (Vec<_>, Vec<_>) =
        (state.drops.iter()).partition(|drop| drop.stream == Stream::Polls);
    encode_drops(&drops, out);
    // Behind what releases without polls read, and nothing of it where they would stumble over it.
    encode_stream(polls, out);
    encode_drops(&drops_of_polls, out);
}

fn encode_stream(stream: &StreamState, out: &mut Vec<u8>) {
    varint::write(out, stream.next);
    varint::write(out, stream.reserved);
    let ranges = stream.settled.ranges();
    let kept = ranges
        .get(ranges.len().saturating_sub(MAX_RANGES)..)
        .unwrap_or_default();
    varint::write(out, kept.len() as u64);
    for &(first, last) in kept {
        varint::write(out, first);
        varint::write(out, last - first);
    }
}

fn encode_drops(drops: &[&Dropped], out: &mut Vec<u8>) {
    varint::write(out, drops.len() as u64);
    for drop in drops {
        out.push(drop.stream.number());
        out.push(reason_number(&drop.reason));
        varint::write(out, drop.first);
        varint::write(out, drop.last);
        varint::write_signed(out, drop.from_ms);
        varint::write_signed(out, drop.to_ms);
    }
}

fn decode(mut bytes: &[u8]) -> Option<State> {
    let bytes = &mut bytes;
    let mut state = State {
        epoch: varint::read(bytes)?,
        session: read_text(bytes)?,
        boot_id: read_text(bytes)?,
        closed: read_byte(bytes)? == 1,
        age_ms: varint::read(bytes)?,
        ..State::default()
    };
    let [polls, samples, events, security] = &mut state.streams;
    for stream in [samples, events, security] {
        *stream = decode_stream(bytes)?;
    }
    decode_drops(bytes, &mut state.drops)?;
    // A release without polls wrote no more.
    if !bytes.is_empty() {
        *polls = decode_stream(bytes)?;
        let others = std::mem::take(&mut state.drops);
        decode_drops(bytes, &mut state.drops)?;
        state.drops.extend(others);
    }
    Some(state)
}

fn decode_stream(bytes: &mut &[u8]) -> Option<StreamState> {
    let mut stream = StreamState {
        next: varint::read(bytes)?,
        reserved: varint::read(bytes)?,
        ..StreamState::default()
    };
    for _ in 0..varint::read(bytes)? {
        let first = varint::read(bytes)?;
        let last = first.checked_add(varint::read(bytes)?)?;
        stream.settled.insert_range(first, last);
    }
    Some(stream)
}

fn decode_drops(bytes: &mut &[u8], drops: &mut Vec<Dropped>) -> Option<()> {
    for _ in 0..varint::read(bytes)? {
        drops.push(Dropped {
            stream: Stream::from_number(read_byte(bytes)?)?,
            reason: reason_from_number(read_byte(bytes)?).to_owned(),
            first: varint::read(bytes)?,
            last: varint::read(bytes)?,
            from_ms: varint::read_signed(bytes)?,
            to_ms: varint::read_signed(bytes)?,
        });
    }
    Some(())
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn read_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(varint::read(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn read_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(epoch: u64) -> State {
        let mut state = State {
            epoch,
            session: "s-1".to_owned(),
            boot_id: "b".repeat(36),
            age_ms: 5,
            ..State::default()
        };
        state.streams[0].next = 70;
        state.streams[0].settled.insert_range(3, 9);
        state.streams[0].settled.insert_range(12, 12);
        state.streams[1].next = 4;
        for stream in [Stream::Polls, Stream::Events] {
            state.drops.push(Dropped {
                stream,
                first: 4,
                last: 8,
                from_ms: -5,
                to_ms: 9,
                reason: "full".to_owned(),
            });
        }
        state
    }

    /// What the release before wrote ends where polls begin, and what it reads does, too.
    #[test]
    fn a_state_without_polls_is_read_and_one_with_them_begins_like_it() {
        let mut with = Vec::new();
        encode(&sample(3), &mut with);
        let mut state = sample(3);
        state.streams[0] = StreamState::default();
        state.drops.remove(0);
        let mut without = Vec::new();
        encode(&state, &mut without);
        // Its numbers, no ranges, no drops: four zeros.
        let before = &without[..without.len() - 4];
        assert_eq!(decode(before), Some(state));
        assert!(with.starts_with(before));
        assert_eq!(decode(&with), Some(sample(3)));
    }

    #[test]
    fn state_comes_back_as_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (mut file, loaded) = StateFile::open(&disk, folder.path()).unwrap();
        assert!(loaded.state.is_none() && !loaded.doubtful);
        for epoch in 1..5 {
            file.save(&disk, &sample(epoch), epoch % 2 == 0).unwrap();
        }
        drop(file);
        let (_, loaded) = StateFile::open(&disk, folder.path()).unwrap();
        assert_eq!(loaded.state, Some(sample(4)));
    }

    #[test]
    fn a_torn_write_leaves_the_last_durable_state() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (mut file, _) = StateFile::open(&disk, folder.path()).unwrap();
        file.save(&disk, &sample(1), true).unwrap();
        let before = std::fs::read(folder.path().join("state")).unwrap();
        file.save(&disk, &sample(2), false).unwrap();
        let after = std::fs::read(folder.path().join("state")).unwrap();
        drop(file);
        for cut in 0..before.len() {
            if before[cut] == after[cut] {
                continue;
            }
            let mut torn = after[..cut].to_vec();
            torn.extend_from_slice(&before[cut..]);
            std::fs::write(folder.path().join("state"), torn).unwrap();
            let (_, loaded) = StateFile::open(&disk, folder.path()).unwrap();
            assert_eq!(loaded.state, Some(sample(1)), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_slot(&bytes);
            let _ = decode(&bytes);
        }
    }
}
