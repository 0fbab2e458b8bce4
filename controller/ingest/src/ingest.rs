//! Starts and stops the agent port.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::Registry;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};
use xiezhi_identity::{Authority, IdentityError};
use xiezhi_series::SeriesStore;
use xiezhi_store::{Store, StoreError};

use crate::bandwidth::{self, SiteBandwidth};
use crate::context::{Context, Limits, Queue};
use crate::desk::Desk;
use crate::events::EventCommitter;
use crate::fleet::Fleet;
use crate::health::{IngestHealth, SharedHealth};
use crate::holes;
use crate::interner::Interner;
use crate::listener;
use crate::mail::CloseReason;
use crate::metrics::Metrics;
use crate::options::IngestOptions;
use crate::polls::PollCommitter;
use crate::samples::SampleCommitter;
use crate::upkeep;

/// Smallest byte budget: the longest record with room to spare.
const LEAST_BUDGET: usize = 8 << 20;

/// Polls are gathered for so many commits of samples: a second, since nobody waits for one.
const POLL_INTERVALS: u32 = 5;

/// Sessions are given this long to end at a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the agent port is made of.
#[derive(Debug)]
pub struct IngestParts {
    /// Where agents connect.
    pub listener: TcpListener,
    /// State: hosts, certificates, events.
    pub store: Store,
    /// Samples.
    pub series: SeriesStore,
    /// Issues certificates.
    pub authority: Arc<Authority>,
    /// TLS of the port; `None` takes the authority's. Tests bring one with another clock.
    pub tls: Option<Arc<ServerConfig>>,
    /// Bounds.
    pub options: IngestOptions,
}

/// Why the agent port did not start.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The store cannot be read.
    #[error("cannot read the hosts")]
    Store(#[from] StoreError),
    /// The authority gives no TLS configuration.
    #[error("cannot set up TLS for agents")]
    Tls(#[from] IdentityError),
    /// The operating system gives no thread.
    #[error("cannot start the thread that commits samples")]
    Thread(#[source] io::Error),
    /// Another agent port counts in the same registry.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// The running agent port. It goes on until [`Ingest::stop`].
#[derive(Debug)]
pub struct Ingest {
    context: Arc<Context>,
    health: SharedHealth,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Ingest {
    /// Starts serving. Own metrics go to `registry`.
    ///
    /// # Errors
    /// Says what is missing; nothing is left running.
    pub async fn start(parts: IngestParts, registry: &Registry) -> Result<Self, IngestError> {
        let IngestParts {
            listener,
            store,
            series,
            authority,
            tls,
            mut options,
        } = parts;
        options.queued_bytes = options.queued_bytes.max(LEAST_BUDGET);
        let tls = match tls {
            Some(tls) => tls,
            None => authority.server_config()?,
        };
        // Before the hosts: a revocation between the two is then acted upon once more.
        let revocation = store.latest_revocation().await?;
        let fleet = Fleet::new(store.hosts().await?, options.clock.now_ms());
        let budgets = SiteBandwidth::default();
        budgets.refresh(&store, options.clock.now_ms()).await?;
        let metrics = Metrics::register(registry)?;
        let health = SharedHealth::default();
        let polls = PollCommitter {
            store: store.clone(),
            series: series.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            clock: options.clock.clone(),
            interval: options.commit_interval * POLL_INTERVALS,
        };
        let polls = polls.start().await?;
        let committer = SampleCommitter {
            series: series.clone(),
            store: store.clone(),
            runtime: Handle::current(),
            metrics: metrics.clone(),
            health: health.clone(),
            clock: options.clock.clone(),
            interval: options.commit_interval,
            most: options.commit_frames.max(1),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let (samples, thread) = committer.start().map_err(IngestError::Thread)?;
        let events = EventCommitter {
            store: store.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            clock: options.clock.clone(),
        };
        let context = Arc::new(Context {
            desk: Desk::open(store.clone(), health.clone(), options.clock.clone()),
            budget: Arc::new(Semaphore::new(options.queued_bytes)),
            limits: Limits::new(&options),
            interner: Interner::new(),
            confirmed: Queue::new(),
            gaps: Queue::new(),
            revocation: AtomicI64::new(revocation),
            bandwidth: budgets,
            sessions: AtomicUsize::new(0),
            events: events.start(),
            polls,
            series,
            store,
            authority,
            fleet,
            options,
            metrics,
            samples,
        });
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(listener::run(
                Arc::clone(&context),
                listener,
                tls,
                stopped.clone(),
            )),
            tokio::spawn(upkeep::watch(Arc::clone(&context), stopped.clone())),
            tokio::spawn(upkeep::write(Arc::clone(&context), stopped.clone())),
            tokio::spawn(holes::follow(Arc::clone(&context), stopped.clone())),
            tokio::spawn(bandwidth::follow(Arc::clone(&context), stopped)),
        ];
        let (tasks, committer) = (Mutex::new(tasks), Mutex::new(Some(thread)));
        Ok(Self {
            context,
            health,
            stop,
            tasks,
            committer,
        })
    }

    /// Presence and live numbers.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        self.context.fleet.clone()
    }

    /// Whether batches are taken, and if not, why.
    #[must_use]
    pub fn health(&self) -> IngestHealth {
        self.health.get()
    }

    /// Where the health can be read for as long as the port runs.
    #[must_use]
    pub fn shared_health(&self) -> SharedHealth {
        self.health.clone()
    }

    /// Sessions open now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.context.sessions.load(Ordering::Acquire)
    }

    /// Stops: no new connections, sessions are told, what was received is committed and what
    /// cannot be is left to the agents. A second call does nothing.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.context.fleet.close_all(CloseReason::Shutdown);
        let ended = async {
            while self.sessions() > 0 {
                self.context.fleet.close_all(CloseReason::Shutdown);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            warn!(sessions = self.sessions(), "sessions did not end in time");
        }
        self.context.samples.stop();
        self.context.events.stop();
        self.context.polls.stop();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let thread = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for task in tasks {
            join(task).await;
        }
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
            if !matches!(joined.await, Ok(true)) {
                warn!("the thread that commits samples did not end well");
            }
        }
        info!("agent port stopped");
    }
}

async fn join(task: tokio::task::JoinHandle<()>) {
    if let Err(failure) = task.await {
        let error: &dyn std::error::Error = &failure;
        warn!(error, "a task of the agent port did not end well");
    }
}
