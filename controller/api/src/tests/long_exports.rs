//! Lists of several thousand rows as files: slices, turns, rights that go, and what the log says.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt as _;
use xiezhi_inventory::export::MOST_SHEET_ROWS;
use xiezhi_model::{AccountChange, AuditRecord, Field, Grant, RegisterKind, Role, SiteId, Values};
use xiezhi_store::{ImportRow, Store};

use super::bench::{Bench, by_system, request};

const ASSETS: &str = "/api/v1/register/assets/export";

/// Writes down so many assets of a site, as imports do.
async fn assets(store: &Store, site: SiteId, codes: std::ops::Range<u32>) {
    let row = |number: u32| {
        let pair = |field, text: String| (field, text);
        let values = [
            pair(Field::Code, format!("A-{number:06}")),
            pair(Field::Name, "交换机".to_owned()),
            // Which no two have in common, so that files do not shrink to nothing.
            pair(
                Field::Serial,
                format!(
                    "{:016X}",
                    u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
                ),
            ),
        ];
        ImportRow {
            line: number + 2,
            site,
            values: Values::from(values),
        }
    };
    let rows: Vec<ImportRow> = codes.map(row).collect();
    let (kind, sites) = (RegisterKind::Asset, [site].into());
    let kept = store.keep_import(kind, "f", "[]", &sites, by_system("register.upload"));
    let id = kept.await.unwrap();
    let digest = store.plan_import(kind, &rows).await.unwrap().digest();
    let done = store.apply_import(id, &rows, &digest, by_system("register.import"));
    done.await.unwrap();
}

async fn newest(bench: &Bench) -> AuditRecord {
    bench
        .store
        .audit(&Default::default())
        .await
        .unwrap()
        .remove(0)
}

fn told<'a>(record: &'a AuditRecord, name: &str) -> &'a str {
    record.detail.get(name).map_or("", String::as_str)
}

#[tokio::test]
async fn a_list_of_several_slices_is_whole_and_the_log_says_who_took_how_much_of_what() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    for (key, codes) in [("gs-01", 0..2500), ("gs-02", 2500..3001)] {
        let site = bench.site(key).await.id;
        assets(&bench.store, site, codes).await;
    }
    let whole = bench.get(&admin, ASSETS).await;
    assert_eq!(whole.headers["xiezhi-rows"], "3001");
    let text = String::from_utf8(whole.body.to_vec()).unwrap();
    let mut codes: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(codes.len(), 3001);
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 3001, "none twice");
    let entry = newest(&bench).await;
    assert_eq!(
        (entry.actor.as_str(), entry.action.as_str()),
        ("user:admin", "register.export")
    );
    assert_eq!(entry.subject, "assets");
    let words = ["format", "rows", "filter"].map(|name| told(&entry, name));
    assert_eq!(words, ["csv", "3001", ""]);

    // The same in fewer bytes, for who takes that.
    let mut asked = request(Method::GET, ASSETS, &admin, None);
    asked
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    let small = bench.ask(asked).await;
    assert_eq!(small.headers[header::CONTENT_ENCODING], "gzip");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&small.body[..])
        .read_to_string(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, text);
    assert!(small.body.len() * 2 < text.len());

    let site = bench.site("gs-02").await.id;
    let path = format!("{ASSETS}?site={site}&format=xlsx&q=A-0025");
    let some = bench.get(&admin, &path).await;
    assert_eq!(some.headers["xiezhi-rows"], "100");
    let length = some.headers[header::CONTENT_LENGTH].to_str().unwrap();
    assert_eq!(length, some.body.len().to_string());
    let entry = newest(&bench).await;
    let words = ["format", "rows", "filter"].map(|name| told(&entry, name));
    let filter = format!("site={site}; q=A-0025");
    assert_eq!(words, ["xlsx", "100", filter.as_str()]);

    for (path, action) in [
        ("/api/v1/hosts/export", "hosts.export"),
        ("/api/v1/sites/export", "sites.export"),
        ("/api/v1/users/export?format=xlsx", "users.export"),
    ] {
        let got = bench.get(&admin, path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        let entry = newest(&bench).await;
        assert_eq!(entry.action, action);
        let rows = got.headers["xiezhi-rows"].to_str().unwrap();
        assert_eq!(told(&entry, "rows"), rows, "{path}");
    }
}

#[tokio::test]
async fn a_sheet_of_too_many_rows_is_refused_before_anything_is_made_or_written_down() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = bench.site("gs-01").await.id;
    let most = MOST_SHEET_ROWS as u32;
    assets(&bench.store, site, 0..most).await;
    let full = bench.get(&admin, &format!("{ASSETS}?format=xlsx")).await;
    assert_eq!(full.status, StatusCode::OK);
    assets(&bench.store, site, most..most + 1).await;
    let before = newest(&bench).await;
    let got = bench.get(&admin, &format!("{ASSETS}?format=xlsx")).await;
    assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(got.code(), "too_many_rows");
    assert_eq!(newest(&bench).await.position, before.position);
    let got = bench.get(&admin, ASSETS).await;
    assert_eq!(got.headers["xiezhi-rows"], (most + 1).to_string());
}

/// Reads pieces until nothing more comes; whether that was the end.
async fn read_on(body: &mut axum::body::BodyDataStream) -> Result<usize, ()> {
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        bytes += piece.map_err(drop)?.len();
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_right_that_goes_while_a_file_is_read_cuts_it_off() {
    let bench = Bench::new().await;
    let site = bench.site("gs-01").await.id;
    assets(&bench.store, site, 0..5000).await;
    for format in ["csv", "xlsx"] {
        let grant = Grant::at(Role::CourtAdministrator, site);
        let (user, cookie) = bench.account(&format!("leaver-{format}"), &[grant]).await;
        let path = format!("{ASSETS}?format={format}");
        let begin = async || {
            let response = bench.send(request(Method::GET, &path, &cookie, None)).await;
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().into_data_stream()
        };
        let mut whole = begin().await;
        let bytes = read_on(&mut whole).await.expect("the whole file");
        drop(whole);
        let mut cut = begin().await;
        let first = cut.next().await.unwrap().unwrap().len();
        assert!(first < bytes, "more is to come of {format}");
        let withdraw = AccountChange::Withdraw(grant);
        let store = &bench.store;
        let gone = store.change_account(user, withdraw, None, None, by_system("x"));
        gone.await.unwrap();
        assert!(read_on(&mut cut).await.is_err(), "{format}");
        drop(cut);
        assert_eq!(bench.state.inner.exports.open_of(user), 0);
    }
}

#[tokio::test]
async fn slow_readers_have_four_files_and_workbooks_take_turns() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = bench.site("gs-01").await.id;
    assets(&bench.store, site, 0..3000).await;
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (user, slow) = bench.account("slow", &grants).await;
    let ask =
        |cookie: &str, path: &str| -> Request<Body> { request(Method::GET, path, cookie, None) };
    // Read by nobody, and still open.
    let mut held = Vec::new();
    for path in [ASSETS, "/api/v1/sites/export"].repeat(2) {
        let response = bench.send(ask(&slow, path)).await;
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
    let fifth = bench.get(&slow, ASSETS).await;
    assert_eq!(fifth.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fifth.code(), "too_many_exports");
    let entry = newest(&bench).await;
    assert_eq!(
        (entry.actor.as_str(), entry.action.as_str()),
        ("user:slow", "request.refuse")
    );
    assert_eq!(told(&entry, "code"), "too_many_exports");
    let other = bench.get(&admin, ASSETS).await;
    assert_eq!(other.status, StatusCode::OK);
    held.clear();

    // One that makes workbook after workbook has one of the two turns.
    let exports = &bench.state.inner.exports;
    let own = exports.workbooks().take(user).await.unwrap();
    let path = format!("{ASSETS}?format=xlsx");
    let second = tokio::spawn(bench.sender(ask(&slow, &path)));
    while exports.open_of(user) == 0 {
        tokio::task::yield_now().await;
    }
    while exports.workbooks().standing(user) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let third = bench.get(&slow, &path).await;
    assert_eq!(third.code(), "too_many_exports");
    let other = bench.get(&admin, &path).await;
    assert_eq!(other.status, StatusCode::OK);
    assert!(!second.is_finished());
    drop(own);
    assert_eq!(second.await.unwrap().status, StatusCode::OK);
}
