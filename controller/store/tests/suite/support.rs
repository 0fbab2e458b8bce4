//! A fresh store and the few things that most tests need in it.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use xiezhi_model::*;
use xiezhi_store::{EventBatch, NewEvent, NewHost, NewUser, Store};

/// The tests' present: a day in 2026, Unix milliseconds.
pub(crate) const NOW: i64 = 1_790_000_000_000;

pub(crate) const DAY: i64 = 86_400_000;

pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Fresh {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Fresh {
    /// Runs SQL behind the store's back, as a person with a shell could.
    pub(crate) async fn tamper(&self, sql: &str) {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }
}

/// Takes a schema back to before there were roles (migration 6).
pub(crate) const WITHOUT_PEOPLE: &str = "\
    ALTER TABLE api_tokens DROP COLUMN user_id; ALTER TABLE api_tokens DROP COLUMN role; \
    ALTER TABLE api_tokens DROP COLUMN last_used_ms; ALTER TABLE api_tokens DROP COLUMN last_used_from; \
    DROP TABLE device_said; DROP TABLE devices; DROP TABLE saved_views; \
    DROP TABLE audit_spans; DROP INDEX audit_by_action; DROP INDEX audit_by_actor; DROP TABLE audit_head; DROP TABLE broken_glass; \
    DELETE FROM counters WHERE name IN ('broken_glass', 'devices', 'saved_views'); \
    ALTER TABLE web_sessions DROP COLUMN address; ALTER TABLE web_sessions DROP COLUMN browser; \
    DROP TABLE site_imports; DROP TABLE site_changes; \
    ALTER TABLE sites DROP COLUMN retired_ms; ALTER TABLE sites DROP COLUMN version; \
    DELETE FROM counters WHERE name LIKE 'site_%'; \
    DROP TABLE register_import_sites; DROP TABLE register_imports; \
    DROP TABLE register_changes; DROP TABLE register_items; \
    DELETE FROM counters WHERE name LIKE 'register_%'; \
    DROP TABLE grants; DROP TABLE account_ties; DROP TABLE acts; \
    DROP TABLE named_requests; DROP TABLE recovery_codes; DROP TABLE second_factors; \
    ALTER TABLE users DROP COLUMN display_name; \
    ALTER TABLE users DROP COLUMN home_site_id; \
    ALTER TABLE users DROP COLUMN password_once; \
    ALTER TABLE users DROP COLUMN disabled_ms; \
    ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'administrator'; \
    DELETE FROM counters WHERE name IN ('acts', 'authority');";

/// Names a server while the suite runs on it.
pub(crate) const SERVER: &str = "XIEZHI_TEST_POSTGRES";

/// A database that nobody has opened yet.
pub(crate) async fn unopened() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = match std::env::var(SERVER) {
        Ok(server) => {
            fresh_schema(
                &server,
                folder.path().file_name().unwrap().to_str().unwrap(),
            )
            .await
        }
        Err(_) => format!("sqlite://{}", folder.path().join("state.db").display()),
    };
    (folder, url)
}

pub(crate) async fn fresh() -> Fresh {
    let (folder, url) = unopened().await;
    let store = Store::open(&url).await.unwrap();
    Fresh {
        store,
        url,
        _folder: folder,
    }
}

async fn fresh_schema(server: &str, name: &str) -> String {
    sqlx::any::install_default_drivers();
    let schema: String = name
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let schema = format!("t{}_{schema}", std::process::id());
    let mut connection = sqlx::AnyConnection::connect(server).await.unwrap();
    let sql = AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let mark = if server.contains('?') { '&' } else { '?' };
    format!("{server}{mark}options[search_path]={schema}")
}

pub(crate) fn entry(action: &str) -> AuditEntry {
    AuditEntry::new(NOW, Actor::Console, action, "")
}

pub(crate) fn new_site(key: &str, tier: Tier, parent: Option<&str>) -> NewSite {
    NewSite {
        key: key.to_owned(),
        name: format!("{key}法院"),
        tier,
        parent: parent.map(str::to_owned),
        court_code: String::new(),
    }
}

/// A user of the province without roles.
pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        display_name: String::new(),
        home: None,
        password_hash: "$argon2id$".to_owned(),
        password_once: false,
        grants: Grants::default(),
    }
}

/// A high court with two courts below, and a tribunal below the first.
pub(crate) async fn province(store: &Store) -> [SiteId; 4] {
    let sites = [
        new_site("gs-01-t", Tier::Tribunal, Some("gs-01")),
        new_site("gs-01", Tier::IntermediateCourt, Some("gs")),
        new_site("gs-02", Tier::IntermediateCourt, Some("gs")),
        new_site("gs", Tier::HighCourt, None),
    ];
    store
        .import_sites(&sites, entry("sites.imported"))
        .await
        .unwrap();
    let mut ids = Vec::new();
    for key in ["gs", "gs-01", "gs-02", "gs-01-t"] {
        ids.push(store.site_by_key(key).await.unwrap().unwrap().id);
    }
    ids.try_into().unwrap()
}

pub(crate) fn token(id: &str, site: SiteId, uses: u32) -> EnrolmentToken {
    EnrolmentToken {
        id: id.to_owned(),
        secret_hash: "digest".to_owned(),
        site,
        uses,
        uses_left: uses,
        expires_ms: NOW + DAY,
        needs_approval: false,
        simulated: false,
        created_ms: NOW,
        created_by: "console".to_owned(),
        revoked_ms: None,
    }
}

pub(crate) fn new_host(id: HostId, token: &str) -> NewHost {
    NewHost {
        id,
        token: token.to_owned(),
        hostname: format!("host-{id}"),
        machine: format!("machine-{id}"),
        evidence_key: format!("key-{id}"),
        policy_root: String::new(),
        version: "0.1.0".to_owned(),
        certificate: certificate(id, &format!("{id:?}-1")),
    }
}

pub(crate) fn certificate(host: HostId, serial: &str) -> CertificateRecord {
    CertificateRecord {
        serial: serial.to_owned(),
        host,
        not_before_s: NOW / 1000,
        not_after_s: NOW / 1000 + 30 * 86_400,
        issued_ms: NOW,
        revoked_ms: None,
        chain_pem: "-----BEGIN CERTIFICATE-----".to_owned(),
    }
}

/// Enrols one host at this site with a token of its own.
pub(crate) async fn enrolled(store: &Store, site: SiteId) -> HostId {
    let id = store.reserve_host_id().await.unwrap();
    let token_id = format!("token-{id}");
    store
        .create_token(&token(&token_id, site, 1), entry("token.created"))
        .await
        .unwrap();
    let host = new_host(id, &token_id);
    store
        .enrol(&host, NOW, entry("host.enrolled"))
        .await
        .unwrap()
        .id
}

pub(crate) fn event(time_ms: i64, kind: &str, message: &str) -> NewEvent {
    NewEvent {
        time_ms,
        kind: kind.to_owned(),
        severity: Severity::Info,
        message: message.to_owned(),
        fields: BTreeMap::new(),
    }
}

pub(crate) fn batch(host: HostId, seq: u64, checksum: u32, events: Vec<NewEvent>) -> EventBatch {
    EventBatch {
        host,
        epoch: 1,
        stream: EventStream::Security,
        seq,
        checksum,
        events,
        facts: None,
        proof: None,
    }
}
