//! The whole of the security watch: polls the watchers, bounds them, keeps their positions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xiezhi_protocol::event::{Event, Severity, kinds};

use super::limiter::Limiter;
use super::privileged::Privileged;
use super::state::{Loaded, Saved, StateFiles};
use super::watcher::{Asks, Context, Now, Watcher};
use super::zone::Zone;

/// What can be chosen; [`Default`] is what ships.
#[derive(Debug, Clone)]
pub struct SecurityOptions {
    /// Files whose change is `agent_tampered`: the agent's binary, configuration, keys, unit file.
    pub guarded: Vec<PathBuf>,
    /// The last sequence number of the security stream that a batch in the spool certainly had;
    /// `None` if the caller does not use [`SecurityWatch::stage`].
    pub spooled: Option<u64>,
    /// How often setuid files are searched for.
    pub setuid_every: Duration,
    /// Most events of one kind from one source per minute.
    pub per_minute: u32,
    /// Take logins and sudo from the audit log too: only for a host without a log of logins.
    pub logins_from_audit: bool,
}

impl Default for SecurityOptions {
    fn default() -> Self {
        Self {
            guarded: Vec::new(),
            spooled: None,
            setuid_every: Duration::from_secs(24 * 3600),
            per_minute: super::limiter::PER_MINUTE,
            logins_from_audit: false,
        }
    }
}

/// Why the watch cannot keep its state.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The state file cannot be written.
    #[error("cannot write {path}: check the folder's owner and free space")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state file cannot be read.
    #[error("cannot read {path}: check its owner")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How a source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// Its name, as in the field `source` of events.
    pub name: &'static str,
    /// What is lost and why, if anything.
    pub loss: Option<String>,
}

/// Watches every source of security events of one host.
///
/// ```text
/// let events = watch.poll(now_ms);
/// if !events.is_empty() {
///     let batches = split(&events);
///     // Durable: "if all of these exist, go on here; if some, hand out the rest again".
///     watch.stage(spool.next_seq(Stream::Security), &batches)?;
///     for batch in batches {
///         spool.append(...)?;
///     }
/// }
/// watch.commit()?;
/// ```
pub struct SecurityWatch {
    root: PathBuf,
    state_dir: PathBuf,
    entries: Vec<Entry>,
    asks: Asks,
    limiter: Limiter,
    zone: Zone,
    zone_read_boot_ms: Option<i64>,
    files: StateFiles,
    /// Events that opening found necessary to report.
    opening: Vec<Opening>,
    /// Events that a crash kept from being spooled.
    unfinished: Vec<Event>,
    now: Now,
    must_write: bool,
    written_boot_ms: Option<i64>,
}

struct Entry {
    watcher: Box<dyn Watcher>,
    polled_boot_ms: Option<i64>,
}

/// A saved position that was lost.
struct Opening {
    source: String,
    from_ms: Option<i64>,
}

/// How often positions that moved without an event are written: what is read again after a crash
/// is at most the uneventful lines of this long.
const IDLE_WRITE_MS: i64 = 60_000;

/// How often the time zone is read again.
const ZONE_MS: i64 = 3_600_000;

impl SecurityWatch {
    /// Opens the watch with the positions that `state_dir` holds; without them, the next poll
    /// records a silent baseline.
    ///
    /// # Errors
    /// If the folder cannot be made, or the state file exists and cannot be read. A damaged one is not an error: it becomes a
    /// `source_gap` event and a new baseline.
    pub fn open(
        root: &Path,
        state_dir: &Path,
        options: SecurityOptions,
        privileged: Box<dyn Privileged>,
    ) -> Result<Self, SecurityError> {
        std::fs::create_dir_all(state_dir).map_err(|source| SecurityError::Write {
            path: state_dir.to_owned(),
            source,
        })?;
        let (files, loaded) = StateFiles::open(state_dir, options.spooled)?;
        let mut watch = Self {
            root: root.to_owned(),
            state_dir: state_dir.to_owned(),
            entries: Vec::new(),
            asks: Asks::new(privileged),
            limiter: Limiter::new(options.per_minute),
            zone: Zone::utc(),
            zone_read_boot_ms: None,
            files,
            opening: Vec::new(),
            unfinished: Vec::new(),
            now: Now {
                wall_ms: 0,
                boot_ms: 0,
            },
            must_write: true,
            written_boot_ms: None,
        };
        let mut watchers = super::watchers(&options);
        match loaded {
            Loaded::Fresh => {}
            Loaded::Damaged => watch.opening.push(Opening {
                source: "all sources".into(),
                from_ms: None,
            }),
            Loaded::Found(saved) => watch.restore(*saved, &mut watchers, options.per_minute),
            Loaded::Unfinished(saved, events) => {
                watch.unfinished = events;
                watch.restore(*saved, &mut watchers, options.per_minute);
            }
        }
        watch.entries = watchers
            .into_iter()
            .map(|watcher| Entry {
                watcher,
                polled_boot_ms: None,
            })
            .collect();
        Ok(watch)
    }

    fn restore(&mut self, mut saved: Saved, watchers: &mut [Box<dyn Watcher>], per_minute: u32) {
        self.limiter = saved.limiter.with_bound(per_minute);
        for watcher in watchers {
            let Some(value) = saved.watchers.remove(watcher.name()) else {
                continue;
            };
            if !watcher.load(value) {
                let source = watcher.name().to_owned();
                self.opening.push(Opening {
                    source,
                    from_ms: Some(saved.time_ms),
                });
            }
        }
    }

    /// Events since the last poll. Call it every two seconds or so; watchers with a slower
    /// cadence keep it themselves.
    pub fn poll(&mut self, now_ms: i64) -> Vec<Event> {
        self.poll_at(Now {
            wall_ms: now_ms,
            boot_ms: boot_ms(),
        })
    }

    pub(crate) fn poll_at(&mut self, now: Now) -> Vec<Event> {
        self.now = now;
        let is_zone_old = self
            .zone_read_boot_ms
            .is_none_or(|read| now.boot_ms - read >= ZONE_MS);
        if is_zone_old {
            self.zone = Zone::load(&self.root);
            self.zone_read_boot_ms = Some(now.boot_ms);
        }
        let mut events = std::mem::take(&mut self.unfinished);
        events.extend(self.limiter.flush(now.wall_ms));
        events.extend(self.opening.drain(..).map(|lost| lost.event(now.wall_ms)));
        self.asks.refresh();
        for entry in &mut self.entries {
            if !entry.is_due(now.boot_ms) {
                continue;
            }
            let mut context = Context {
                root: &self.root,
                state_dir: &self.state_dir,
                now,
                zone: &self.zone,
                source: entry.watcher.name(),
                asks: &mut self.asks,
                limiter: &mut self.limiter,
                events: &mut events,
                urgent: &mut self.must_write,
            };
            entry.watcher.poll(&mut context);
        }
        self.must_write |= !events.is_empty();
        events
    }

    /// Makes the new positions durable *on condition* that all of `batches`, which are numbered from
    /// `first` in the security stream, exist, and the polled events with them: call it before they
    /// are appended to the spool. After a crash in between, [`SecurityOptions::spooled`] decides:
    /// the next poll begins with the events of those batches that do not exist, so events are neither
    /// lost nor doubled, however many batches a poll makes.
    ///
    /// # Errors
    /// If the state file cannot be written; the events should be spooled all the same.
    pub fn stage(&mut self, first: u64, batches: &[&[Event]]) -> Result<(), SecurityError> {
        let saved = self.saved();
        self.files.stage(saved, first, batches)
    }

    /// Confirms that the polled events are in the spool (or that there were none). Without
    /// [`SecurityWatch::stage`] it writes the new positions itself; idle positions are written
    /// once a minute.
    ///
    /// # Errors
    /// If the state file cannot be written; the next commit tries again.
    pub fn commit(&mut self) -> Result<(), SecurityError> {
        let is_idle_due = self
            .written_boot_ms
            .is_none_or(|at| self.now.boot_ms - at >= IDLE_WRITE_MS);
        if !self.files.confirm()? {
            if !self.must_write && !is_idle_due {
                return Ok(());
            }
            let saved = self.saved();
            self.files.write_certain(&saved)?;
        }
        self.must_write = false;
        self.written_boot_ms = Some(self.now.boot_ms);
        Ok(())
    }

    /// The agent is about to change a guarded file itself (a renewed key): do not report it.
    pub fn expect_change(&mut self, path: &Path) {
        for entry in &mut self.entries {
            entry.watcher.expect_change(path);
        }
    }

    /// Every source and what it loses.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceState> {
        let state = |entry: &Entry| SourceState {
            name: entry.watcher.name(),
            loss: entry.watcher.loss(),
        };
        self.entries.iter().map(state).collect()
    }

    fn saved(&self) -> Saved {
        let watchers: BTreeMap<_, _> = self
            .entries
            .iter()
            .map(|entry| (entry.watcher.name().to_owned(), entry.watcher.save()))
            .collect();
        Saved::new(self.now.wall_ms, self.limiter.clone(), watchers)
    }
}

impl Entry {
    fn is_due(&mut self, boot_ms: i64) -> bool {
        let every = i64::try_from(self.watcher.every().as_millis()).unwrap_or(i64::MAX);
        let is_due = self.polled_boot_ms.is_none_or(|at| boot_ms - at >= every);
        if is_due {
            self.polled_boot_ms = Some(boot_ms);
        }
        is_due
    }
}

impl Opening {
    fn event(self, now_ms: i64) -> Event {
        let message = format!("{}: saved position was damaged, starting anew", self.source);
        let event = Event::new(now_ms, kinds::SOURCE_GAP, Severity::Warning, message)
            .with("source", self.source)
            .with("reason", "saved position was damaged")
            .with("to_ms", now_ms.to_string());
        match self.from_ms {
            Some(from_ms) => event.with("from_ms", from_ms.to_string()),
            None => event,
        }
    }
}

/// Milliseconds since boot, counting sleep.
fn boot_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
