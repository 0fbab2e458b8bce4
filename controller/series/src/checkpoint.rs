//! The de-duplication state on disk, so that opening need not read every segment.
//!
//! ```text
//! file = version:u8 "ckp" through:u64 lane* crc:u32
//! lane = 1 host:signed epoch:varint received:signed ranges:varint (gap length)*
//!        memory:varint (seq:varint checksum:u32)*
//! end  = 0
//! ```
//!
//! It holds everything of the segments up to `through`, and may hold more: state is added only
//! after it is durable, and adding it again from the log changes nothing. So it is written lane by
//! lane while appends go on. The one before it is kept, for the case that this one is unreadable.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use xiezhi_protocol::codec::varint;
use xiezhi_protocol::range_set::RangeSet;

use crate::disk::{self, Disk, DiskFile};
use crate::frame::HostKey;
use crate::lane::Lane;
use crate::record::Fields;
use crate::refused;

/// The newest checkpoint.
pub(crate) const NAME: &str = "dedup.checkpoint";
/// The one before it.
pub(crate) const PREVIOUS: &str = "dedup.previous";
/// A checkpoint being written.
const UNFINISHED: &str = "dedup.checkpoint.tmp";
const VERSION: u8 = 1;
const TAG: [u8; 3] = *b"ckp";
const BUFFER: usize = 1 << 20;

/// Lanes by host and epoch.
pub(crate) type Lanes = HashMap<(HostKey, u64), Lane>;

/// Writes a checkpoint piece by piece.
#[derive(Debug)]
pub(crate) struct Writer<'d> {
    disk: &'d dyn Disk,
    file: Arc<dyn DiskFile>,
    hasher: crc32fast::Hasher,
    buffer: Vec<u8>,
    written: u64,
}

impl<'d> Writer<'d> {
    /// Begins a checkpoint of everything up to segment `through`.
    pub(crate) fn new(disk: &'d dyn Disk, through: u64) -> io::Result<Self> {
        let mut buffer = vec![VERSION];
        buffer.extend_from_slice(&TAG);
        buffer.extend_from_slice(&through.to_le_bytes());
        let file = disk.create(UNFINISHED)?;
        Ok(Self {
            disk,
            file,
            hasher: crc32fast::Hasher::new(),
            buffer,
            written: 0,
        })
    }

    /// Where the next lanes go; call [`Self::flush`] after adding some.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes out a full buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER {
            self.write_out()
        } else {
            Ok(())
        }
    }

    /// Makes the checkpoint durable and puts it in place. The one before is kept as long as it `is_good`.
    pub(crate) fn finish(mut self, is_good: bool) -> io::Result<()> {
        self.buffer.push(0);
        self.write_out()?;
        let crc = self.hasher.clone().finalize().to_le_bytes();
        self.file.write_at(&crc, self.written)?;
        self.file.sync()?;
        if is_good {
            match self.disk.rename(NAME, PREVIOUS) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.rename(UNFINISHED, NAME)?;
        self.disk.sync()
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        // In pieces: one large sync at the end would make appends wait for it.
        self.file.sync()
    }
}

/// Appends one lane.
pub(crate) fn write_lane(out: &mut Vec<u8>, host: HostKey, epoch: u64, lane: &Lane) {
    out.push(1);
    varint::write_signed(out, host);
    varint::write(out, epoch);
    varint::write_signed(out, lane.last_received_ms);
    varint::write(out, lane.seqs.ranges().len() as u64);
    let mut previous = 0;
    for &(first, last) in lane.seqs.ranges() {
        varint::write(out, first - previous);
        varint::write(out, last - first);
        previous = last;
    }
    varint::write(out, lane.remembered().count() as u64);
    for (seq, checksum) in lane.remembered() {
        varint::write(out, seq);
        out.extend_from_slice(&checksum.to_le_bytes());
    }
}

/// Reads the newest readable checkpoint: the last segment it covers, and the lanes. Says also how
/// many were unreadable.
pub(crate) fn load(disk: &dyn Disk) -> io::Result<(u64, Lanes, u64)> {
    let mut unreadable = 0;
    for name in [NAME, PREVIOUS] {
        let bytes = match refused::or_nothing(read(disk, name).map(Some)) {
            Ok(bytes) => bytes.unwrap_or_default(),
            // A folder in its place is nobody's checkpoint.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some((through, lanes)) = parse(&bytes) {
            return Ok((through, lanes, unreadable));
        }
        unreadable += 1;
        tracing::warn!(
            file = name,
            "de-duplication checkpoint is unreadable, rebuilding from data"
        );
    }
    Ok((0, Lanes::new(), unreadable))
}

fn read(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    disk::read_block(&*file, 0, length)
}

/// Reads a checkpoint's bytes; `None` if any of them is damaged.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u64, Lanes)> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(content);
    if fields.array::<1>()? != [VERSION] || fields.array::<3>()? != TAG {
        return None;
    }
    let through = fields.u64()?;
    let mut rest = fields.0;
    let mut lanes = Lanes::new();
    loop {
        let (&more, after) = rest.split_first()?;
        rest = after;
        if more == 0 {
            return rest.is_empty().then_some((through, lanes));
        }
        let (key, lane) = parse_lane(&mut rest)?;
        lanes.insert(key, lane);
    }
}

fn parse_lane(rest: &mut &[u8]) -> Option<((HostKey, u64), Lane)> {
    let host = varint::read_signed(rest)?;
    let epoch = varint::read(rest)?;
    let received_ms = varint::read_signed(rest)?;
    let mut seqs = RangeSet::new();
    let mut previous = 0u64;
    for _ in 0..varint::read(rest)? {
        let first = previous.checked_add(varint::read(rest)?)?;
        previous = first.checked_add(varint::read(rest)?)?;
        seqs.insert_range(first, previous);
    }
    let mut memory = Vec::new();
    for _ in 0..varint::read(rest)? {
        let seq = varint::read(rest)?;
        let (checksum, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        memory.push((seq, u32::from_le_bytes(*checksum)));
    }
    Some(((host, epoch), Lane::restore(seqs, received_ms, &memory)))
}
