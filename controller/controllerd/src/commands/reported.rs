//! `event` and `device`: lists of what hosts report, as the database has them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{
    DEVICE_HEADER, DeviceLine, EVENT_HEADER, GAP_HEADER, device_row, event_gap_row, event_row,
    gap_row,
};
use xiezhi_model::{Device, EventStream, Gap, Host, HostId, Scope, Site, SiteTree};
use xiezhi_store::{DeviceQuery, EventQuery, EventSight, GapCursor, Store};

use super::files::ListFile;
use super::{by_console, local_time, one_line, open_store};
use crate::cli::{DeviceCommand, EventCommand, Events, WhichStream};
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Rows in memory at one time.
const SLICE: u32 = 1000;

/// A host that was seen so long ago is heard: it is written down once a minute.
const HEARD_MS: i64 = 180_000;

/// Does what `event …` asks.
pub(super) async fn events(config: &Config, what: EventCommand) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        EventCommand::Export(which) => export_events(&store, &which).await?,
        EventCommand::Gaps { file, lang } => export_gaps(&store, &file, lang).await?,
    }
    store.close().await;
    Ok(())
}

/// Does what `device …` asks.
pub(super) async fn devices(config: &Config, what: DeviceCommand) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        DeviceCommand::List => list(&store).await?,
        DeviceCommand::Export { file, site, lang } => {
            export_devices(&store, &file, site.as_deref(), lang).await?;
        }
    }
    store.close().await;
    Ok(())
}

/// What the rows of a list name.
struct Named {
    tree: SiteTree,
    hosts: BTreeMap<HostId, Host>,
}

impl Named {
    async fn of(store: &Store) -> Result<Self> {
        let hosts = store.hosts().await?;
        Ok(Self {
            tree: store.site_tree().await?,
            hosts: hosts.into_iter().map(|host| (host.id, host)).collect(),
        })
    }

    fn hostname(&self, id: HostId) -> String {
        let host = self.hosts.get(&id);
        host.map_or_else(|| format!("#{id}"), |host| host.hostname.clone())
    }

    fn is_heard(&self, id: HostId, now_ms: i64) -> bool {
        let seen =
            |host: &Host| host.revoked_ms.is_none() && now_ms - host.last_seen_ms <= HEARD_MS;
        self.hosts.get(&id).is_some_and(seen)
    }

    fn line<'d>(&self, device: &'d Device, now_ms: i64) -> DeviceLine<'d> {
        DeviceLine {
            hostname: self.hostname(device.host),
            state: device.state_at(now_ms, self.is_heard(device.host, now_ms)),
            device,
        }
    }
}

async fn site_of(store: &Store, key: Option<&str>) -> Result<Option<Site>> {
    let Some(key) = key else {
        return Ok(None);
    };
    let site = store.site_by_key(key).await?;
    let site = site.with_context(|| format!("there is no site {key:?}: see `sites list`"))?;
    Ok(Some(site))
}

async fn export_events(store: &Store, which: &Events) -> Result<()> {
    let named = Named::of(store).await?;
    let site = site_of(store, which.site.as_deref()).await?;
    let language = which.lang;
    let mut query = EventQuery {
        site: site.map(|site| site.id),
        host: which.host.map(HostId),
        device: None,
        stream: match which.stream {
            WhichStream::Security => Some(EventStream::Security),
            WhichStream::Events => Some(EventStream::Events),
            WhichStream::All => None,
        },
        kinds: which.kind.iter().cloned().collect(),
        least_severity: which.severity,
        text: which.search.clone(),
        from_ms: which.from,
        to_ms: which.to,
        up_to: Some(store.newest_event().await?),
        after: None,
        limit: SLICE,
    };
    let mut list = ListFile::begin(&which.file, &language.header(&EVENT_HEADER))?;
    let mut gaps = gaps_among(store, &query, &named).await?;
    let sight = EventSight::all(&Scope::Province);
    let gap_line = |gap: &Gap| {
        let site = named.hosts.get(&gap.host).map(|host| host.site);
        event_gap_row(gap, &named.hostname(gap.host), site, &named.tree, language)
    };
    loop {
        let page = store.search_events_seen(&query, &sight).await?;
        let mut rows = Vec::new();
        for event in &page.events {
            while let Some(gap) = gaps.pop_if(|gap| end_of(gap) >= event.time_ms) {
                rows.push(gap_line(&gap));
            }
            rows.push(event_row(event, &named.tree, language));
        }
        query.after = page.next;
        if query.after.is_none() {
            rows.extend(gaps.iter().rev().map(gap_line));
            list.push(rows)?;
            break;
        }
        list.push(rows)?;
    }
    let audit = by_console("events.export", "");
    let audit = match told(which) {
        filter if filter.is_empty() => audit,
        filter => audit.with("filter", filter),
    };
    list.finish(store, audit).await
}

/// The filter in words, for the audit log.
fn told(which: &Events) -> String {
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let stream = match which.stream {
        WhichStream::Security => Some("security".to_owned()),
        WhichStream::Events => Some("events".to_owned()),
        WhichStream::All => None,
    };
    let texts = [
        ("stream", stream),
        ("site", which.site.clone()),
        ("host", number(which.host)),
        ("kind", which.kind.clone()),
        (
            "severity",
            which.severity.map(|severity| severity.word().to_owned()),
        ),
        ("search", which.search.clone()),
        ("from", number(which.from)),
        ("to", number(which.to)),
    ];
    let texts = texts.into_iter();
    let texts = texts.filter_map(|(name, text)| Some(format!("{name}={}", text?)));
    texts.collect::<Vec<_>>().join("; ")
}

/// Where a gap stands among the events; 0 where nobody knows.
fn end_of(gap: &Gap) -> i64 {
    gap.to_ms.max(gap.from_ms)
}

/// Gaps of event streams; those that newer events stand before come last.
async fn gaps_among(store: &Store, query: &EventQuery, named: &Named) -> Result<Vec<Gap>> {
    let span = (query.from_ms.unwrap_or(0), query.to_ms.unwrap_or(i64::MAX));
    let sites = query.site.map(|site| named.tree.subtree(site));
    let asked = |gap: &Gap| {
        let stream = match query.stream {
            Some(stream) => gap.stream == stream.word(),
            None => EventStream::ALL
                .iter()
                .any(|stream| gap.stream == stream.word()),
        };
        let host = named.hosts.get(&gap.host);
        let below = sites
            .as_ref()
            .is_none_or(|sites| host.is_some_and(|host| sites.contains(&host.site)));
        stream && below
    };
    let (mut gaps, mut after) = (Vec::new(), None);
    loop {
        let page = store.gaps_page(query.host, &Scope::Province, span, after.as_ref(), SLICE);
        let page = page.await?;
        let full = page.len() == SLICE as usize;
        after = page.last().map(GapCursor::from);
        gaps.extend(page.into_iter().filter(asked));
        if !full {
            gaps.sort_by_key(end_of);
            return Ok(gaps);
        }
    }
}

async fn export_gaps(store: &Store, file: &Path, language: Language) -> Result<()> {
    let named = Named::of(store).await?;
    let mut list = ListFile::begin(file, &language.header(&GAP_HEADER))?;
    let mut after = None;
    loop {
        let page = store.gaps_page(None, &Scope::Province, (0, i64::MAX), after.as_ref(), SLICE);
        let page = page.await?;
        let rows = page.iter().map(|gap| {
            let site = named.hosts.get(&gap.host).map(|host| host.site);
            gap_row(gap, &named.hostname(gap.host), site, &named.tree, language)
        });
        list.push(rows.collect())?;
        if page.len() < SLICE as usize {
            break;
        }
        after = page.last().map(GapCursor::from);
    }
    list.finish(store, by_console("gaps.export", "")).await
}

async fn list(store: &Store) -> Result<()> {
    let (named, now_ms) = (Named::of(store).await?, now_ms());
    let mut query = DeviceQuery {
        limit: SLICE,
        ..DeviceQuery::default()
    };
    loop {
        let page = store.device_page(&query, &Scope::Province).await?;
        for device in &page.devices {
            let line = named.line(device, now_ms);
            let site = named.tree.get(device.site);
            say!(
                "{:>6}  {:<24} {:<11} last poll {}  by {}  {}",
                device.id,
                one_line(&device.name),
                line.state.word(),
                local_time(device.last_poll_ms),
                one_line(&line.hostname),
                site.map_or("?", |site| site.name.as_str())
            );
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}

async fn export_devices(
    store: &Store,
    file: &Path,
    site: Option<&str>,
    language: Language,
) -> Result<()> {
    let (named, now_ms) = (Named::of(store).await?, now_ms());
    let below = site_of(store, site).await?;
    let mut query = DeviceQuery {
        sites: below.map(|site| named.tree.subtree(site.id)),
        limit: SLICE,
        ..DeviceQuery::default()
    };
    let mut list = ListFile::begin(file, &language.header(&DEVICE_HEADER))?;
    loop {
        let page = store.device_page(&query, &Scope::Province).await?;
        let rows = page.devices.iter();
        let rows =
            rows.map(|device| device_row(&named.line(device, now_ms), &named.tree, language));
        list.push(rows.collect())?;
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let audit = by_console("devices.export", "");
    let audit = match site {
        None => audit,
        Some(site) => audit.with("filter", format!("site={site}")),
    };
    list.finish(store, audit).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_model::{DeviceState, EnrolmentToken, Severity};
    use xiezhi_store::{DeviceAnswer, DevicePoll, EventBatch, NewEvent, NewHost};

    async fn host(store: &Store, key: &str) -> HostId {
        let site = store.site_by_key(key).await.unwrap().unwrap().id;
        let token = EnrolmentToken {
            id: format!("t-{key}"),
            secret_hash: "x".to_owned(),
            site,
            uses: 1,
            uses_left: 1,
            expires_ms: now_ms() + 60_000,
            needs_approval: false,
            simulated: false,
            created_ms: now_ms(),
            created_by: "console".to_owned(),
            revoked_ms: None,
        };
        store
            .create_token(&token, by_console("token.create", ""))
            .await
            .unwrap();
        let id = store.reserve_host_id().await.unwrap();
        let new = NewHost {
            id,
            token: token.id,
            hostname: format!("host-{key}"),
            machine: key.to_owned(),
            evidence_key: key.to_owned(),
            policy_root: String::new(),
            version: "0.1.0".to_owned(),
            certificate: xiezhi_model::CertificateRecord {
                serial: key.to_owned(),
                host: id,
                not_before_s: 0,
                not_after_s: 1,
                issued_ms: now_ms(),
                revoked_ms: None,
                chain_pem: String::new(),
            },
        };
        let made = store.enrol(&new, now_ms(), by_console("host.enrolled", ""));
        made.await.unwrap().id
    }

    #[tokio::test]
    async fn events_gaps_and_devices_become_files_without_a_browser() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let url = format!("sqlite://{}", path("state.db").display());
        let store = Store::open(&url).await.unwrap();
        let courts = xiezhi_inventory::demo_courts().unwrap();
        store
            .import_sites(&courts, by_console("sites.import", ""))
            .await
            .unwrap();
        let (one, other) = (host(&store, "gs-01").await, host(&store, "gs-02").await);
        for host in [one, other] {
            let events = (0..2).map(|at| NewEvent {
                time_ms: 1_760_000_000_000 + at * 1000,
                kind: "login_failed".to_owned(),
                severity: Severity::Warning,
                message: format!("=message {at} of {host}"),
                fields: BTreeMap::new(),
            });
            let batch = EventBatch {
                host,
                epoch: 1,
                stream: EventStream::Security,
                seq: 1,
                checksum: 1,
                events: events.collect(),
                facts: None,
                proof: None,
            };
            store.insert_batches(&[batch], now_ms()).await.unwrap();
            let gap = Gap {
                host,
                epoch: 1,
                stream: "security".to_owned(),
                first: 2,
                last: 3,
                from_ms: 1_760_000_000_100,
                to_ms: 1_760_000_000_200,
                reason: "full".to_owned(),
            };
            store.insert_gaps(&[gap], now_ms()).await.unwrap();
            let poll = DevicePoll {
                id: None,
                host,
                name: format!("core-{host}"),
                time_ms: now_ms(),
                answer: Some(DeviceAnswer {
                    state: DeviceState::Silent,
                    problem: "no_answer".to_owned(),
                    every_s: 60,
                    said: None,
                }),
            };
            store.note_polls(&[poll]).await.unwrap();
        }
        let lines = |name: &str| {
            let text = std::fs::read_to_string(path(name)).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let which = |name: &str, site: Option<&str>| Events {
            file: path(name),
            stream: WhichStream::All,
            site: site.map(str::to_owned),
            host: None,
            kind: Some("login_failed".to_owned()),
            severity: None,
            search: None,
            from: None,
            to: None,
            lang: Language::Chinese,
        };
        export_events(&store, &which("all.csv", None))
            .await
            .unwrap();
        let all = lines("all.csv");
        // Newest first: two events, the gaps between them, two events.
        assert_eq!(all.len(), 1 + 4 + 2, "{all:#?}");
        assert!(
            all[1].contains("'=message 1") && all[3].contains("记录缺口"),
            "{all:#?}"
        );
        assert!(all[5].contains("=message 0"), "{all:#?}");
        export_events(&store, &which("one.csv", Some("gs-01")))
            .await
            .unwrap();
        let some = lines("one.csv");
        assert_eq!(some.len(), 1 + 2 + 1);
        assert!(
            some.iter().skip(1).all(|line| line.contains("host-gs-01")),
            "{some:#?}"
        );
        let unknown = export_events(&store, &which("none.csv", Some("nowhere"))).await;
        assert!(format!("{:#}", unknown.unwrap_err()).contains("sites list"));

        export_gaps(&store, &path("gaps.csv"), Language::English)
            .await
            .unwrap();
        assert_eq!(lines("gaps.csv").len(), 3);
        let site = Some("gs-02");
        export_devices(&store, &path("devices.csv"), site, Language::English)
            .await
            .unwrap();
        let devices = lines("devices.csv");
        assert_eq!(devices.len(), 2);
        assert!(devices[1].contains(&format!("core-{other}")), "{devices:?}");
        list(&store).await.unwrap();

        let told = store.audit(&Default::default()).await.unwrap();
        let told: Vec<_> = told
            .iter()
            .take(4)
            .map(|one| (&*one.action, &*one.detail["rows"]))
            .collect();
        assert_eq!(
            told,
            [
                ("devices.export", "1"),
                ("gaps.export", "2"),
                ("events.export", "3"),
                ("events.export", "6")
            ]
        );
    }
}
