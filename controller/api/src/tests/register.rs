//! The register over HTTP: items, spreadsheets in and out, labels.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_model::{AccountChange, Grant, Role, Scope};
use xiezhi_store::AuditQuery;

use super::bench::{Bench, Got, by_system, request};

async fn upload(bench: &Bench, cookie: &str, query: &str, body: impl Into<Body>) -> Got {
    let asked = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/imports?{query}"))
        .header(header::COOKIE, cookie)
        .header("x-xiezhi-request", "1")
        .body(body.into());
    bench.ask(asked.unwrap()).await
}

const ROOMS: &str = "房间编号,房间名称,单位,用途\n301,机房,gs-01,机房\n";

#[tokio::test]
async fn a_spreadsheet_is_looked_at_imported_and_taken_back() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let rooms = upload(&bench, &cookie, "kind=rooms&name=a.csv", ROOMS)
        .await
        .json();
    assert_eq!(rooms["added"], 1);
    let apply = format!("/api/v1/imports/{}/apply", rooms["id"]);
    let digest = json!({"digest": rooms["digest"]});
    assert_eq!(
        bench.post(&cookie, &apply, digest).await.status,
        StatusCode::OK
    );

    let wrong = "code,name,site,room,warranty\nA-1,x,gs-01,999,2027-01-01\nA-2,,gs-01,,soon\n";
    let seen = upload(&bench, &cookie, "kind=assets", wrong).await.json();
    assert_eq!(seen["id"], Value::Null);
    let words: Vec<_> = seen["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["word"])
        .collect();
    assert_eq!(words, ["empty", "no_date"]);
    let wrong = "code,name,site,room\nA-1,x,gs-01,999\n";
    let seen = upload(&bench, &cookie, "kind=assets", wrong).await.json();
    let problem = &seen["problems"][0];
    assert_eq!(
        (problem["word"].as_str(), problem["column"].as_str()),
        (Some("unknown_code"), Some("D"))
    );
    assert_eq!(
        (problem["field"].as_str(), problem["found"].as_str()),
        (Some("room"), Some("999"))
    );

    let good = "code,name,room\nA-1,=cmd,301\nA-2,打印机,\n";
    let site = bench.site("gs-01").await.id;
    let query = format!("kind=assets&site={site}&name=%E8%B5%84%E4%BA%A7.csv");
    let seen = upload(&bench, &cookie, &query, good).await;
    assert_eq!(seen.status, StatusCode::CREATED);
    let seen = seen.json();
    let path = format!("/api/v1/imports/{}", seen["id"]);
    let again = bench.read(&cookie, &path).await;
    assert_eq!(
        (&again["digest"], &again["rows"]),
        (&seen["digest"], &seen["rows"])
    );
    let other = bench
        .post(&cookie, &format!("{path}/apply"), json!({"digest": "x"}))
        .await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    let done = bench
        .post(
            &cookie,
            &format!("{path}/apply"),
            json!({"digest": seen["digest"]}),
        )
        .await
        .json();
    assert_eq!(
        (done["state"].as_str(), done["added"].as_i64()),
        (Some("applied"), Some(2))
    );
    let file = bench
        .get(&cookie, "/api/v1/register/assets/export?q=cmd")
        .await;
    let text = String::from_utf8_lossy(&file.body).into_owned();
    assert!(
        text.contains("gs-01,A-1,'=cmd,") && !text.contains("A-2"),
        "{text}"
    );

    let undone = bench
        .post(&cookie, &format!("{path}/undo"), json!({}))
        .await;
    assert_eq!(undone.json()["state"], "undone");
    let left = bench.read(&cookie, "/api/v1/register/assets").await;
    assert_eq!(left["items"], json!([]));
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    let acts: Vec<&str> = audit
        .iter()
        .take(4)
        .map(|one| one.action.as_str().trim_start_matches("register."))
        .collect();
    assert_eq!(acts, ["undo", "export", "import", "upload"]);

    let give_up = async |path: &str| {
        let asked = request(Method::DELETE, path, &cookie, None);
        bench.ask(asked).await
    };
    assert_eq!(give_up(&path).await.code(), "over", "it is done");
    let other = upload(&bench, &cookie, &query, "code,name\nA-3,x\n").await;
    let dropped = format!("/api/v1/imports/{}", other.json()["id"]);
    assert_eq!(give_up(&dropped).await.status, StatusCode::NO_CONTENT);
    assert_eq!(give_up(&dropped).await.code(), "not_found");
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    assert_eq!(
        (audit[0].actor.as_str(), audit[0].action.as_str()),
        ("user:admin", "register.give_up")
    );
}

#[tokio::test]
async fn an_asset_is_made_changed_by_who_saw_it_and_has_a_label_and_a_history() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let wanted = json!({"site": site, "values": {"code": "A-1", "name": "<b>服务器</b>"}});
    let made = bench
        .post(&cookie, "/api/v1/register/assets", wanted.clone())
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let twice = bench.post(&cookie, "/api/v1/register/assets", wanted).await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    let path = format!("/api/v1/register/assets/{}", made["id"]);
    let change = |version: &Value, state: &str| {
        let values = json!({"code": "A-1", "name": "服务器", "state": state});
        let body = json!({"site": site, "version": version, "values": values});
        request(Method::PUT, &path, &cookie, Some(body))
    };
    let done = bench.ask(change(&made["version"], "报废")).await;
    assert_eq!(done.json()["values"]["state"], "retired");
    let late = bench.ask(change(&made["version"], "in_use")).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    let wrong = bench.ask(change(&made["version"], "lost")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let told = &wrong.json()["fields"][0];
    assert_eq!(
        (&told["field"], &told["word"]),
        (&json!("state"), &json!("no_choice"))
    );
    let told = &twice.json()["fields"][0];
    assert_eq!(
        (&told["field"], &told["word"]),
        (&json!("code"), &json!("taken"))
    );

    let history = bench
        .read(&cookie, &format!("{path}/history?limit=1"))
        .await;
    assert_eq!(history["items"][0]["actor"], "user:admin");
    assert_eq!(history["items"][0]["changes"][1]["after"], "retired");
    let older = format!("{path}/history?before={}", history["next"]);
    assert_eq!(
        bench.read(&cookie, &older).await["items"][0]["action"],
        "create"
    );
    let label = bench
        .read(&cookie, &format!("/api/v1/labels/assets/{}", made["id"]))
        .await;
    let text = label["text"].as_str().unwrap();
    assert!(text.ends_with(&format!("/assets/{}", made["id"])), "{text}");
}

#[tokio::test]
async fn a_technician_imports_for_his_own_court_only_and_a_file_has_a_bound() {
    let bench = Bench::new().await;
    let site = bench.site("gs-01").await.id;
    let (_, cookie) = bench
        .account("tech", &[Grant::at(Role::Technician, site)])
        .await;
    let foreign = "code,name,site\n1,x,gs-02\n";
    let seen = upload(&bench, &cookie, "kind=rooms", foreign).await.json();
    assert_eq!(seen["problems"][0]["word"], "unknown_site");
    let huge = upload(&bench, &cookie, "kind=rooms", vec![b'x'; (16 << 20) + 1]).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    let other = upload(&bench, &cookie, "kind=chairs", ROOMS).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
}

/// A file whose first bytes have arrived and whose rest never does.
fn stuck(cookie: &str, path: &str, key: Option<&str>) -> Request<Body> {
    let first = Ok::<_, std::io::Error>(axum::body::Bytes::from_static(b"code,"));
    let begun = futures_util::stream::iter([first]);
    let body = futures_util::StreamExt::chain(begun, futures_util::stream::pending());
    let mut asked = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::COOKIE, cookie)
        .header("x-xiezhi-request", "1");
    if let Some(key) = key {
        asked = asked.header("idempotency-key", key);
    }
    asked.body(Body::from_stream(body)).unwrap()
}

#[tokio::test]
async fn files_that_come_slowly_keep_nobody_from_importing() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let mut sending = Vec::new();
    for number in 0..10 {
        let grants = [Grant::province(Role::ProvinceAdministrator)];
        let (_, cookie) = bench.account(&format!("slow{number}"), &grants).await;
        for (path, key) in [
            ("/api/v1/imports?kind=rooms", Some("k")),
            ("/api/v1/site-imports", None),
        ] {
            sending.push(tokio::spawn(bench.sender(stuck(&cookie, path, key))));
        }
        let wanted = sending.len();
        while bench.state.inner.uploads.sending() < wanted {
            tokio::task::yield_now().await;
        }
        if number == 0 {
            // The same account's third.
            let third = upload(&bench, &cookie, "kind=rooms", ROOMS).await;
            assert_eq!(third.code(), "too_many_uploads");
        }
        let mine = upload(&bench, &admin, "kind=rooms", ROOMS).await;
        assert_eq!(mine.status, StatusCode::CREATED, "{:?}", mine.json());
    }
    for one in &sending {
        assert!(!one.is_finished());
        one.abort();
    }
}

#[tokio::test]
async fn a_file_that_stops_coming_is_refused_and_a_right_that_went_meanwhile_is_gone() {
    let options = crate::ApiOptions {
        secure: false,
        request_timeout: std::time::Duration::from_secs(1),
        ..Default::default()
    };
    let bench = Bench::with(options).await;
    let site = bench.site("gs-01").await.id;
    let grant = Grant::at(Role::Technician, site);
    let (user, cookie) = bench.account("tech", &[grant]).await;
    let path = "/api/v1/imports?kind=rooms";
    let slow = bench.ask(stuck(&cookie, path, None)).await;
    assert_eq!(
        (slow.status, slow.code()),
        (StatusCode::REQUEST_TIMEOUT, "too_slow".into())
    );

    let (sender, pieces) = tokio::sync::mpsc::channel(1);
    let next = |mut pieces: tokio::sync::mpsc::Receiver<&'static str>| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), pieces))
    };
    let body = Body::from_stream(futures_util::stream::unfold(pieces, next));
    let mut asked = request(Method::POST, path, &cookie, None);
    *asked.body_mut() = body;
    let asked = tokio::spawn(bench.sender(asked));
    while bench.state.inner.uploads.sending() == 0 {
        tokio::task::yield_now().await;
    }
    sender.send(ROOMS).await.unwrap();
    let withdraw = AccountChange::Withdraw(grant);
    let gone = bench
        .store
        .change_account(user, withdraw, None, None, by_system("x"));
    gone.await.unwrap();
    drop(sender);
    assert_eq!(asked.await.unwrap().status, StatusCode::UNAUTHORIZED);
    let left = bench
        .store
        .imports(&Scope::Province, Default::default())
        .await
        .unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn a_row_for_a_retired_court_is_refused_in_its_cell() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01-03").await;
    let path = format!("/api/v1/sites/{}", site.id);
    let wanted = json!({"name": site.name, "tier": site.tier.word(), "parent": site.parent.map(|id| id.0),
        "code": site.court_code, "retired": true, "version": site.version});
    let retired = bench
        .ask(request(Method::PUT, &path, &cookie, Some(wanted)))
        .await;
    assert_eq!(retired.status, StatusCode::OK, "{}", retired.json());
    let rows = "code,name,site\n1,x,gs-01\n2,y,gs-01-03\n";
    let seen = upload(&bench, &cookie, "kind=rooms", rows).await.json();
    assert_eq!(seen["id"], Value::Null);
    let problem = &seen["problems"][0];
    assert_eq!(
        (&problem["word"], &problem["line"], &problem["column"]),
        (&json!("retired_site"), &json!(3), &json!("C"))
    );
    // What is at the end of its life is written down wherever it was.
    let rows = "code,name,site,state\n2,y,gs-01-03,retired\n";
    let seen = upload(&bench, &cookie, "kind=rooms", rows).await;
    assert_eq!(seen.status, StatusCode::CREATED);
    let wanted = json!({"name": "wang.fang", "home": site.id.0});
    let made = bench.post(&cookie, "/api/v1/users", wanted).await;
    assert_eq!(
        (made.status, made.code()),
        (StatusCode::CONFLICT, "retired".into())
    );
}
