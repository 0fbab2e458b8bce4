//! A running port with everything behind it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tempfile::TempDir;
use tokio::net::TcpListener;

use xiezhi_identity::{Authority, Passphrase, Passphrases, tokens};
use xiezhi_ingest::{Clock, Fleet, Ingest, IngestOptions, IngestParts};
use xiezhi_model::{Actor, AuditEntry, AuditRecord, EnrolmentToken, NewSite, SiteId, Tier};
use xiezhi_protocol::enrol::Token;
use xiezhi_series::SeriesStore;
use xiezhi_store::{AuditQuery, Store};

/// Longest wait for anything that is bound to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Port {
    pub(crate) ingest: Ingest,
    pub(crate) store: Store,
    pub(crate) series: SeriesStore,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    pub(crate) site: SiteId,
    pub(crate) registry: prometheus::Registry,
    clock_ms: Arc<AtomicI64>,
    pub(crate) _folder: TempDir,
}

/// One for all tests: stretching passphrases is slow on purpose.
fn authority() -> Arc<Authority> {
    static AUTHORITY: OnceLock<(Arc<Authority>, TempDir)> = OnceLock::new();
    let (authority, _) = AUTHORITY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (online, offline) = (folder.path().join("online"), folder.path().join("offline"));
        let one = || Passphrase::random().unwrap();
        let passphrases = Passphrases {
            online: one(),
            offline: one(),
        };
        let now_s = system_ms() / 1000;
        Authority::init(&online, &offline, &passphrases, now_s).unwrap();
        let authority = Authority::open(&online, &passphrases.online, now_s).unwrap();
        (Arc::new(authority), folder)
    });
    Arc::clone(authority)
}

pub(crate) fn system_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// Commits at once, so that tests wait for nothing but the work itself.
pub(crate) fn options() -> IngestOptions {
    IngestOptions {
        version: "9.9.9".to_owned(),
        commit_interval: Duration::from_millis(2),
        enrolments_per_second: 1000.0,
        ..IngestOptions::default()
    }
}

#[derive(Debug)]
struct TestTime(Arc<AtomicI64>);

impl TimeProvider for TestTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::Acquire) / 1000;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            seconds as u64,
        )))
    }
}

impl Port {
    pub(crate) async fn start() -> Self {
        Self::start_with(options(), None).await
    }

    pub(crate) async fn start_with(options: IngestOptions, series: Option<SeriesStore>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("state.db").display());
        let store = Store::open(&url).await.unwrap();
        let series = series.unwrap_or_else(|| {
            SeriesStore::open(&folder.path().join("series"), Default::default()).unwrap()
        });
        let court = NewSite {
            key: "gs-01".to_owned(),
            name: "甘肃省高级人民法院".to_owned(),
            tier: Tier::HighCourt,
            parent: None,
            court_code: "甘".to_owned(),
        };
        store
            .import_sites(&[court], entry("sites.imported"))
            .await
            .unwrap();
        let site = store.site_by_key("gs-01").await.unwrap().unwrap().id;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock_ms = Arc::new(AtomicI64::new(system_ms()));
        let authority = authority();
        let registry = prometheus::Registry::new();
        let clock = Arc::clone(&clock_ms);
        let parts = IngestParts {
            listener,
            store: store.clone(),
            series: series.clone(),
            authority: Arc::clone(&authority),
            tls: Some(
                authority
                    .server_config_at(Arc::new(TestTime(Arc::clone(&clock))))
                    .unwrap(),
            ),
            options: IngestOptions {
                clock: Clock::from_fn(move || clock.load(Ordering::Acquire)),
                ..options
            },
        };
        let ingest = Ingest::start(parts, &registry).await.unwrap();
        Self {
            ingest,
            store,
            series,
            address,
            authority,
            site,
            registry,
            clock_ms,
            _folder: folder,
        }
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.ingest.fleet()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock_ms.load(Ordering::Acquire)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock_ms
            .fetch_add(by.as_millis() as i64, Ordering::AcqRel);
    }

    /// A token for any number of hosts.
    pub(crate) async fn token(&self) -> Token {
        self.token_with(|_| {}).await
    }

    pub(crate) async fn token_with(&self, change: impl FnOnce(&mut EnrolmentToken)) -> Token {
        let (token, hash) = tokens::generate(self.authority.root_fingerprint()).unwrap();
        let mut record = EnrolmentToken {
            id: token.id_text(),
            secret_hash: hash.to_string(),
            site: self.site,
            uses: 100,
            uses_left: 100,
            expires_ms: self.now_ms() + 86_400_000,
            needs_approval: false,
            simulated: false,
            created_ms: self.now_ms(),
            created_by: "console".to_owned(),
            revoked_ms: None,
        };
        change(&mut record);
        self.store
            .create_token(&record, entry("token.created"))
            .await
            .unwrap();
        token
    }

    /// The same database, opened as another process would.
    pub(crate) async fn other_process(&self) -> Store {
        let file = self._folder.path().join("state.db");
        Store::open(&format!("sqlite://{}", file.display()))
            .await
            .unwrap()
    }

    /// The value of one of the port's counters; the sum over its labels.
    pub(crate) fn counter(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        metrics
            .iter()
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    pub(crate) async fn audited(&self, action: &str) -> usize {
        self.audit(action).await.len()
    }

    /// Audit entries of this act, newest first.
    pub(crate) async fn audit(&self, action: &str) -> Vec<AuditRecord> {
        let query = AuditQuery {
            action: Some(action.to_owned()),
            ..AuditQuery::default()
        };
        self.store.audit(&query).await.unwrap()
    }
}

pub(crate) fn entry(action: &str) -> AuditEntry {
    AuditEntry::new(1, Actor::Console, action, "")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
