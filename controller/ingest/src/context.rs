//! What every connection shares.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use xiezhi_identity::Authority;
use xiezhi_model::{Gap, HostId};
use xiezhi_series::SeriesStore;
use xiezhi_store::Store;

use crate::bandwidth::SiteBandwidth;
use crate::desk::Desk;
use crate::events::EventSink;
use crate::fleet::Fleet;
use crate::interner::Interner;
use crate::limits::{KeyedLimit, Source, TokenBucket};
use crate::metrics::Metrics;
use crate::options::IngestOptions;
use crate::polls::PollSink;
use crate::samples::SampleSink;
use crate::shared::SessionShared;

/// Source addresses and tokens that the limits remember.
const LIMITED_KEYS: usize = 10_000;

/// Audit entries for refused enrolments: a burst, then one each ten seconds. The rest are counted
/// only, so that a flood cannot fill the audit log.
const REFUSAL_AUDITS: (f64, f64) = (0.1, 20.0);

/// Shared by all tasks of the port.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) authority: Arc<Authority>,
    pub(crate) fleet: Fleet,
    pub(crate) options: IngestOptions,
    pub(crate) metrics: Metrics,
    pub(crate) interner: Interner,
    pub(crate) samples: SampleSink,
    pub(crate) events: EventSink,
    pub(crate) polls: PollSink,
    /// Asked how old samples may be.
    pub(crate) series: SeriesStore,
    pub(crate) desk: Desk,
    /// One permit per byte that may be queued.
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) limits: Limits,
    /// Sessions that proved to have stored their identifier; written down once a second.
    pub(crate) confirmed: Queue<(HostId, String)>,
    /// Gaps that agents reported; written down once a second, and until then nothing is acknowledged
    /// to the session that brought them: an acknowledgement makes the agent forget them.
    pub(crate) gaps: Queue<(Gap, Arc<SessionShared>)>,
    /// Number of the last revocation that was acted upon.
    pub(crate) revocation: AtomicI64,
    /// Budgets that sites give their hosts.
    pub(crate) bandwidth: SiteBandwidth,
    /// Open sessions, for an orderly stop.
    pub(crate) sessions: AtomicUsize,
}

impl Context {
    pub(crate) fn now_ms(&self) -> i64 {
        self.options.clock.now_ms()
    }

    pub(crate) fn now_s(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    pub(crate) fn last_revocation(&self) -> i64 {
        self.revocation.load(Ordering::Acquire)
    }
}

/// Limits of enrolment and renewal.
#[derive(Debug)]
pub(crate) struct Limits {
    started: Instant,
    state: Mutex<LimitState>,
}

#[derive(Debug)]
struct LimitState {
    addresses: KeyedLimit<Source>,
    tokens: KeyedLimit<String>,
    hosts: KeyedLimit<HostId>,
    audits: TokenBucket,
}

impl Limits {
    pub(crate) fn new(options: &IngestOptions) -> Self {
        let rate = options.enrolments_per_second;
        let (audits, burst) = REFUSAL_AUDITS;
        let state = LimitState {
            addresses: KeyedLimit::new(rate, rate * 10.0, LIMITED_KEYS),
            // A token for a whole court is used by many machines behind many addresses.
            tokens: KeyedLimit::new(rate * 4.0, rate * 40.0, LIMITED_KEYS),
            // A host renews every twenty days.
            hosts: KeyedLimit::new(1.0 / 60.0, 10.0, LIMITED_KEYS * 10),
            audits: TokenBucket::new(audits, burst, Duration::ZERO),
        };
        Self {
            started: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// Whether this address may ask now, or how long it must wait.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Duration> {
        self.state()
            .addresses
            .take(Source::from(address), self.started.elapsed())
    }

    /// The same for a token. Asked only once its secret was shown: whoever knows just its number
    /// must not use up its rate.
    pub(crate) fn token(&self, token: &str) -> Result<(), Duration> {
        self.state()
            .tokens
            .take(token.to_owned(), self.started.elapsed())
    }

    pub(crate) fn host(&self, host: HostId) -> Result<(), Duration> {
        self.state().hosts.take(host, self.started.elapsed())
    }

    /// Whether a refusal may be audited now.
    pub(crate) fn audit(&self) -> bool {
        self.state().audits.take(self.started.elapsed()).is_ok()
    }

    fn state(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bounded list that one side fills and the other empties now and then.
#[derive(Debug)]
pub(crate) struct Queue<T>(Mutex<Vec<T>>);

/// Entries kept while the store does not take them. What does not fit is told again by the agents: a
/// session whose gaps do not fit ends, and the next one brings them and is confirmed too.
const QUEUED: usize = 100_000;

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Adds an entry; `false` if there is no room for it.
    pub(crate) fn push(&self, entry: T) -> bool {
        let mut entries = self.entries();
        let room = entries.len() < QUEUED;
        if room {
            entries.push(entry);
        }
        room
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.entries())
    }

    /// Puts back what could not be written, whatever came meanwhile.
    pub(crate) fn put_back(&self, mut taken: Vec<T>) {
        let mut entries = self.entries();
        taken.append(&mut entries);
        *entries = taken;
    }

    fn entries(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
