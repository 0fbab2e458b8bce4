//! Resources that are read.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};
use xiezhi_model::{EventStream, Gap, Grant, Host, Role, Severity};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::report::Report;
use xiezhi_series::Frame;
use xiezhi_store::{EventBatch, NewEvent};

use super::bench::{Bench, START_MS};

fn ids(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn pages_of_hosts_hold_each_host_once_in_every_order() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    for number in 0..25 {
        let site = ["gs", "gs-01", "gs-01-01"][number % 3];
        bench
            .host(site, &format!("host-{:02}", number / 2), number % 2 == 0)
            .await;
    }
    let orders = [
        "hostname",
        "site",
        "presence",
        "cpu",
        "version",
        "skew",
        "last_report",
    ];
    for (order, direction) in orders.iter().flat_map(|o| [(o, "asc"), (o, "desc")]) {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/hosts?limit=7&sort={order}&order={direction}{cursor}");
            let page = bench.read(&cookie, &path).await;
            assert_eq!(page["total"], 25);
            seen.extend(ids(&page));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        let once: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), once.len()), (25, 25), "{order} {direction}");
    }
}

#[tokio::test]
async fn hosts_are_found_by_court_name_and_by_what_they_are() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let high = bench.host("gs", "alpha", false).await;
    let middle = bench.host("gs-01", "beta", true).await;
    let basic = bench.host("gs-01-01", "gamma", true).await;
    let lanzhou = bench.site("gs-01").await.id.0;
    let cases = [
        ("q=ALPH", vec![high.id.0]),
        ("q=%E5%9F%8E%E5%85%B3", vec![basic.id.0]),
        (&format!("site={lanzhou}"), vec![middle.id.0]),
        (
            &format!("site={lanzhou}&deep=true"),
            vec![middle.id.0, basic.id.0],
        ),
        ("real=true", vec![high.id.0]),
        ("presence=up", vec![]),
        ("presence=unknown&q=a&version=9", vec![]),
        ("conflict=true", vec![]),
    ];
    for (query, expected) in cases {
        let page = bench.read(&cookie, &format!("/api/v1/hosts?{query}")).await;
        assert_eq!(ids(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn the_overview_counts_what_is_there_and_rolls_courts_up() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let empty = bench.read(&cookie, "/api/v1/overview").await;
    assert_eq!(empty["counts"]["unknown"], 0);
    assert_eq!(empty["sites"]["total"], 113);
    bench.host("gs-01-01", "beta", true).await;
    let overview = bench.read(&cookie, "/api/v1/overview").await;
    assert_eq!(overview["counts"]["unknown"], 1);
    assert_eq!(overview["simulated"], 1);
    assert_eq!(overview["attention"][0]["reason"], "never_reported");
    let lanzhou = bench.site("gs-01").await.id.0;
    let page = bench
        .read(&cookie, &format!("/api/v1/sites/{lanzhou}"))
        .await;
    assert_eq!(page["site"]["hosts"]["unknown"], 0);
    assert_eq!(page["site"]["rollup"]["unknown"], 1);
    assert_eq!(page["path"].as_array().unwrap().len(), 1);
    let fleet = bench.read(&cookie, "/api/v1/fleet").await;
    assert_eq!(fleet["versions"][0]["hosts"], 1);
}

#[tokio::test]
async fn the_overview_of_a_part_counts_what_is_below_it_alone() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    bench.host("gs-01-01", "beta", false).await;
    bench.host("gs-02", "gamma", false).await;
    let part = |site: i64| format!("/api/v1/overview?site={site}");
    let lanzhou = bench.site("gs-01").await.id.0;
    let seen = bench.read(&cookie, &part(lanzhou)).await;
    assert_eq!(seen["counts"]["unknown"], 1);
    assert_eq!(seen["attention"][0]["hostname"], "beta");
    assert_eq!(seen["organisation"][0]["id"], lanzhou);
    assert!(!seen.to_string().contains("gamma"), "{seen}");
    let nowhere = bench.get(&cookie, &part(9_999)).await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
}

fn store_samples(bench: &Bench, host: &Host) {
    let mut encoder = Encoder::new(15_000);
    for step in 0..=8_i64 {
        let mut report = Report::new();
        report.start(START_MS + step * 15_000);
        for cpu in ["0", "1"] {
            let labels = [("cpu", cpu), ("mode", "user")];
            report
                .push("node_cpu_seconds_total", &labels, step as f64 * 3.0)
                .unwrap();
        }
        report.push("node_load1", &[], step as f64).unwrap();
        report.push("node_secret", &[], 1.0).unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(step as u64 + 1, &report, &mut bytes);
        let frame = Frame {
            host: host.id.0,
            epoch: 1,
            batch,
            key: step == 0,
            bytes: &bytes,
        };
        bench.series.append(&[frame]).unwrap();
    }
}

#[tokio::test]
async fn series_come_as_columns_with_rates_and_sums() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs", "alpha", false).await;
    store_samples(&bench, &host);
    let path = format!(
        "/api/v1/hosts/{}/series?match=node_cpu_seconds_total&match=node_load1&rate=true\
         &without=cpu&from={START_MS}&to={}",
        host.id,
        START_MS + 120_000
    );
    let found = bench.read(&cookie, &path).await;
    let series = found["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{found}");
    assert_eq!(series[0]["labels"]["mode"], "user");
    let rates: Vec<_> = series[0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(Value::as_f64)
        .collect();
    assert!(
        rates.len() >= 7 && rates.iter().all(|rate| (rate - 0.4).abs() < 1e-9),
        "{rates:?}"
    );
    let times = found["times"].as_array().unwrap().len();
    assert_eq!(series[1]["values"].as_array().unwrap().len(), times);
    let missing = bench
        .get(&cookie, "/api/v1/hosts/999/series?match=node_load1")
        .await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

fn event(time_ms: i64, kind: &str, severity: Severity) -> NewEvent {
    NewEvent {
        time_ms,
        kind: kind.to_owned(),
        severity,
        message: format!("something about {kind}"),
        fields: [("user".to_owned(), "root".to_owned())].into(),
    }
}

#[tokio::test]
async fn events_are_searched_by_page_with_the_gaps_of_their_time() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs-01-01", "alpha", false).await;
    let events: Vec<_> = (0..30)
        .map(|n| {
            let severity = if n % 10 == 0 {
                Severity::Critical
            } else {
                Severity::Info
            };
            event(
                START_MS - n * 1000,
                ["login", "sudo"][n as usize % 2],
                severity,
            )
        })
        .collect();
    let batch = EventBatch {
        host: host.id,
        epoch: 1,
        stream: EventStream::Security,
        seq: 1,
        checksum: 1,
        events,
        facts: Some("{\"hostname\": \"alpha\", \"new\": 1}".to_owned()),
        proof: None,
    };
    bench
        .store
        .insert_batches(&[batch], START_MS)
        .await
        .unwrap();
    let gap = Gap {
        host: host.id,
        epoch: 1,
        stream: "security".to_owned(),
        first: 5,
        last: 9,
        from_ms: START_MS - 25_500,
        to_ms: START_MS - 24_500,
        reason: "full".to_owned(),
    };
    bench.store.insert_gaps(&[gap], START_MS).await.unwrap();

    let first = bench.read(&cookie, "/api/v1/events?limit=20").await;
    assert_eq!(ids(&first).len(), 20);
    assert_eq!(
        first["gaps"].as_array().unwrap().len(),
        0,
        "the gap lies on the next page"
    );
    let next = first["next"].as_str().unwrap();
    let second = bench
        .read(&cookie, &format!("/api/v1/events?limit=20&cursor={next}"))
        .await;
    assert_eq!(ids(&second).len(), 10);
    assert_eq!(second["gaps"][0]["reason"], "full");
    assert_eq!(second["next"], Value::Null);

    let lanzhou = bench.site("gs-01").await.id.0;
    let path = format!("/api/v1/events?site={lanzhou}&kind=login&severity=critical&q=ROOT");
    assert_eq!(ids(&bench.read(&cookie, &path).await).len(), 3);
    // What was counted at the start is given for a moment, and everybody's share of one count.
    bench.advance_ms(120_000);
    let numbers = bench.read(&cookie, "/api/v1/overview").await;
    for (key, total) in [("gs-01-01", 30), ("gs-01-02", 0)] {
        let site = Some(bench.site(key).await.id);
        let role = Role::CourtAdministrator;
        let (_, cookie) = bench
            .account(&format!("of-{key}"), &[Grant { role, site }])
            .await;
        let numbers = bench.read(&cookie, "/api/v1/overview").await;
        assert_eq!(numbers["events_24h"]["total"], total, "{key}");
    }
    assert_eq!(numbers["events_24h"]["total"], 30);
    assert_eq!(numbers["events_24h"]["critical"], 3);
    assert_eq!(numbers["gaps_24h"]["batches"], 5);

    let facts = bench
        .read(&cookie, &format!("/api/v1/hosts/{}/facts", host.id))
        .await;
    assert_eq!(facts["facts"]["hostname"], "alpha");
    let gaps = bench
        .read(&cookie, &format!("/api/v1/gaps?host={}", host.id))
        .await;
    assert_eq!(gaps["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_list_and_its_file_are_of_the_person_the_time_and_the_item_that_are_asked_for() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let mut items = Vec::new();
    for code in ["301", "302"] {
        let room = json!({ "site": site, "values": { "code": code, "name": "机房" } });
        let made = bench.post(&cookie, "/api/v1/register/rooms", room).await;
        items.push(made.json()["id"].as_i64().unwrap());
    }
    let now_ms = bench.now_ms();
    let found = async |filter: &str| {
        let list = bench
            .read(&cookie, &format!("/api/v1/audit?{filter}"))
            .await;
        let shown = list["items"].as_array().unwrap().clone();
        let file = bench
            .get(&cookie, &format!("/api/v1/audit/sheet?{filter}"))
            .await;
        let rows = String::from_utf8(file.body.to_vec())
            .unwrap()
            .lines()
            .count()
            - 1;
        (shown, rows)
    };
    let (mine, rows) = found("actor=user:admin&action=register.").await;
    assert_eq!((mine.len(), rows), (2, 2));
    assert_eq!(found("actor=user:adm").await, (vec![], 0));
    assert_eq!(
        found(&format!("from={}", now_ms + 60_000)).await.0,
        Vec::<Value>::new()
    );
    assert_eq!(found("to=1").await, (vec![], 0));
    let (of_item, rows) = found(&format!("subject=rooms&item={}", items[0])).await;
    assert_eq!((of_item.len(), rows), (1, 1));
    assert_eq!(of_item[0], mine[1]);
}

#[tokio::test]
async fn the_audit_list_is_paged_and_its_chain_is_checked() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let all = bench.read(&cookie, "/api/v1/audit").await;
    let total = all["items"].as_array().unwrap().len();
    assert!(total >= 3);
    let first = bench.read(&cookie, "/api/v1/audit?limit=2").await;
    let next = first["next"].as_i64().unwrap();
    let rest = bench
        .read(&cookie, &format!("/api/v1/audit?limit=100&cursor={next}"))
        .await;
    assert_eq!(rest["items"].as_array().unwrap().len(), total - 2);
    let chain = bench.read(&cookie, "/api/v1/audit/chain").await;
    assert_eq!(chain["state"], "intact");
    assert_eq!(chain["position"].as_u64().unwrap(), total as u64);
    let settings = bench.read(&cookie, "/api/v1/settings").await;
    assert!(
        settings["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty()),
        "{settings}"
    );
}

#[tokio::test]
async fn the_audit_log_is_handed_out_as_a_file_that_holds_by_itself() {
    let bench = Bench::new().await;
    let grant = Grant::province(Role::AuditAdministrator);
    let (_, cookie) = bench.account("auditor", &[grant]).await;
    let got = bench.get(&cookie, "/api/v1/audit/export").await;
    assert_eq!(got.headers["content-type"], "application/x-ndjson");
    let head = bench.store.audit_head().await.unwrap();
    let found = xiezhi_evidence::verify_file("audit", &got.body[..], Some(head.hash));
    assert_eq!(found.unwrap().head, head);
}
