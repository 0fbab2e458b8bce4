//! Sealing: a full log is written again, grouped by host, and then removed.
//!
//! Every step is safe to lose power after: the sealed file appears whole or not at all (temporary
//! file, fsync, rename, fsync of the folder), the log goes only after that, and opening removes a
//! log whose sealed file is there. Appends never wait for any of it.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::DiskFile;
use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::log::{Log, Span};
use crate::record::{self, FileKind};
use crate::segment::{self, Entry, FooterWriter, Segment};

/// Written at once.
const CHUNK: usize = 1 << 20;
/// Made durable at once: small, so that an append's fdatasync does not wait behind a long one.
const SYNC_EVERY: u64 = 8 << 20;

/// Seals one log and puts the sealed segment in its place. The log's file stays.
pub(crate) fn seal(engine: &Engine, log: &Arc<Log>) -> Result<(), SeriesError> {
    let unfinished = format!("{}.tmp", segment::name(log.id));
    if let Err(error) = write_segment(engine, log, &unfinished) {
        // What was written so far is only a waste of space; opening removes it too.
        if let Err(error) = engine.disk.remove(&unfinished) {
            tracing::debug!(error = %error, "unfinished segment stays until the next start");
        }
        return Err(error);
    }
    let name = segment::name(log.id);
    engine
        .disk
        .rename(&unfinished, &name)
        .map_err(engine.error("rename", &unfinished))?;
    engine
        .disk
        .sync()
        .map_err(engine.error("sync the folder of", &name))?;
    let sealed = Segment::open(&*engine.disk, log.id, false)
        .and_then(|segment| segment.ok_or_else(|| std::io::ErrorKind::InvalidData.into()))
        .map_err(engine.error("read back", &name))?;
    tracing::info!(
        segment = log.id,
        frames = sealed.frames,
        bytes = sealed.bytes,
        "segment sealed"
    );
    engine.change_files(|files| {
        files.logs.remove(&log.id);
        files.sealed.insert(log.id, Arc::new(sealed));
    });
    Ok(())
}

fn write_segment(engine: &Engine, log: &Log, name: &str) -> Result<(), SeriesError> {
    let file = engine
        .disk
        .create(name)
        .map_err(engine.error("create", name))?;
    let mut hosts: Vec<HostKey> = log.state().index.keys().copied().collect();
    hosts.sort_unstable();
    let header = record::write_header(FileKind::Sealed, log.id, log.salt);
    let mut output = Output {
        engine,
        name,
        file,
        buffer: header,
        written: 0,
        synced: 0,
    };
    let mut footer = FooterWriter::default();
    let (mut frames, mut span) = (0, Span::default());
    for host in hosts {
        let group = Group::read(engine, log, host)?;
        group.write(&mut output.buffer, output.written, &mut |entry| {
            footer.add(entry)
        });
        for place in &group.places {
            span.add(place.time_ms, place.received_ms);
            frames += 1;
        }
        output.flush(CHUNK)?;
    }
    let data_end = output.written + output.buffer.len() as u64;
    output
        .buffer
        .extend_from_slice(&footer.finish(frames, &span, data_end));
    output.flush(0)?;
    output.sync()
}

/// All records of one host in a log.
struct Group {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

struct Place {
    epoch: u64,
    seq: u64,
    time_ms: i64,
    received_ms: i64,
    start: usize,
    length: usize,
}

impl Group {
    fn read(engine: &Engine, log: &Log, host: HostKey) -> Result<Self, SeriesError> {
        let mut group = Self {
            bytes: Vec::new(),
            places: Vec::new(),
        };
        for offset in log.offsets(host) {
            let start = group.bytes.len();
            let length = log
                .read(offset, &mut group.bytes)
                .map_err(engine.error("read", &log.name))?;
            let Some(record) = group.bytes.get(start..).and_then(record::read) else {
                count(&engine.counters.damaged, 1);
                tracing::error!(file = %log.name, offset, host, "a stored frame is damaged and lost");
                continue;
            };
            group.places.push(Place {
                epoch: record.epoch,
                seq: record.batch.seq,
                time_ms: record.batch.time_ms,
                received_ms: record.received_ms,
                start,
                length: length.unwrap_or_default(),
            });
        }
        // Stable: of two records of one number, which should not be, the first stored stays.
        group.places.sort_by_key(|place| (place.epoch, place.seq));
        group.places.dedup_by_key(|place| (place.epoch, place.seq));
        Ok(group)
    }

    /// Appends the regions of all epochs to `out`, whose first byte is at `base` in the file.
    fn write(&self, out: &mut Vec<u8>, base: u64, region: &mut dyn FnMut(&Entry)) {
        let mut entry: Option<Entry> = None;
        for place in &self.places {
            let Some(bytes) = self.bytes.get(place.start..place.start + place.length) else {
                continue;
            };
            let Some(record) = record::read(bytes) else {
                continue;
            };
            let offset = base + out.len() as u64;
            if let Some(done) = entry.take_if(|entry| entry.epoch != place.epoch) {
                region(&done);
            }
            let current = entry.get_or_insert_with(|| Entry::begin(&record, offset));
            current.add(&record, offset, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        if let Some(done) = entry {
            region(&done);
        }
    }
}

/// A paced, buffered file.
struct Output<'e> {
    engine: &'e Engine,
    name: &'e str,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
}

impl Output<'_> {
    /// Writes the buffer out if it holds more than `limit`.
    fn flush(&mut self, limit: usize) -> Result<(), SeriesError> {
        let length = self.buffer.len() as u64;
        if self.buffer.len() <= limit {
            return Ok(());
        }
        self.file
            .write_at(&self.buffer, self.written)
            .map_err(self.engine.error("write", self.name))?;
        self.written += length;
        self.buffer.clear();
        if self.written - self.synced >= SYNC_EVERY {
            self.sync()?;
        }
        let pace = self.engine.options.seal_bytes_per_s.max(1);
        self.engine
            .bell
            .rest(Duration::from_secs_f64(length as f64 / pace as f64))
    }

    fn sync(&mut self) -> Result<(), SeriesError> {
        self.synced = self.written;
        self.file
            .sync()
            .map_err(self.engine.error("sync", self.name))
    }
}
