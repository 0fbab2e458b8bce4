//! What every handler has at hand.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::{Mutex, Semaphore};
use xiezhi_identity::{IdentityError, SecretBox};
use xiezhi_ingest::{Clock, Fleet, SharedHealth};
use xiezhi_metrics::cluster::{Ask, FreshDirectory, Status};
use xiezhi_metrics::{Queries, Settings};
use xiezhi_series::SeriesStore;
use xiezhi_store::Store;

use crate::attempts::Attempts;
use crate::authority::Authority;
use crate::certificates::Certificates;
use crate::connection_audit::ConnectionAudit;
use crate::directory::FleetDirectory;
use crate::files::ExportDesk;
use crate::health::Verdict;
use crate::live::Hub;
use crate::login_codes::LoginCodes;
use crate::peer::TrustedProxies;
use crate::query_desk::QueryDesk;
use crate::refusals::Refusals;
use crate::refused::Refused;
use crate::resources::audit::ChainCheck;
use crate::resources::overview::{self, EventCounts};
use crate::resources::prometheus::WriteDesk;
use crate::token_desk::TokenDesk;
use crate::uploads::UploadDesk;

/// Password checks at one time: each takes 19 MiB and tens of milliseconds of CPU.
const PASSWORD_CHECKS: usize = 2;

/// Series queries at one time: each may read hundreds of megabytes.
const SERIES_QUERIES: usize = 2;

/// What the interface is made of.
#[derive(Debug)]
pub struct Parts {
    /// State.
    pub store: Store,
    /// Samples.
    pub series: SeriesStore,
    /// Presence and live numbers.
    pub fleet: Fleet,
    /// Whether agents' batches are taken.
    pub intake: SharedHealth,
    /// When the controller's certificates end.
    pub certificates: Certificates,
    /// What new hosts must know.
    pub enrolment: Enrolment,
    /// Seals the secrets that the store keeps.
    pub secrets: SecretBox,
    /// The clock.
    pub clock: Clock,
    /// A cluster that samples are sent on to, if there is one.
    pub cluster: Option<Cluster>,
    /// What `/metrics` shows.
    pub registry: Registry,
    /// How sessions and queries behave.
    pub options: ApiOptions,
}

/// A cluster beside the embedded engine.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// How sending to it stands.
    pub status: Status,
    /// Who asks it; `None`: queries are answered here.
    pub ask: Option<Ask>,
}

/// What an enrolment token and its commands carry.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// SHA-256 over the DER of the root certificate.
    pub root_fingerprint: [u8; 32],
    /// Host name or address at which agents reach the controller; `None` means the one by which the
    /// browser reached it.
    pub agent_host: Option<String>,
    /// The agents' port.
    pub agent_port: u16,
}

/// How sessions behave.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Whether browsers come over TLS; then the cookie is `Secure`.
    pub secure: bool,
    /// Reverse proxies that say for whom they ask. Default none: nobody's word is taken.
    pub trusted_proxies: TrustedProxies,
    /// A session that nobody used for so long has ended: what pages ask by themselves is no use, and
    /// a wall's session is always used. Default 30 minutes.
    pub session_idle: Duration,
    /// A session ends after so long, used or not, but a wall's. Default 12 hours: a working day.
    pub session_life: Duration,
    /// Longest time that one answer may take. Default 30 seconds.
    pub request_timeout: Duration,
    /// What queries may cost.
    pub queries: Settings,
    /// Version that the screens show.
    pub version: String,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            secure: true,
            trusted_proxies: TrustedProxies::default(),
            session_idle: Duration::from_secs(30 * 60),
            session_life: Duration::from_secs(12 * 3600),
            request_timeout: Duration::from_secs(30),
            queries: Settings::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What every handler has at hand. Clones share it.
#[derive(Debug, Clone)]
pub struct AppState {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) authority: Authority,
    pub(crate) store: Store,
    pub(crate) series: SeriesStore,
    pub(crate) fleet: Fleet,
    pub(crate) intake: SharedHealth,
    pub(crate) certificates: Certificates,
    pub(crate) enrolment: Enrolment,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) options: ApiOptions,
    pub(crate) secrets: SecretBox,
    pub(crate) attempts: Attempts,
    pub(crate) refusals: Refusals,
    pub(crate) refused: Refused,
    pub(crate) uploads: UploadDesk,
    pub(crate) exports: ExportDesk,
    pub(crate) token_desk: TokenDesk,
    pub(crate) write_desk: WriteDesk,
    pub(crate) query_desk: QueryDesk,
    /// When this began, Unix milliseconds.
    pub(crate) started_ms: i64,
    pub(crate) login_codes: LoginCodes,
    pub(crate) password_checks: Arc<Semaphore>,
    pub(crate) series_queries: Arc<Semaphore>,
    /// How sending to a cluster stands, if there is one.
    pub(crate) cluster: Option<Status>,
    pub(crate) directory: Arc<FleetDirectory>,
    pub(crate) queries: Queries,
    pub(crate) hub: Hub,
    pub(crate) event_counts: EventCounts,
    pub(crate) chain_check: Mutex<ChainCheck>,
    pub(crate) health: Mutex<Verdict>,
}

impl AppState {
    /// Puts the parts together and starts the task that tells open pages what changed; the task
    /// ends with the last clone. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the system gives no threads for queries, or another interface counts in the same registry.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let hub = Hub::start(parts.fleet.clone(), parts.clock.clone());
        let directory = Arc::new(FleetDirectory::new(
            parts.fleet.clone(),
            parts.store.clone(),
        ));
        let queries = Queries::embedded(
            parts.series.clone(),
            Arc::clone(&directory) as _,
            parts.options.queries.clone(),
        )?;
        let (status, ask) = parts.cluster.map(|one| (one.status, one.ask)).unzip();
        let queries = match ask.flatten() {
            Some(ask) => queries.with_cluster(ask),
            None => queries,
        };
        let token_desk = TokenDesk::register(&parts.registry).map_err(std::io::Error::other)?;
        let write_desk = WriteDesk::register(&parts.registry).map_err(std::io::Error::other)?;
        let query_desk = QueryDesk::register(&parts.registry).map_err(std::io::Error::other)?;
        let state = Self {
            inner: Arc::new(Inner {
                authority: Authority::start(parts.store.clone()),
                token_desk,
                write_desk,
                query_desk,
                started_ms: parts.clock.now_ms(),
                store: parts.store,
                series: parts.series,
                fleet: parts.fleet,
                intake: parts.intake,
                certificates: parts.certificates,
                enrolment: parts.enrolment,
                clock: parts.clock,
                registry: parts.registry,
                options: parts.options,
                secrets: parts.secrets,
                attempts: Attempts::default(),
                refusals: Refusals::default(),
                refused: Refused::default(),
                uploads: UploadDesk::default(),
                exports: ExportDesk::default(),
                login_codes: LoginCodes::default(),
                password_checks: Arc::new(Semaphore::new(PASSWORD_CHECKS)),
                series_queries: Arc::new(Semaphore::new(SERIES_QUERIES)),
                hub,
                event_counts: EventCounts::default(),
                chain_check: Mutex::default(),
                health: Mutex::default(),
                cluster: status,
                directory,
                queries,
            }),
        };
        Ok(state)
    }

    /// Reads what the first page needs, before anyone asks: whoever is first after a start would wait
    /// for the tree and for the day's events. Takes no longer than `patience`; what was not read by then
    /// is read when it is asked for.
    pub async fn prepare(&self, patience: Duration) {
        let reading = async {
            self.inner.authority.tree().await?;
            overview::events_of_the_day(self).await.map(drop)
        };
        match tokio::time::timeout(patience, reading).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what the first page needs could not be read");
            }
            Err(_) => tracing::info!("what the first page needs is read when it is asked for"),
        }
    }

    /// A code that signs `user` in once within `valid_for`, for the address that a terminal prints:
    /// `/login?code=…`. It lives in memory only.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn issue_login_code(
        &self,
        user: &str,
        valid_for: Duration,
    ) -> Result<String, IdentityError> {
        let valid_ms = i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX);
        let until_ms = self.now_ms().saturating_add(valid_ms);
        self.inner.login_codes.issue(user, until_ms)
    }

    /// Where the browsers' port tells of connections that it ended.
    #[must_use]
    pub fn connection_audit(&self) -> ConnectionAudit {
        ConnectionAudit::of(Arc::downgrade(&self.inner))
    }

    /// Whose samples they are, for who sends them on.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn FreshDirectory> {
        Arc::clone(&self.inner.directory) as _
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }
}
