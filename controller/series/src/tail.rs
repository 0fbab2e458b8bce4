//! Following the log: every committed frame in order of arrival, decoded, from a place that outlives
//! restarts.
//!
//! Who sends samples on to another store reads here. A log can be decoded alone, so a follower needs
//! no more than its place: it reads that log from its beginning, silently up to the place, and goes on
//! from there. Only what is durable is seen. Logs that became blocks stay readable while
//! [`crate::SeriesOptions::hold`] is set (see `held`).
//!
//! It never writes, and never keeps a lock while it reads a file.

mod chains;

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use xiezhi_protocol::codec::SeriesName;

use self::chains::Chains;
use crate::disk::DiskFile;
use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::held::Held;
use crate::log::Log;
use crate::record::Content;
use crate::scan::{Scanner, Step};
use crate::store::SeriesStore;

/// A place in the logs: everything before it was read. The default is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Number of the log; 0 is before the first.
    pub log: u64,
    /// Byte in the log.
    pub offset: u64,
    /// What tells this log from another of the same number, as a restored copy may have.
    pub mark: u32,
}

/// What whoever follows the log said that it no longer needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Released {
    /// When it began.
    pub(crate) first: Place,
    /// By now.
    pub(crate) now: Place,
}

/// Samples of one time: a frame's, or a part of what a foreign source sent.
#[derive(Debug, Clone, PartialEq)]
pub struct TailReport {
    /// The host that reported, or the source.
    pub host: HostKey,
    /// Its time, Unix milliseconds.
    pub time_ms: i64,
    /// When it was stored, Unix milliseconds.
    pub received_ms: i64,
    /// Series as the agent wrote them, and values; Prometheus's stale marker where one ended.
    pub samples: Vec<(Arc<str>, f64)>,
    /// The place behind it.
    pub end: Place,
}

/// What could not be given since the follower was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// Frames whose chain has no beginning, or that the codec refused.
    pub undecodable: u64,
    /// Damaged places.
    pub damaged: u64,
    /// Times that logs were gone before they were read.
    pub gaps: u64,
}

/// Follows the log of a store, whose folder stays open meanwhile.
#[derive(Debug)]
pub struct Tail {
    store: SeriesStore,
    place: Place,
    source: Option<Source>,
    /// How far `source` was decoded; below `place` nothing is given out.
    decoded: u64,
    chains: Chains,
    missed: Missed,
}

/// A log that is being read.
#[derive(Debug, Clone)]
enum Source {
    Log(Arc<Log>),
    Held(Arc<Held>),
}

impl Source {
    fn find(files: &Catalog, id: u64) -> Option<Self> {
        let log = files.logs.get(&id).map(|log| Self::Log(Arc::clone(log)));
        log.or_else(|| files.held.get(&id).map(|held| Self::Held(Arc::clone(held))))
    }

    /// The first log behind `id`.
    fn after(files: &Catalog, id: u64) -> Option<Self> {
        let behind = (Excluded(id), Unbounded);
        let log = files.logs.range(behind).next().map(|(&id, _)| id);
        let held = files.held.range(behind).next().map(|(&id, _)| id);
        Self::find(files, log.into_iter().chain(held).min()?)
    }

    fn id(&self) -> u64 {
        match self {
            Self::Log(log) => log.id,
            Self::Held(held) => held.id,
        }
    }

    fn seed(&self) -> u32 {
        match self {
            Self::Log(log) => log.seed,
            Self::Held(held) => held.seed,
        }
    }

    fn file(&self) -> &dyn DiskFile {
        match self {
            Self::Log(log) => &*log.file,
            Self::Held(held) => &*held.file,
        }
    }

    /// Where its records begin.
    fn start(&self) -> u64 {
        match self {
            Self::Log(log) => log.start,
            Self::Held(held) => held.start,
        }
    }

    /// Bytes that are durable.
    fn length(&self) -> u64 {
        match self {
            Self::Log(log) => log.state().length,
            Self::Held(held) => held.length,
        }
    }
}

impl SeriesStore {
    /// A follower that begins at `place`, or at the oldest log if that place is not known (any
    /// more); [`Missed::gaps`] tells the latter.
    #[must_use]
    pub fn tail(&self, place: Place) -> Tail {
        Tail {
            store: self.clone(),
            place,
            source: None,
            decoded: 0,
            chains: Chains::default(),
            missed: Missed::default(),
        }
    }

    /// Everything before `place` is no longer needed by whoever follows the log: its logs may go.
    /// Nothing is released until this was called once.
    pub fn release(&self, place: Place) {
        let released = self.engine().released.lock();
        let mut released = released.unwrap_or_else(PoisonError::into_inner);
        let first = released.map_or(place, |before| before.first);
        *released = Some(Released { first, now: place });
    }

    /// Bytes of logs that are kept for a follower, and frames that went before they were followed.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let engine = self.engine();
        let bytes = crate::held::bytes(&engine.files());
        (bytes, engine.counters.unfollowed.load(Ordering::Relaxed))
    }
}

impl Tail {
    /// The place behind what was read.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What could not be given.
    #[must_use]
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Appends reports to `out` until they hold `most` samples or more, or the end is reached.
    /// Returns whether there may be more at once.
    ///
    /// # Errors
    /// I/O. What is in `out` is valid, and the next call goes on behind it.
    pub fn read(&mut self, most: usize, out: &mut Vec<TailReport>) -> Result<bool, SeriesError> {
        let mut left = most;
        loop {
            let store = self.store.clone();
            let engine = store.engine();
            let Some(source) = self.source_now(engine) else {
                return Ok(false);
            };
            // Asked before its length: then nothing can be added behind that length.
            let is_final = engine.files().active != Some(source.id());
            let end = source.length();
            self.scan(engine, &source, end, &mut left, out)?;
            if left == 0 {
                return Ok(true);
            }
            if !is_final || !self.go_on_behind(engine, &source) {
                return Ok(false);
            }
        }
    }

    /// The log that is read now; `None` if there is none.
    fn source_now(&mut self, engine: &Engine) -> Option<Source> {
        if let Some(source) = &self.source {
            return Some(source.clone());
        }
        let files = engine.files();
        let known =
            Source::find(&files, self.place.log).filter(|source| source.seed() == self.place.mark);
        let source = match known {
            Some(source) => source,
            None => {
                // Behind the last log: an older copy was restored, and all of it is new.
                let behind = Source::after(&files, self.place.log);
                let source = behind.or_else(|| Source::after(&files, 0))?;
                if self.place != Place::default() && source.id() != self.place.log + 1 {
                    self.missed.gaps += 1;
                }
                source
            }
        };
        self.begin(&source);
        Some(source)
    }

    fn begin(&mut self, source: &Source) {
        if self.place.log != source.id() || self.place.mark != source.seed() {
            self.place = Place {
                log: source.id(),
                offset: source.start(),
                mark: source.seed(),
            };
        }
        self.decoded = source.start();
        self.chains = Chains::default();
        self.source = Some(source.clone());
    }

    /// Turns to the log behind a finished one. False: there is none yet.
    fn go_on_behind(&mut self, engine: &Engine, source: &Source) -> bool {
        let Some(next) = Source::after(&engine.files(), source.id()) else {
            return false;
        };
        self.begin(&next);
        true
    }

    fn scan(
        &mut self,
        engine: &Engine,
        source: &Source,
        end: u64,
        left: &mut usize,
        out: &mut Vec<TailReport>,
    ) -> Result<(), SeriesError> {
        let log = source.id();
        let mut scanner = Scanner::new(source.file(), source.seed(), self.decoded, end);
        let mut intern = |text: &str| {
            let shared = engine.heads.texts.shared(text);
            shared.unwrap_or_else(|| SeriesName::new(text))
        };
        while *left > 0 {
            let step = scanner.step();
            let step = step.map_err(|error| engine.error("read", &crate::log::name(log))(error))?;
            let Some(step) = step else { return Ok(()) };
            let (at, found) = match step {
                Step::Damaged { offset, length } => {
                    self.missed.damaged += u64::from(offset >= self.place.offset);
                    (offset + length, None)
                }
                Step::Record {
                    offset,
                    length,
                    record,
                } => {
                    let groups = self.chains.take(&record, &mut intern);
                    let is_new = offset >= self.place.offset && record.content != Content::State;
                    self.missed.undecodable += u64::from(is_new && groups.is_none());
                    let found = groups.map(|groups| (record.host, record.received_ms, groups));
                    (offset + u64::from(length), found.filter(|_| is_new))
                }
            };
            self.decoded = at;
            self.place.offset = self.place.offset.max(at);
            // All of a record have its end: they go on together.
            for (host, received_ms, (time_ms, samples)) in found
                .into_iter()
                .flat_map(|(host, received_ms, groups)| {
                    groups
                        .into_iter()
                        .map(move |group| (host, received_ms, group))
                })
                .filter(|(_, _, group)| !group.1.is_empty())
            {
                *left = left.saturating_sub(samples.len());
                out.push(TailReport {
                    host,
                    time_ms,
                    received_ms,
                    samples,
                    end: self.place,
                });
            }
        }
        Ok(())
    }
}
