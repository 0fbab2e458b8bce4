//! Lists as files: the same rows as the list, in both shapes, for whoever may see them.

use std::io::Cursor;

use axum::http::{Method, StatusCode, header};
use calamine::{Data, Reader as _};
use serde_json::json;
use xiezhi_model::{Grant, Role};

use super::bench::{Bench, Got, request};

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
