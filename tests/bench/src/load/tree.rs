//! A province of 20,000 sites and half a million assets, written with the controller's own store, and
//! sessions of accounts that look at it.

use anyhow::{Context as _, Result};
use xiezhi_identity::tokens;
use xiezhi_model::{
    Actor, AuditEntry, CertificateRecord, DeviceState, EnrolmentToken, EventStream, Field, Grant,
    HostId, NewSite, RegisterKind, Role, Severity, Site, SiteId, Tier, Values, WebSession,
};
use xiezhi_store::{
    DeviceAnswer, DevicePoll, DeviceSaid, EventBatch, ImportRow, NewEvent, NewHost, NewUser, Store,
};

use super::province::now_ms;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// High, intermediate and basic courts.
    pub courts: usize,
    /// All sites; those that are no courts are tribunals.
    pub sites: usize,
    /// Assets in the register; rooms and staff are a tenth of them each.
    pub assets: usize,
}

/// Intermediate courts besides the demonstration's 17.
const CITIES: usize = 83;
/// Rows of one import.
const AT_ONCE: usize = 20_000;
const HOSTS: usize = 1000;
const USERS: usize = 2000;
const EVENTS_OF_A_HOST: u64 = 100;
/// From before today, an hour apart.
const OLD_EVENTS_OF_A_HOST: u64 = 900;
const DEVICES_OF_A_HOST: usize = 20;
const AUDIT_ENTRIES: i64 = 1_000_000;
/// As long as the audit log is kept at least.
const AUDIT_DAYS: i64 = 180;
/// Entries of one transaction: as many as rows of one import.
const ENTRIES_AT_ONCE: i64 = AT_ONCE as i64;

/// Fills the database at an address, in which the demonstration's courts are, and says who may ask:
/// `account NAME COOKIE SITE`, line by line. No controller may run on it.
///
/// # Errors
/// The database refuses.
pub async fn run(url: &str, size: Size, tell: impl Fn(&str)) -> Result<()> {
    let store = Store::open(url).await?;
    for account in fill(&store, size).await? {
        let Account { name, cookie, site } = account;
        tell(&format!("account {name} {cookie} {site}"));
    }
    store.close().await;
    Ok(())
}

/// Somebody who asks.
struct Account {
    name: &'static str,
    cookie: String,
    site: SiteId,
}

fn audit(action: &str) -> AuditEntry {
    AuditEntry::new(now_ms(), Actor::System, action, "")
}

async fn fill(store: &Store, size: Size) -> Result<Vec<Account>> {
    store
        .import_sites(&tree(size), audit("sites.import"))
        .await?;
    let sites = store.sites().await?;
    let rows = [
        (RegisterKind::Room, size.assets / 10),
        (RegisterKind::Staff, size.assets / 10),
        (RegisterKind::Asset, size.assets),
    ];
    for (kind, count) in rows {
        for first in (0..count).step_by(AT_ONCE) {
            import(store, &sites, kind, first, AT_ONCE.min(count - first)).await?;
        }
    }
    log(store).await?;
    hosts(store, &sites).await?;
    users(store, &sites).await?;
    let city = sites.iter().find(|site| site.key == "c-0");
    accounts(store, city.context("there is no city")?.id).await
}

fn tree(size: Size) -> Vec<NewSite> {
    let site = |key: String, name: String, tier, parent: String| NewSite {
        key,
        name,
        tier,
        parent: Some(parent),
        court_code: String::new(),
    };
    // The demonstration's 113 are there.
    let basic = size.courts.saturating_sub(113 + CITIES).max(1);
    let tribunals = size.sites.saturating_sub(size.courts);
    let cities = (0..CITIES).map(|city| {
        let (key, name) = (format!("c-{city}"), format!("第{city}中级人民法院"));
        site(key, name, Tier::IntermediateCourt, "gs".to_owned())
    });
    let courts = (0..basic).map(|court| {
        let (key, name) = (format!("b-{court}"), format!("第{court}区人民法院"));
        site(key, name, Tier::BasicCourt, format!("c-{}", court % CITIES))
    });
    let tribunals = (0..tribunals).map(|number| {
        let (key, name) = (format!("t-{number}"), format!("第{number}人民法庭"));
        site(key, name, Tier::Tribunal, format!("b-{}", number % basic))
    });
    cities.chain(courts).chain(tribunals).collect()
}

async fn import(
    store: &Store,
    sites: &[Site],
    kind: RegisterKind,
    first: usize,
    count: usize,
) -> Result<()> {
    let row = |number: usize| {
        let state = match kind {
            RegisterKind::Asset if number.is_multiple_of(1000) => "repair",
            _ => "in_use",
        };
        let mut values: Values = [
            (Field::Code, format!("N-{number}")),
            (Field::Name, "服务器".to_owned()),
            (Field::State, state.to_owned()),
        ]
        .into();
        if kind == RegisterKind::Asset {
            values.insert(Field::Serial, format!("SN{number}"));
        }
        let site = sites.get(number % sites.len().max(1));
        let line = u32::try_from(number - first + 2).unwrap_or(0);
        let site = site.map_or(SiteId(0), |site| site.id);
        ImportRow { line, site, values }
    };
    let rows: Vec<ImportRow> = (first..first + count).map(row).collect();
    let digest = store.plan_import(kind, &rows).await?.digest();
    let touched = rows.iter().map(|row| row.site).take(1).collect();
    let asked = audit("register.upload");
    let id = store
        .keep_import(kind, "scale", "", &touched, asked)
        .await?;
    let asked = audit("register.import");
    store.apply_import(id, &rows, &digest, asked).await?;
    Ok(())
}

/// A log of half a year: two hundred people and a thousand hosts, and somebody who did one thing long ago.
async fn log(store: &Store) -> Result<()> {
    const ACTIONS: [&str; 12] = [
        "session.begin",
        "session.end",
        "host.enrolled",
        "host.certificate_renewed",
        "hosts.export",
        "register.change",
        "register.create",
        "user.change",
        "token.create",
        "token.revoke",
        "sites.change",
        "request.refused",
    ];
    let step_ms = AUDIT_DAYS * 86_400_000 / AUDIT_ENTRIES;
    let start_ms = now_ms() - AUDIT_DAYS * 86_400_000;
    let entry = |number: i64| {
        let at = usize::try_from(number).unwrap_or(0);
        let action = ACTIONS
            .get(at * 7 % ACTIONS.len())
            .copied()
            .unwrap_or_default();
        let actor = match number {
            777 => "rare".to_owned(),
            _ => format!("person-{}", number % 200),
        };
        let subject = format!("host:{}", number % 1009);
        AuditEntry::new(
            start_ms + number * step_ms,
            Actor::User(actor),
            action,
            subject,
        )
        .with("reason", "巡检")
    };
    for first in (0..AUDIT_ENTRIES).step_by(AT_ONCE) {
        let entries: Vec<AuditEntry> = (first..(first + ENTRIES_AT_ONCE).min(AUDIT_ENTRIES))
            .map(entry)
            .collect();
        store.append_audits(&entries).await?;
    }
    Ok(())
}

/// Devices that a host polls.
async fn devices(store: &Store, host: HostId, time_ms: i64) -> Result<()> {
    const KINDS: [&str; 4] = ["switch", "ups", "camera", "firewall"];
    let polls = (0..DEVICES_OF_A_HOST).map(|number| {
        let port = format!("{{\"name\":\"GigabitEthernet1/0/{number}\",\"alias\":\"上联\"}},");
        DevicePoll {
            id: None,
            host,
            name: format!("device-{host}-{number}"),
            time_ms,
            answer: Some(DeviceAnswer {
                state: DeviceState::Answered,
                problem: String::new(),
                every_s: 60,
                said: Some(DeviceSaid {
                    kind: KINDS
                        .get(number % KINDS.len())
                        .copied()
                        .unwrap_or_default()
                        .to_owned(),
                    profile: "h3c-switch".to_owned(),
                    model: "S5560X-54C-EI".to_owned(),
                    serial: format!("2102{host:08}{number:04}"),
                    needs_profile: number == 0,
                    about: format!("{{\"ports\":[{}{{\"name\":\"NULL0\"}}]}}", port.repeat(48)),
                }),
            }),
        }
    });
    store.note_polls(&polls.collect::<Vec<_>>()).await?;
    Ok(())
}

/// Hosts at every twentieth site, each with events and devices.
async fn hosts(store: &Store, sites: &[Site]) -> Result<()> {
    let now = now_ms();
    let places: Vec<&Site> = sites.iter().step_by(20).collect();
    for number in 0..HOSTS {
        let site = places.get(number % places.len().max(1));
        let site = site.context("there are no sites")?.id;
        let id = store.reserve_host_id().await?;
        let token = EnrolmentToken {
            id: format!("{:016x}", id.0),
            secret_hash: "00".repeat(32),
            site,
            uses: 1,
            uses_left: 1,
            expires_ms: now + 3_600_000,
            needs_approval: false,
            simulated: true,
            created_ms: now,
            created_by: "load".to_owned(),
            revoked_ms: None,
        };
        store.create_token(&token, audit("token.create")).await?;
        let host = NewHost {
            id,
            token: token.id,
            hostname: format!("host-{number}"),
            machine: format!("{:064x}", id.0),
            evidence_key: format!("{:064x}", id.0),
            policy_root: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate: CertificateRecord {
                serial: format!("{:032x}", id.0),
                host: id,
                not_before_s: now / 1000,
                not_after_s: now / 1000 + 30 * 86_400,
                issued_ms: now,
                revoked_ms: None,
                chain_pem: String::new(),
            },
        };
        store.enrol(&host, now, audit("host.enrol")).await?;
        devices(store, id, now).await?;
        let old = |at: u64| NewEvent {
            time_ms: now - 2 * 86_400_000 - i64::try_from(at).unwrap_or(0) * 3_600_000,
            kind: if at == 0 { "usb_added" } else { "logout" }.to_owned(),
            severity: Severity::Info,
            message: format!("退出 {at}"),
            fields: Default::default(),
        };
        let batch = EventBatch {
            host: id,
            epoch: 1,
            stream: EventStream::Security,
            seq: 1,
            checksum: 1,
            events: (0..OLD_EVENTS_OF_A_HOST).map(old).collect(),
            facts: None,
            proof: None,
        };
        let before = now - 2 * 86_400_000;
        store.insert_batches(&[batch], before).await?;
        let event = |at: u64| NewEvent {
            time_ms: now - i64::try_from(at).unwrap_or(0) * 60_000,
            kind: "login".to_owned(),
            severity: Severity::Notice,
            message: format!("登录成功 {at}"),
            fields: Default::default(),
        };
        let batch = EventBatch {
            host: id,
            epoch: 1,
            stream: EventStream::Security,
            seq: 2,
            checksum: 1,
            events: (0..EVENTS_OF_A_HOST).map(event).collect(),
            facts: None,
            proof: None,
        };
        store.insert_batches(&[batch], now).await?;
    }
    Ok(())
}

fn user(name: String, grants: &[Grant], home: Option<SiteId>) -> NewUser {
    NewUser {
        name,
        display_name: "王芳".to_owned(),
        home,
        password_hash: String::new(),
        password_once: false,
        grants: grants.iter().copied().collect(),
    }
}

async fn users(store: &Store, sites: &[Site]) -> Result<()> {
    for (number, site) in sites.iter().step_by(7).take(USERS).enumerate() {
        let grant = Grant::at(Role::Technician, site.id);
        let new = user(format!("tech-{number}"), &[grant], Some(site.id));
        store.create_user(&new, None, audit("user.create")).await?;
    }
    Ok(())
}

/// Signed-in accounts of the province and of one city's court.
async fn accounts(store: &Store, city: SiteId) -> Result<Vec<Account>> {
    if store.accounts().await?.is_empty() {
        // Whom the controller lets in once when it starts.
        let admin = user(
            "admin".to_owned(),
            &[Grant::province(Role::ProvinceAdministrator)],
            None,
        );
        store
            .create_user(&admin, None, audit("user.create"))
            .await?;
    }
    let wanted = [
        ("province", Grant::province(Role::ProvinceAdministrator)),
        ("security", Grant::province(Role::SecurityOfficer)),
        ("audit", Grant::province(Role::AuditAdministrator)),
        ("court", Grant::at(Role::CourtAdministrator, city)),
        ("officer", Grant::at(Role::SecurityOfficer, city)),
    ];
    let mut accounts = Vec::new();
    for (name, grant) in wanted {
        let new = user(format!("scale-{name}"), &[grant], grant.site);
        let made = store.create_user(&new, None, audit("user.create")).await?;
        let (identifier, hash) = tokens::web_session()?;
        let session = WebSession {
            id_hash: hash.to_string(),
            user: made.user.id,
            created_ms: now_ms(),
            last_used_ms: now_ms(),
            expires_ms: now_ms() + 3_600_000,
            address: String::new(),
            browser: String::new(),
        };
        let begun = store.create_web_session(&session, None, audit("session.begin"));
        begun.await?;
        accounts.push(Account {
            name,
            cookie: format!("xiezhi_session={identifier}"),
            site: city,
        });
    }
    Ok(accounts)
}
