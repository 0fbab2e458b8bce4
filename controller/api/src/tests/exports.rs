//! Lists as files: the same rows as the list, in both shapes, for whoever may see them.

use std::io::Cursor;

use axum::http::{Method, StatusCode, header};
use calamine::{Data, Reader as _};
use serde_json::json;
use xiezhi_model::{EventStream, Gap, Grant, Role, Severity};
use xiezhi_store::{EventBatch, NewEvent};

use super::bench::{Bench, Got, request};
use super::devices::polled;

fn sheet(got: &Got) -> Vec<Vec<String>> {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let mut book = calamine::Xlsx::new(Cursor::new(got.body.to_vec())).unwrap();
    let name = book.sheet_names()[0].clone();
    let range = book.worksheet_range(&name).unwrap();
    let text = |cell: &Data| match cell {
        Data::String(text) => text.clone(),
        Data::Empty => String::new(),
        other => panic!("{other:?} is no text"),
    };
    range
        .rows()
        .map(|row| row.iter().map(text).collect())
        .collect()
}

/// Lines of cells without quotation marks of CSV's own: the tests' rows hold none.
fn lines(got: &Got) -> Vec<Vec<String>> {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().map(cells).collect()
}

async fn both(bench: &Bench, cookie: &str, path: &str) -> Vec<Vec<String>> {
    let and = if path.contains('?') { '&' } else { '?' };
    let csv = bench.get(cookie, path).await;
    let xlsx = bench.get(cookie, &format!("{path}{and}format=xlsx")).await;
    let name = xlsx.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert!(name.ends_with(".xlsx\""), "{name}");
    let unguarded = |cell: String| cell.strip_prefix('\'').map_or(cell.clone(), str::to_owned);
    let csv: Vec<Vec<String>> = lines(&csv)
        .into_iter()
        .map(|row| row.into_iter().map(unguarded).collect())
        .collect();
    assert_eq!(sheet(&xlsx), csv, "{path}");
    csv
}

#[tokio::test]
async fn every_list_is_a_file_of_what_its_reader_sees() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    bench.host("gs-01", "=alpha", false).await;
    bench.host("gs-02", "bravo", false).await;
    let site = bench.site("gs-01").await;
    let grants = [Grant::at(Role::CourtAdministrator, site.id)];
    let (_, court) = bench.account("zz-court", &grants).await;
    for (site, code) in [("gs-01", "A-1"), ("gs-02", "B-1")] {
        let site = bench.site(site).await.id.0;
        let wanted = json!({"site": site, "values": {"code": code, "name": "@SUM(1)"}});
        let made = bench.post(&admin, "/api/v1/register/assets", wanted).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }

    let hosts = both(
        &bench,
        &admin,
        "/api/v1/hosts/export?sort=hostname&order=desc",
    )
    .await;
    let names: Vec<&str> = hosts.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(names, ["主机名", "bravo", "=alpha"]);
    let raw = bench.get(&admin, "/api/v1/hosts/export").await;
    assert!(String::from_utf8_lossy(&raw.body).contains(",'=alpha,"));
    let hosts = both(&bench, &court, "/api/v1/hosts/export").await;
    assert_eq!((hosts.len(), hosts[1][1].as_str()), (2, "=alpha"));

    let sites = both(&bench, &admin, "/api/v1/sites/export").await;
    assert_eq!(sites.len(), 1 + 113);
    let sites = both(&bench, &court, "/api/v1/sites/export").await;
    assert!(sites[1..].iter().all(|row| row[0].starts_with("gs-01")));
    // The court above is not named.
    // An import refuses this; nothing there would move the court to the top.
    let above = "（上级不在可见范围内）";
    assert_eq!(
        (sites[1][0].as_str(), sites[1][3].as_str()),
        ("gs-01", above)
    );
    let one = both(&bench, &admin, "/api/v1/sites/export?q=gs-02").await;
    assert!(one.len() > 1 && one.len() < 20);

    let users = both(&bench, &admin, "/api/v1/users/export").await;
    assert_eq!(users.len(), 3);
    let users = both(&bench, &court, "/api/v1/users/export").await;
    assert_eq!(users[1][0], "zz-court");
    assert_eq!(users[1][4], format!("法院管理员（{}）", site.name));
    assert_eq!(users.len(), 2);

    let assets = both(&bench, &court, "/api/v1/register/assets/export").await;
    assert_eq!((assets.len(), assets[1][2].as_str()), (2, "@SUM(1)"));

    // In English for who asks for it, and what an import takes back is taken back in English too.
    for (path, header, word) in [
        ("hosts", "Host", "Unknown"),
        ("sites", "id", "intermediate_court"),
        ("users", "Account", "Court administrator"),
        ("register/assets", "site", "in_use"),
    ] {
        let path = format!("/api/v1/{path}/export?lang=en");
        let rows = both(&bench, &court, &path).await;
        assert_eq!(rows[0][0], header, "{path}");
        let says = |row: &Vec<String>| row.iter().any(|cell| cell.starts_with(word));
        assert!(rows[1..].iter().any(says), "{path}: {rows:?}");
    }

    let (_, auditor) = bench
        .account("zz-auditor", &[Grant::province(Role::AuditAdministrator)])
        .await;
    let audit = bench
        .get(
            &auditor,
            "/api/v1/audit/sheet?format=xlsx&action=register.create",
        )
        .await;
    let audit = sheet(&audit);
    assert_eq!((audit.len(), audit[1][3].as_str()), (3, "register.create"));
    // Taking it out is an entry too.
    let taken = |record: &xiezhi_model::AuditRecord| {
        let detail = record.detail.clone();
        (
            record.actor.clone(),
            detail["format"].clone(),
            detail.get("filter").cloned(),
        )
    };
    let newest = async || {
        bench
            .store
            .audit(&Default::default())
            .await
            .unwrap()
            .remove(0)
    };
    let by = || "user:zz-auditor".to_owned();
    let record = newest().await;
    assert_eq!(record.action, "audit.export");
    assert_eq!(
        taken(&record),
        (by(), "xlsx".into(), Some("action=register.create".into()))
    );
    let whole = bench.get(&auditor, "/api/v1/audit/export").await;
    let record = newest().await;
    assert_eq!(record.action, "audit.export");
    assert_eq!(taken(&record), (by(), "jsonl".into(), None));
    assert!(String::from_utf8_lossy(&whole.body).contains(&record.hash));
    let refused = bench.get(&court, "/api/v1/audit/sheet").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_hosts_report_leaves_as_files_within_the_readers_scope() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = bench.site("gs-01").await;
    let grants = [Grant::at(Role::CourtAdministrator, site.id)];
    let (_, court) = bench.account("zz-court", &grants).await;
    let (_, officer) = bench
        .account("zz-officer", &[Grant::at(Role::SecurityOfficer, site.id)])
        .await;
    let (_, reader) = bench
        .account("zz-reader", &[Grant::at(Role::ReadOnly, site.id)])
        .await;
    for (key, name) in [("gs-01", "alpha"), ("gs-02", "bravo")] {
        let host = bench.host(key, name, false).await;
        polled(&bench, host.id, &format!("={name}-core")).await;
        let now_ms = bench.now_ms();
        let event = |at: i64, message: &str| NewEvent {
            time_ms: now_ms - at * 1000,
            kind: "login_failed".to_owned(),
            severity: Severity::Warning,
            message: format!("{name} {message}"),
            fields: Default::default(),
        };
        let batch = |stream, seq, events| EventBatch {
            host: host.id,
            epoch: 1,
            stream,
            seq,
            checksum: 1,
            events,
            facts: None,
            proof: None,
        };
        let batches = [
            batch(
                EventStream::Security,
                1,
                vec![event(1, "new"), event(60, "old")],
            ),
            batch(EventStream::Events, 2, vec![event(30, "plain")]),
        ];
        bench.store.insert_batches(&batches, now_ms).await.unwrap();
        let gap = Gap {
            host: host.id,
            epoch: 1,
            stream: "security".to_owned(),
            first: 3,
            last: 4,
            from_ms: now_ms - 50_000,
            to_ms: now_ms - 40_000,
            reason: "full".to_owned(),
        };
        bench.store.insert_gaps(&[gap], now_ms).await.unwrap();
    }
    let column = |rows: &[Vec<String>], at: usize| -> Vec<String> {
        rows[1..].iter().map(|row| row[at].clone()).collect()
    };
    let events = both(&bench, &admin, "/api/v1/events/export?stream=all&lang=en").await;
    let messages = column(&events, 11);
    assert_eq!(messages.len(), 6 + 2, "{messages:?}");
    // Newest first, and the gap where nobody knows what was.
    let own: Vec<_> = events[1..].iter().filter(|row| row[4] == "alpha").collect();
    let kinds: Vec<&str> = own.iter().map(|row| row[10].as_str()).collect();
    assert_eq!(
        kinds,
        ["login_failed", "login_failed", "gap", "login_failed"]
    );
    assert!(
        own[2][11].starts_with("2 batches missing between"),
        "{own:?}"
    );

    // Who sees no security events has the plain ones; gaps are of hosts, and theirs who see those.
    let refused = bench.get(&reader, "/api/v1/events/export").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let plain = both(&bench, &reader, "/api/v1/events/export?stream=all").await;
    assert_eq!(column(&plain, 10), ["login_failed", "gap"]);
    assert_eq!(column(&plain, 11)[0], "alpha plain");
    let seen = both(&bench, &officer, "/api/v1/events/export?q=old").await;
    assert_eq!(seen.len(), 1 + 2, "{seen:?}");
    assert!(seen[1..].iter().all(|row| row[4] == "alpha"), "{seen:?}");
    let raw = bench.get(&officer, "/api/v1/events/export").await;
    assert_eq!(raw.headers["xiezhi-rows"], "3");

    let devices = both(&bench, &admin, "/api/v1/devices/export?q=core").await;
    assert_eq!(column(&devices, 1), ["=alpha-core", "=bravo-core"]);
    assert_eq!(column(&devices, 4), ["未知", "未知"]);
    let devices = both(
        &bench,
        &court,
        "/api/v1/devices/export?lang=en&state=unknown",
    )
    .await;
    assert_eq!(column(&devices, 1), ["=alpha-core"]);
    assert_eq!(
        (devices[1][4].as_str(), devices[1][13].as_str()),
        ("Unknown", "alpha")
    );
    let none = both(&bench, &court, "/api/v1/devices/export?state=silent").await;
    assert_eq!(none.len(), 1);
    let raw = bench.get(&court, "/api/v1/devices/export").await;
    assert!(String::from_utf8_lossy(&raw.body).contains(",'=alpha-core,"));

    let gaps = both(&bench, &admin, "/api/v1/gaps/export").await;
    assert_eq!(column(&gaps, 8), ["2", "2"]);
    let gaps = both(&bench, &court, "/api/v1/gaps/export?lang=en").await;
    assert_eq!(
        (column(&gaps, 1), gaps[1][11].as_str()),
        (vec!["alpha".to_owned()], "spool full")
    );

    let told = bench.store.audit(&Default::default()).await.unwrap();
    let told: Vec<_> = told
        .iter()
        .filter(|one| one.action.ends_with(".export"))
        .take(3)
        .map(|one| {
            (
                one.action.as_str(),
                one.detail["rows"].as_str(),
                one.actor.as_str(),
            )
        })
        .collect();
    let by = "user:zz-court";
    assert_eq!(
        told,
        [
            ("gaps.export", "1", by),
            ("gaps.export", "1", by),
            ("gaps.export", "2", "user:admin")
        ]
    );
}

#[tokio::test]
async fn a_file_of_no_known_shape_or_with_unknown_filters_is_refused() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    for query in [
        "format=pdf",
        "format=csv&format=xlsx",
        "formt=csv",
        "site=x",
        "lang=fr",
        "lang=zh&lang=en",
        "limit=5",
        "cursor=x",
    ] {
        let path = format!("/api/v1/hosts/export?{query}");
        let got = bench.ask(request(Method::GET, &path, &cookie, None)).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
