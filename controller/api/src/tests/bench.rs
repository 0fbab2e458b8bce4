//! A controller for tests: every part is the real one but the clock.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use prometheus::Registry;
use serde_json::Value;
use tower::ServiceExt as _;

use xiezhi_bench::load::credentials::{Credentials, prepare};
use xiezhi_identity::{Authority, KeyPlace, Passphrase, Passphrases, SecretBox, password, tokens};
use xiezhi_ingest::{Clock, Ingest, IngestOptions, IngestParts};
use xiezhi_model::{
    Actor, ApiRight, AuditEntry, CertificateRecord, EnrolmentToken, Grant, Host, HostId, OnBehalf,
    Role, Site, WebSession,
};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::report::Report;
use xiezhi_series::disk::{Disk, Folder};
use xiezhi_series::{Frame, SeriesLimits, SeriesOptions, SeriesStore};
use xiezhi_store::{NewApiToken, NewHost, NewUser, Store};

use crate::{ApiOptions, AppState, Certificates, Enrolment, Parts, PeerAddress, router};

pub(super) const PASSWORD: &str = "correct horse battery staple";
pub(super) const START_MS: i64 = 1_760_000_000_000;

pub(super) struct Bench {
    pub(super) state: AppState,
    pub(super) store: Store,
    pub(super) series: SeriesStore,
    pub(super) authority: Arc<Authority>,
    pub(super) router: Router,
    pub(super) peer: IpAddr,
    pub(super) credentials: Vec<Credentials>,
    /// Where agents connect.
    pub(super) agents: SocketAddr,
    now_ms: Arc<AtomicI64>,
    _ingest: Ingest,
    folder: tempfile::TempDir,
}

/// Names a server while the suite runs on it.
pub(super) const SERVER: &str = "XIEZHI_TEST_POSTGRES";

/// Where the state of a controller lies: in a file, or in a schema of its own on the server.
fn address_of(folder: &Path) -> String {
    let Ok(server) = std::env::var(SERVER) else {
        return folder.join("state.db").to_str().unwrap().to_owned();
    };
    let name = folder.file_name().unwrap().to_str().unwrap();
    let signs = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = signs.collect::<String>().to_lowercase();
    let schema = format!("t{}_{name}", std::process::id());
    xiezhi_test_support::schema_on(&server, &schema).unwrap()
}

/// What a test may want otherwise.
pub(super) struct Shape {
    pub(super) options: ApiOptions,
    /// What the manual clock says first.
    pub(super) start_ms: i64,
    /// Puts a disk of the test's own under the samples.
    pub(super) disk: fn(&Path) -> Arc<dyn Disk>,
    /// Most series of one host.
    pub(super) series_per_host: u32,
    /// Hosts whose agents may connect: credentials are left in `Bench::credentials`.
    pub(super) agents: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            options: ApiOptions {
                secure: false,
                ..ApiOptions::default()
            },
            start_ms: START_MS,
            disk: |folder| Arc::new(Folder::open(folder).unwrap()),
            series_per_host: SeriesLimits::default().series_per_host,
            agents: 0,
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::shaped(Shape::default()).await
    }

    pub(super) async fn with(options: ApiOptions) -> Self {
        Self::shaped(Shape {
            options,
            ..Shape::default()
        })
        .await
    }

    pub(super) async fn shaped(shape: Shape) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let now_ms = Arc::new(AtomicI64::new(shape.start_ms));
        let clock = Clock::from_fn({
            let now_ms = Arc::clone(&now_ms);
            move || now_ms.load(Ordering::Relaxed)
        });
        let store = Store::open(&address_of(folder.path())).await.unwrap();
        let series_options = SeriesOptions {
            clock: xiezhi_series::Clock::new({
                let now_ms = Arc::clone(&now_ms);
                move || now_ms.load(Ordering::Relaxed)
            }),
            // So that a few late samples are too many.
            lookup_points: 1_000,
            series: SeriesLimits {
                series_per_host: shape.series_per_host,
                ..SeriesLimits::default()
            },
            ..SeriesOptions::default()
        };
        std::fs::create_dir(path("series")).unwrap();
        let disk = (shape.disk)(&path("series"));
        let series = SeriesStore::open_on(disk, series_options).unwrap();
        let made = authority(&path("authority"), &path("offline"), shape.start_ms);
        let authority = Arc::new(made);
        let courts = xiezhi_inventory::demo_courts().unwrap();
        store
            .import_sites(&courts, by_system("sites.import"))
            .await
            .unwrap();
        let grant = Grant::province(Role::ProvinceAdministrator);
        let mut admin = new_user("admin", &[grant]);
        admin.password_hash = password::hash(PASSWORD).unwrap();
        let made = store.create_user(&admin, None, by_system("user.create"));
        made.await.unwrap();
        let credentials = match shape.agents {
            0 => Vec::new(),
            count => prepare(folder.path(), ONLINE, count).await.unwrap(),
        };
        let registry = Registry::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agents = listener.local_addr().unwrap();
        let parts = IngestParts {
            listener,
            store: store.clone(),
            series: series.clone(),
            authority: Arc::clone(&authority),
            tls: None,
            options: IngestOptions {
                clock: clock.clone(),
                ..IngestOptions::default()
            },
        };
        let ingest = Ingest::start(parts, &registry).await.unwrap();
        let state = AppState::new(Parts {
            cluster: None,
            store: store.clone(),
            series: series.clone(),
            fleet: ingest.fleet(),
            intake: ingest.shared_health(),
            certificates: Certificates::default(),
            enrolment: Enrolment {
                root_fingerprint: authority.root_fingerprint(),
                agent_host: None,
                agent_port: 8443,
            },
            secrets: SecretBox::open(&path("secrets.key")).unwrap(),
            clock,
            registry,
            options: shape.options,
        })
        .unwrap();
        Self {
            agents,
            credentials,
            router: router(state.clone()),
            state,
            store,
            series,
            authority,
            peer: IpAddr::from([10, 1, 1, 1]),
            now_ms,
            _ingest: ingest,
            folder,
        }
    }

    /// Makes sealing fail: a folder stands where the new file would.
    pub(super) fn refuse_sealing(&self) {
        std::fs::create_dir(self.unfinished_block()).unwrap();
        let mut encoder = Encoder::new(15_000);
        for seq in 1..3 {
            let mut report = Report::new();
            report.start(self.now_ms());
            report.push("node_load1", &[], 1.0).unwrap();
            let mut bytes = Vec::new();
            let batch = encoder.encode(seq, &report, &mut bytes);
            let frame = Frame {
                host: 1,
                epoch: 1,
                batch,
                key: seq == 1,
                bytes: &bytes,
            };
            self.series.append(&[frame]).unwrap();
            // The second begins a new log, so that the first is due.
            self.advance_ms(2 * 3_600_000);
        }
    }

    /// Lets sealing succeed again, and seals.
    pub(super) fn allow_sealing(&self) {
        std::fs::remove_dir(self.unfinished_block()).unwrap();
        self.series.maintain().unwrap();
    }

    fn unfinished_block(&self) -> std::path::PathBuf {
        let name = "block-0000000001-0000000001.xzb.tmp";
        self.series_folder().join(name)
    }

    pub(super) fn series_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("series")
    }

    pub(super) fn advance_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// A request that another task may send; the answer is read whole.
    pub(super) fn sender(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Got> + Send + use<> {
        let peer = PeerAddress(SocketAddr::new(self.peer, 40_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = self.router.clone();
        async move {
            let response = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            Got {
                status: parts.status,
                headers: parts.headers,
                body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
            }
        }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> axum::response::Response {
        let mut request = request;
        let peer = PeerAddress(SocketAddr::new(self.peer, 40_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Got {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Got {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(super) async fn get(&self, cookie: &str, path: &str) -> Got {
        self.ask(request(Method::GET, path, cookie, None)).await
    }

    pub(super) async fn read(&self, cookie: &str, path: &str) -> Value {
        let got = self.get(cookie, path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {got:?}");
        got.json()
    }

    pub(super) async fn post(&self, cookie: &str, path: &str, body: Value) -> Got {
        self.ask(request(Method::POST, path, cookie, Some(body)))
            .await
    }

    pub(super) async fn try_password(&self, password: &str) -> Got {
        let body = serde_json::json!({"user": "admin", "password": password});
        self.post("", "/api/v1/login", body).await
    }

    /// Signs in and yields the cookie.
    pub(super) async fn sign_in(&self) -> String {
        cookie_of(&self.try_password(PASSWORD).await)
    }

    /// Makes an account that holds these roles and yields its number with the cookie of a session.
    pub(super) async fn account(&self, name: &str, grants: &[Grant]) -> (i64, String) {
        let new = new_user(name, grants);
        let made = self.store.create_user(&new, None, by_system("user.create"));
        let user = made.await.unwrap().user.id;
        (user, self.session_of(user).await)
    }

    /// Begins a session without a password; yields its cookie.
    pub(super) async fn session_of(&self, user: i64) -> String {
        let (identifier, hash) = tokens::web_session().unwrap();
        let session = WebSession {
            id_hash: hash.to_string(),
            user,
            created_ms: self.now_ms(),
            last_used_ms: self.now_ms(),
            expires_ms: self.now_ms() + 3_600_000,
            address: String::new(),
            browser: String::new(),
        };
        let begun = self
            .store
            .create_web_session(&session, None, by_system("session.begin"));
        begun.await.unwrap();
        format!("xiezhi_session={identifier}")
    }

    /// Makes a token for a program that acts for an account without a password; yields its number and what
    /// to send.
    pub(super) async fn acting(&self, user: i64, name: &str, grant: Grant) -> (i64, String) {
        let (secret, hash) = tokens::api_token().unwrap();
        let new = NewApiToken {
            name: name.to_owned(),
            secret_hash: hash.to_string(),
            right: ApiRight::UseApi,
            site: grant.site,
            expires_ms: self.now_ms() + 86_400_000,
        };
        let role = grant.role;
        let audit = by_system("api_token.create");
        let made = self
            .store
            .create_own_api_token(&new, OnBehalf { user, role }, "", audit);
        (made.await.unwrap().id, format!("Bearer {secret}"))
    }

    pub(super) async fn site(&self, key: &str) -> Site {
        self.store.site_by_key(key).await.unwrap().unwrap()
    }

    /// Enrols a host without an agent.
    pub(super) async fn host(&self, site: &str, hostname: &str, simulated: bool) -> Host {
        let id = self.store.reserve_host_id().await.unwrap();
        let token = EnrolmentToken {
            id: format!("{:016x}", id.0),
            secret_hash: "00".repeat(32),
            site: self.site(site).await.id,
            uses: 1,
            uses_left: 1,
            expires_ms: self.now_ms() + 60_000,
            needs_approval: false,
            simulated,
            created_ms: self.now_ms(),
            created_by: "system".to_owned(),
            revoked_ms: None,
        };
        self.store
            .create_token(&token, by_system("token.create"))
            .await
            .unwrap();
        let host = NewHost {
            id,
            token: token.id,
            hostname: hostname.to_owned(),
            machine: format!("{:064x}", id.0),
            evidence_key: format!("{:064x}", id.0),
            policy_root: String::new(),
            version: "0.1.0".to_owned(),
            certificate: certificate(id, self.now_ms()),
        };
        let host = self
            .store
            .enrol(&host, self.now_ms(), by_system("host.enrol"))
            .await
            .unwrap();
        self.state.inner.fleet.refresh(&host);
        host
    }
}

const ONLINE: &str = "online passphrase of a test";

fn authority(online: &Path, offline: &Path, start_ms: i64) -> Authority {
    let passphrases = Passphrases {
        online: Passphrase::new(ONLINE).unwrap(),
        offline: Passphrase::new("offline passphrase of a test").unwrap(),
    };
    let names = ["localhost".to_owned()];
    let (place, now_s) = (KeyPlace::SealedFile, start_ms / 1000);
    Authority::init_in(online, offline, &passphrases, &place, &names, now_s).unwrap();
    Authority::open(online, &passphrases.online, now_s).unwrap()
}

/// An account of the province whose password nobody knows.
pub(super) fn new_user(name: &str, grants: &[Grant]) -> NewUser {
    NewUser {
        name: name.to_owned(),
        display_name: String::new(),
        home: None,
        password_hash: String::new(),
        password_once: false,
        grants: grants.iter().copied().collect(),
    }
}

fn certificate(host: HostId, now_ms: i64) -> CertificateRecord {
    CertificateRecord {
        serial: format!("{:032x}", host.0),
        host,
        not_before_s: now_ms / 1000,
        not_after_s: now_ms / 1000 + 30 * 86_400,
        issued_ms: now_ms,
        revoked_ms: None,
        chain_pem: String::new(),
    }
}

pub(super) fn by_system(action: &str) -> AuditEntry {
    AuditEntry::new(START_MS, Actor::System, action, "test")
}

pub(super) fn cookie_of(got: &Got) -> String {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let cookie = got.headers[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// A request of a page with this cookie, or of a program if it is a bearer token.
pub(super) fn request(
    method: Method,
    path: &str,
    cookie: &str,
    body: Option<Value>,
) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "court:8444");
    if cookie.starts_with("Bearer ") {
        request = request.header(header::AUTHORIZATION, cookie);
    } else {
        request = request.header("x-xiezhi-request", "1");
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
    }
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}
