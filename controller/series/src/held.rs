//! Logs that became blocks and are still to be followed: kept until they were, or until they are too
//! old.
//!
//! A held log keeps its name; what makes it one is that a block has its frames. So there is no step
//! between "log" and "held" that a crash could fall into: opening finds the block and holds the log,
//! or removes it if nobody follows.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::damage;
use crate::disk::{Disk, DiskFile};
use crate::engine::{Catalog, Engine, count};
use crate::error::SeriesError;
use crate::log::{self, Log};
use crate::record::{self, Content, LogHead};
use crate::scan::{self, Scanner, Step};

/// A log whose frames are in a block.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) seed: u32,
    /// Where its records begin.
    pub(crate) start: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) length: u64,
    pub(crate) last_received_ms: i64,
    /// Whether its block has all of it, as far as who cut it could read.
    pub(crate) is_in_block: bool,
}

impl Held {
    /// A log that was just cut.
    pub(crate) fn of(log: &Log, is_in_block: bool) -> Self {
        let state = log.state();
        Self {
            id: log.id,
            name: log.name.clone(),
            seed: log.seed,
            start: log.start,
            file: Arc::clone(&log.file),
            length: state.length,
            last_received_ms: state.span.last_received_ms,
            is_in_block,
        }
    }

    /// A log of before; `None` if its header is unreadable.
    pub(crate) fn open(disk: &dyn Disk, id: u64) -> io::Result<Option<Self>> {
        let name = log::name(id);
        let file = disk.open(&name)?;
        let Some(LogHead { salt, start, .. }) = log::read_head(&*file, id)? else {
            return Ok(None);
        };
        let (seed, length) = (record::seed(salt), file.length()?);
        let mut held = Self {
            id,
            name,
            seed,
            start,
            length,
            last_received_ms: i64::MAX,
            is_in_block: true,
            file,
        };
        // The first record's arrival stands for all: they are half an hour.
        let mut scanner = Scanner::new(&*held.file, seed, start, length);
        while let Some(step) = scanner.step()? {
            if let Step::Record { record, .. } = step {
                held.last_received_ms = record.received_ms;
                break;
            }
        }
        Ok(Some(held))
    }

    /// Frames from `offset` on.
    pub(crate) fn frames_behind(&self, offset: u64) -> io::Result<u64> {
        let mut scanner = Scanner::new(&*self.file, self.seed, self.start, self.length);
        let mut frames = 0;
        while let Some(step) = scanner.step()? {
            if let Step::Record {
                offset: at, record, ..
            } = step
            {
                frames += u64::from(at >= offset && record.content != Content::State);
            }
        }
        Ok(frames)
    }
}

/// Bytes of all held logs.
pub(crate) fn bytes(files: &Catalog) -> u64 {
    files.held.values().map(|held| held.length).sum()
}

/// Removes held logs that were followed, and those that nobody will follow any more: too old, or
/// more than half of the space that samples may take.
pub(crate) fn release(engine: &Engine, newest_ms: i64) -> Result<(), SeriesError> {
    let files = engine.files();
    let Some(hold) = engine.options.hold else {
        return Ok(());
    };
    let released = *engine
        .released
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let place = released.map(|released| released.now).unwrap_or_default();
    let hold_ms = i64::try_from(hold.as_millis()).unwrap_or(i64::MAX / 4);
    let most = engine.options.max_bytes.map_or(u64::MAX, |most| most / 2);
    let mut left = bytes(&files);
    for held in files.held.values() {
        let is_followed = held.id < place.log;
        let is_old = held.last_received_ms < newest_ms.saturating_sub(hold_ms);
        if !is_followed && !is_old && left <= most {
            continue;
        }
        if !is_followed {
            let from = if held.id == place.log {
                place.offset
            } else {
                0
            };
            let frames = held.frames_behind(from).unwrap_or_default();
            count(&engine.counters.unfollowed, frames);
            let total = engine.counters.unfollowed.load(Ordering::Relaxed);
            let reason = if is_old { "age" } else { "size" };
            tracing::error!(file = %held.name, frames, total, reason,
                "a log is removed before it was sent on; what was not sent stays in this store only");
        }
        left = left.saturating_sub(held.length);
        engine.change_files(|files| files.held.remove(&held.id));
        remove(engine, held)?;
    }
    Ok(())
}

/// Removes a log that a block has. One in which damage was met is read once more: it is set aside if that
/// is there yet, or if the block lacks something; what a disk refused for a moment is no damage.
pub(crate) fn remove(engine: &Engine, held: &Held) -> Result<(), SeriesError> {
    let is_whole = held.is_in_block
        && (!engine.damage.has(&held.name)
            || scan::is_whole(&*held.file, held.seed, held.start..held.length)
                .map_err(engine.error("read", &held.name))?);
    damage::remove_if_whole(engine, &held.name, is_whole)
}
