//! A file that is written once, from its beginning to its end, at a pace, under a temporary name.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::DiskFile;
use crate::engine::Engine;
use crate::error::SeriesError;

/// Written at once.
const CHUNK: usize = 1 << 20;
/// Made durable at once: small, so that an append's fdatasync does not wait behind a long one.
const SYNC_EVERY: u64 = 8 << 20;

/// A paced, buffered file.
#[derive(Debug)]
pub(crate) struct Output<'e> {
    engine: &'e Engine,
    name: String,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
}

impl<'e> Output<'e> {
    /// Begins the file that will be `name`.
    pub(crate) fn create(engine: &'e Engine, name: &str) -> Result<Self, SeriesError> {
        let name = unfinished(name);
        let file = engine
            .disk
            .create(&name)
            .map_err(engine.error("create", &name))?;
        Ok(Self {
            engine,
            name,
            file,
            buffer: Vec::new(),
            written: 0,
            synced: 0,
        })
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Where bytes are added; call [`Self::flush`] now and then.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes a full buffer out.
    pub(crate) fn flush(&mut self) -> Result<(), SeriesError> {
        if self.buffer.len() >= CHUNK {
            self.write_out()?;
        }
        Ok(())
    }

    /// Writes `bytes` over what was written at `offset`, then makes all of it durable. It still has its
    /// temporary name.
    pub(crate) fn finish_with(mut self, bytes: &[u8], offset: u64) -> Result<(), SeriesError> {
        self.write_out()?;
        self.file
            .write_at(bytes, offset)
            .map_err(self.engine.error("write", &self.name))?;
        self.sync()
    }

    fn write_out(&mut self) -> Result<(), SeriesError> {
        let length = self.buffer.len() as u64;
        self.file
            .write_at(&self.buffer, self.written)
            .map_err(self.engine.error("write", &self.name))?;
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
            .map_err(self.engine.error("sync", &self.name))
    }
}

/// The temporary name of a file; opening the store removes those.
pub(crate) fn unfinished(name: &str) -> String {
    format!("{name}.tmp")
}

/// Puts a finished file in place. Durable after the folder's next sync.
pub(crate) fn put_in_place(engine: &Engine, name: &str) -> Result<(), SeriesError> {
    let temporary = unfinished(name);
    engine
        .disk
        .rename(&temporary, name)
        .map_err(engine.error("rename", &temporary))
}

/// Removes a file that will not be finished; what fails only wastes space until the next start.
pub(crate) fn give_up(engine: &Engine, name: &str) {
    if let Err(error) = engine.disk.remove(&unfinished(name)) {
        tracing::debug!(error = %error, "an unfinished file stays until the next start");
    }
}
