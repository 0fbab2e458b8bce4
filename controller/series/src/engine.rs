//! The store's inside: who holds which state under which lock.
//!
//! - `writer` (a mutex) is held during one append, its fdatasync included.
//! - `catalog` (a read-write lock) lists the files; it is held for moments only and never while
//!   reading or writing a file. Readers take the list and go on without it.
//! - `foreign` (a mutex) is held while samples of a source are judged and written, so that none comes
//!   between the two.
//! - `maintenance` (a mutex) is held while blocks are made or removed.
//! - each host's head has a lock of its own, held for a frame or a look.
//!
//! Order: maintenance or foreign, then writer, then a head, then catalog. Who reads takes what the heads hold
//! first and the list of files after it: what moves from one to the other meanwhile is seen twice,
//! which does no harm, and never not at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::block::Block;
use crate::damage::Places;
use crate::disk::Disk;
use crate::error::SeriesError;
use crate::frame::{HostKey, SealingTrouble};
use crate::head::Heads;
use crate::held::Held;
use crate::lacking::Reach;
use crate::log::Log;
use crate::options::SeriesOptions;
use crate::refused::{Refusals, Watch};
use crate::segment::Segment;
use crate::stepless::Stepless;
use crate::tail::Released;
use crate::unread::Unread;
use crate::writer::Writer;

/// All state of an open store.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: SeriesOptions,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) heads: Heads,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) maintenance: Mutex<()>,
    pub(crate) counters: Counters,
    /// Damaged places met since opening.
    pub(crate) damage: Arc<Places>,
    /// Sectors that the disk refuses to read.
    pub(crate) refusals: Arc<Refusals>,
    /// Samples whose steps found no room.
    pub(crate) stepless: Stepless,
    /// What whoever follows the log no longer needs; `None` until it said so.
    pub(crate) released: Mutex<Option<Released>>,
    pub(crate) bell: Bell,
    /// Held while samples of a source are judged and written.
    pub(crate) foreign: Mutex<()>,
}

/// The files of the store, by id: lower ids hold what arrived earlier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// Blocks of samples as reported, by their first log.
    pub(crate) blocks: BTreeMap<u64, Arc<Block>>,
    /// Rollups, by resolution and first log.
    pub(crate) rollups: BTreeMap<(u64, u64), Arc<Block>>,
    /// Segments of the first format; they are read until retention removes them.
    pub(crate) sealed: BTreeMap<u64, Arc<Segment>>,
    /// The active log and those that wait to become blocks.
    pub(crate) logs: BTreeMap<u64, Arc<Log>>,
    /// Logs that are in a block and are still to be followed.
    pub(crate) held: BTreeMap<u64, Arc<Held>>,
    pub(crate) active: Option<u64>,
    /// The newest log that was there when the store was opened: those before it may hold what it has too.
    pub(crate) opened_through: u64,
    /// Files that were set aside and have samples that no other file has, and where these lie in time.
    pub(crate) aside: BTreeMap<String, Reach>,
    /// Whether the folder could not be listed when that was looked for.
    pub(crate) is_unlisted: bool,
    /// Files that the disk refused when the store was opened, and refuses yet, by name. Logs and blocks of
    /// which a part could be read are in the lists above as well.
    pub(crate) unread: BTreeMap<String, Unread>,
}

impl Catalog {
    /// Whether one block holds all of these logs.
    pub(crate) fn covers(&self, first: u64, last: u64) -> bool {
        let before = self.blocks.range(..=first).next_back();
        before.is_some_and(|(_, block)| block.last() >= last)
    }

    /// Until when samples may have arrived that are gone and of which only steps are left: what comes
    /// again from before that time cannot be told from it, and would count twice. No time without.
    pub(crate) fn floor_ms(&self) -> i64 {
        let is_gone = |rollup: &&Arc<Block>| {
            let mut blocks = self.blocks.range(rollup.first()..=rollup.last());
            blocks.next().is_none() && !self.covers(rollup.first(), rollup.last())
        };
        let gone = self.rollups.values().filter(is_gone);
        gone.map(|rollup| rollup.span().last_received_ms)
            .max()
            .unwrap_or(i64::MIN)
    }
}

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended: AtomicU64,
    pub(crate) replays: AtomicU64,
    pub(crate) foreign_stored: AtomicU64,
    pub(crate) foreign_repeated: AtomicU64,
    pub(crate) foreign_contradicted: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) torn_tails: AtomicU64,
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) undecodable: AtomicU64,
    pub(crate) removed_segments: AtomicU64,
    pub(crate) failed_seals: AtomicU64,
    /// Frames of logs that went before they were followed.
    pub(crate) unfollowed: AtomicU64,
    pub(crate) full: AtomicBool,
    /// Why the last pass of the background thread failed; `None` if it did not.
    pub(crate) sealing: Mutex<Option<SealingTrouble>>,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Engine {
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files as they are now.
    pub(crate) fn files(&self) -> Catalog {
        self.catalog
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the list of files.
    pub(crate) fn change_files<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> T {
        change(&mut self.catalog.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to look at what a pass reads of these files.
    ///
    /// # Errors
    /// The disk refused one of them not long ago.
    pub(crate) fn watch<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Watch, SeriesError> {
        self.refusals.watch(&*self.disk, names)
    }

    /// A pass has read all that it wanted.
    ///
    /// # Errors
    /// Some of it was refused, and that is not believed yet.
    pub(crate) fn end_watch(&self, watch: Watch) -> Result<(), SeriesError> {
        watch.end(&self.refusals, &*self.disk)
    }

    /// An error about a file.
    pub(crate) fn error(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(std::io::Error) -> SeriesError {
        let path = self.disk.path(name);
        move |source| SeriesError::io(action, path, source)
    }

    /// Hosts that are remembered, ascending.
    pub(crate) fn hosts(&self) -> Vec<HostKey> {
        let mut hosts: Vec<_> = self.writer().lanes.keys().map(|&(host, _)| host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

/// Wakes the sealing thread, and stops it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    work: bool,
    stop: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to seal.
    pub(crate) fn ring(&self) {
        self.state().work = true;
        self.changed.notify_all();
    }

    /// The store is closing.
    pub(crate) fn stop(&self) {
        self.state().stop = true;
        self.changed.notify_all();
    }

    /// Waits for work, at most `limit`. False: stop.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let waiting = |state: &mut BellState| !state.work && !state.stop;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        state.work = false;
        !state.stop
    }

    /// Rests for `duration` unless the store is closing.
    ///
    /// # Errors
    /// [`SeriesError::Closing`].
    pub(crate) fn rest(&self, duration: Duration) -> Result<(), SeriesError> {
        let end = Instant::now() + duration;
        let mut state = self.state();
        loop {
            if state.stop {
                return Err(SeriesError::Closing);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
