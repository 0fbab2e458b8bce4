//! The store's front: what callers see.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::{Disk, Folder};
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::foreign::{ForeignReport, ForeignSeries, ForeignSource};
use crate::frame::{
    Appended, BackupReport, DamageMet, Frame, HostKey, Latest, RangeAnswer, SealingTrouble,
    SeriesPoints, SeriesStats, StoredFrame, VerifyReport, WithoutSteps,
};
use crate::head::left_out::LeftOut;
use crate::lock::Lock;
use crate::log::Span;
use crate::options::{Sealing, SeriesOptions};
use crate::reading::{Found, ReadError, Wanted};
use crate::{
    arrivals, backup, foreign, lacking, maintain, open, query, reading, stray, unread, verify,
};

/// The samples of all hosts. Cheap to clone; calls block, so async callers use a thread.
#[derive(Debug, Clone)]
pub struct SeriesStore {
    handle: Arc<Handle>,
}

/// Stops the sealing thread with the last clone of the store.
#[derive(Debug)]
struct Handle {
    engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
    _lock: Option<Lock>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.bell.stop();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the sealing thread ended by a panic");
        }
    }
}

/// Makes the name of a new folder durable: without it a power loss takes all that is in it.
pub(crate) fn sync_parent(dir: &Path) -> std::io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Samples are for the store's user alone: what runs on which host is nobody else's business. A folder
/// that was restored by hand is often open to all.
fn close_to_others(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let closed = std::fs::metadata(dir).and_then(|about| {
        if about.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
    });
    if let Err(error) = closed {
        tracing::warn!(folder = %dir.display(), %error, "the samples stay readable for others");
    }
}

impl SeriesStore {
    /// Opens or creates the store in `dir`, recovering from whatever stopped it before.
    ///
    /// # Errors
    /// [`SeriesError::Locked`] if another process has it open; otherwise I/O.
    pub fn open(dir: &Path, options: SeriesOptions) -> Result<Self, SeriesError> {
        let io = |action| move |source| SeriesError::io(action, dir.to_path_buf(), source);
        if !dir.exists() {
            std::fs::create_dir_all(dir).map_err(io("create"))?;
            sync_parent(dir).map_err(io("sync the folder above"))?;
        }
        close_to_others(dir);
        let lock = Lock::take(dir)?;
        let folder = Folder::open(dir).map_err(io("open"))?;
        Self::start(Arc::new(folder), options, Some(lock))
    }

    /// Opens the store on a disk of the caller's: the seam where tests take the power away. There
    /// is no lock.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: SeriesOptions) -> Result<Self, SeriesError> {
        Self::start(disk, options, None)
    }

    fn start(
        disk: Arc<dyn Disk>,
        options: SeriesOptions,
        lock: Option<Lock>,
    ) -> Result<Self, SeriesError> {
        let sealing = options.sealing;
        let engine = Arc::new(open::open(disk, options)?);
        let thread = match sealing {
            Sealing::Manual => None,
            Sealing::Background => Some(spawn(&engine)?),
        };
        Ok(Self {
            handle: Arc::new(Handle {
                engine,
                thread,
                _lock: lock,
            }),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// Stores frames: one write and one fdatasync for all of them, order kept. What is returned is
    /// durable. Frames that repeat each other within the call are judged like any other.
    ///
    /// # Errors
    /// On any error nothing of the call is acknowledged; appending again later is safe.
    /// [`SeriesError::Full`] passes by itself when there is space.
    pub fn append(&self, frames: &[Frame<'_>]) -> Result<Vec<Appended>, SeriesError> {
        self.engine().writer().append(self.engine(), frames)
    }

    /// Stores samples of a source that is no host: one write and one fdatasync for all that is new.
    /// `source` is below zero. What the report does not name as refused or contradicted is durable.
    /// The caller bounds how old and how far ahead samples may be.
    ///
    /// # Errors
    /// On any error nothing of the call is acknowledged; sending it again later is safe.
    /// [`SeriesError::Full`] passes by itself when there is space.
    pub fn append_foreign(
        &self,
        source: HostKey,
        series: &[ForeignSeries<'_>],
    ) -> Result<ForeignReport, SeriesError> {
        let reports = self.append_sources(&[ForeignSource { source, series }])?;
        Ok(reports.into_iter().next().unwrap_or_default())
    }

    /// As [`SeriesStore::append_foreign`], for several sources with one write and one fdatasync for all
    /// of them: devices of the network are many, and each tells little. A source comes once. The reports
    /// are in the order of the sources.
    ///
    /// # Errors
    /// As there; nothing of the call is acknowledged.
    pub fn append_sources(
        &self,
        sources: &[ForeignSource<'_>],
    ) -> Result<Vec<ForeignReport>, SeriesError> {
        foreign::append(self.engine(), sources)
    }

    /// How long samples are kept as they were reported.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.engine().options.retention
    }

    /// Points of a host's wanted series with `from_ms <= time <= to_ms`: ascending, one per
    /// timestamp (the first stored wins), series by name.
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
        host: HostKey,
        from_ms: i64,
        to_ms: i64,
        want: &dyn Fn(&str) -> bool,
    ) -> Result<RangeAnswer, SeriesError> {
        query::range(self.engine(), host, from_ms, to_ms, want)
    }

    /// Points of many series and hosts.
    pub(crate) fn read(&self, wanted: &Wanted<'_>) -> Result<Found, ReadError> {
        reading::read(self.engine(), wanted)
    }

    /// The host's last frame (highest epoch, then highest sequence number), decoded. `None` if
    /// there is none or it cannot be decoded.
    ///
    /// # Errors
    /// I/O.
    pub fn latest(&self, host: HostKey) -> Result<Option<Latest>, SeriesError> {
        query::latest(self.engine(), host)
    }

    /// Hosts that ever stored a frame and are still remembered, ascending.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostKey> {
        self.engine().hosts()
    }

    /// Every stored frame of a host, by epoch and sequence number. Reads all of them.
    ///
    /// # Errors
    /// [`SeriesError::TooMuch`] beyond the byte limit of a query; otherwise I/O.
    pub fn frames(&self, host: HostKey) -> Result<Vec<StoredFrame>, SeriesError> {
        query::frames(self.engine(), host)
    }

    /// Reads everything and lists what is damaged.
    ///
    /// # Errors
    /// I/O.
    pub fn verify(&self) -> Result<VerifyReport, SeriesError> {
        verify::verify(self.engine())
    }

    /// Copies the store into a new folder while it runs: every frame that is durable at the
    /// beginning is in it. Files that do not change are hard-linked where that is possible. Blocks
    /// are not cut, merged or removed until it is done; appends go on.
    ///
    /// # Errors
    /// The folder exists already, or I/O; what is left of a failed copy has no manifest.
    pub fn backup(&self, target: &Path) -> Result<BackupReport, SeriesError> {
        backup::backup(self.engine(), target)
    }

    /// Seals what is due and applies retention, now and in this thread.
    ///
    /// # Errors
    /// I/O; what was not done is done by the next call.
    pub fn maintain(&self) -> Result<(), SeriesError> {
        maintain::maintain(self.engine())
    }

    /// Until when samples may have arrived of which only steps are left, Unix milliseconds, or the
    /// beginning of time: what a source sends again from before it cannot be told from what was
    /// there, and must not be appended. Frames of hosts are known by their numbers all the same.
    #[must_use]
    pub fn kept_since_ms(&self) -> i64 {
        self.engine().files().floor_ms()
    }

    /// Why the last attempt to seal failed; `None` once one succeeded.
    #[must_use]
    pub fn sealing_trouble(&self) -> Option<SealingTrouble> {
        let kept = &self.engine().counters.sealing;
        kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went for its age without steps since the store was opened; `None` if nothing did.
    #[must_use]
    pub fn without_steps(&self) -> Option<WithoutSteps> {
        self.engine().stepless.lost()
    }

    /// Hosts of which series are left out because of a limit, ascending; the first hundred.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.engine().heads.left_out.list()
    }

    /// What is damaged, as far as this process has met it; [`SeriesStore::verify`] finds the rest.
    #[must_use]
    pub fn damage_met(&self) -> DamageMet {
        let engine = self.engine();
        // A person moves them away meanwhile.
        let aside = lacking::list_aside(engine);
        let files = engine.files();
        let is_refused = |name: &str| files.unread.contains_key(name);
        let (mut undecoded_frames, mut refused_frames) = (0, 0);
        let mut add = |is_refused: bool, frames: u64| {
            undecoded_frames += frames;
            refused_frames += if is_refused { frames } else { 0 };
        };
        for block in files.blocks.values().chain(files.rollups.values()) {
            add(is_refused(&block.name), block.undecoded().values().sum());
        }
        for ((log, _), frames) in engine.heads.undecoded() {
            let log = files.logs.get(&log);
            add(log.is_some_and(|log| is_refused(&log.name)), frames);
        }
        DamageMet {
            places: engine.damage.count(),
            refused_places: engine.damage.count_in(is_refused),
            undecoded_frames,
            refused_frames,
            set_aside: aside.unwrap_or_else(|_| files.aside.keys().cloned().collect()),
            is_unlisted: files.is_unlisted,
            strays: stray::list(&*engine.disk).unwrap_or_default(),
            refused: files.unread.into_keys().collect(),
        }
    }

    /// The newest arrival, Unix milliseconds, if it follows the one before by days: a clock jumped, or
    /// nothing arrived for so long. Nothing is removed for its age until a day of arrivals is there.
    #[must_use]
    pub fn doubted_arrival_ms(&self) -> Option<i64> {
        let engine = self.engine();
        arrivals::lateness(engine, &engine.files()).doubted_ms
    }

    /// The state of the store.
    #[must_use]
    pub fn stats(&self) -> SeriesStats {
        let met = self.damage_met();
        let engine = self.engine();
        let files = engine.files();
        let mut stats = SeriesStats {
            sealed_segments: (files.sealed.len() + files.blocks.len()) as u64,
            rollups: files.rollups.len() as u64,
            series: engine.heads.series(),
            refused_series: engine.heads.refused(),
            log_segments: files.logs.len() as u64,
            set_aside: met.set_aside.len() as u64,
            refused_files: met.refused.len() as u64,
            stray_files: met.strays.len() as u64,
            undecoded_frames: met.undecoded_frames,
            hosts: engine.hosts().len() as u64,
            held_logs: files.held.len() as u64,
            held_bytes: crate::held::bytes(&files),
            ..SeriesStats::default()
        };
        for segment in files.sealed.values() {
            stats.bytes += segment.bytes;
            stats.memory_bytes += segment.heap_bytes() as u64;
            add_extent(&mut stats, segment.frames, &segment.span);
        }
        for block in files.blocks.values().chain(files.rollups.values()) {
            stats.bytes += block.bytes;
            stats.memory_bytes += block.heap_bytes() as u64;
            stats.samples += block.samples();
            add_extent(&mut stats, block.frames(), block.span());
        }
        for log in files.logs.values() {
            let state = log.state();
            stats.bytes += state.length;
            stats.memory_bytes += state.heap_bytes() as u64;
            add_extent(&mut stats, state.frames, &state.span);
        }
        stats.bytes += stats.held_bytes + unread::bytes(&files);
        stats.memory_bytes += lanes_bytes(engine) + engine.heads.heap_bytes() as u64;
        add_counters(&mut stats, engine);
        stats
    }
}

fn spawn(engine: &Arc<Engine>) -> Result<JoinHandle<()>, SeriesError> {
    let engine = Arc::clone(engine);
    let path = engine.disk.path("");
    std::thread::Builder::new()
        .name("series-seal".to_owned())
        .spawn(move || maintain::run(&engine))
        .map_err(|source| SeriesError::io("start the sealing thread of", path, source))
}

fn add_extent(stats: &mut SeriesStats, frames: u64, span: &Span) {
    if span.oldest_ms > span.newest_ms {
        return;
    }
    stats.frames += frames;
    let oldest_ms = stats.oldest_ms.unwrap_or(i64::MAX).min(span.oldest_ms);
    let newest_ms = stats.newest_ms.unwrap_or(i64::MIN).max(span.newest_ms);
    (stats.oldest_ms, stats.newest_ms) = (Some(oldest_ms), Some(newest_ms));
}

fn lanes_bytes(engine: &Engine) -> u64 {
    let lanes = &engine.writer().lanes;
    let table = lanes.capacity() * (size_of::<((HostKey, u64), crate::lane::Lane)>() + 1) * 8 / 7;
    (table
        + lanes
            .values()
            .map(crate::lane::Lane::heap_bytes)
            .sum::<usize>()) as u64
}

fn add_counters(stats: &mut SeriesStats, engine: &Engine) {
    let counters = &engine.counters;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    stats.appended = load(&counters.appended);
    stats.replays = load(&counters.replays);
    stats.foreign_stored = load(&counters.foreign_stored);
    stats.foreign_repeated = load(&counters.foreign_repeated);
    stats.foreign_contradicted = load(&counters.foreign_contradicted);
    stats.conflicts = load(&counters.conflicts);
    stats.torn_tails = load(&counters.torn_tails);
    stats.torn_bytes = load(&counters.torn_bytes);
    stats.damaged = engine.damage.count();
    stats.undecodable = load(&counters.undecodable);
    stats.removed_segments = load(&counters.removed_segments);
    stats.expired_without_steps = engine.stepless.lost().map_or(0, |lost| lost.files);
    stats.failed_seals = load(&counters.failed_seals);
    stats.unfollowed = load(&counters.unfollowed);
    stats.full = counters.full.load(Ordering::Relaxed);
}
