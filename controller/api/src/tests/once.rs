//! Writes that their callers name are done once.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use xiezhi_model::{AccountChange, Grant, Role};

use super::bench::*;

const DAY_MS: i64 = 24 * 3_600_000;

async fn ask(bench: &Bench, cookie: &str, key: &str, path: &str, body: Value) -> Got {
    let mut asked = request(Method::POST, path, cookie, Some(body));
    let key = key.parse().unwrap();
    asked.headers_mut().insert("idempotency-key", key);
    bench.ask(asked).await
}

fn is_replayed(got: &Got) -> bool {
    got.headers.contains_key("idempotency-replayed")
}

async fn new_token(bench: &Bench, uses: u32) -> Value {
    let site = bench.site("gs-01").await.id.0;
    json!({"site": site, "uses": uses, "expires_in_s": 3600})
}

async fn tokens(bench: &Bench, cookie: &str) -> usize {
    let list = bench.read(cookie, "/api/v1/tokens").await;
    list["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_named_write_is_done_once_and_answered_alike_for_a_day() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let body = new_token(&bench, 1).await;
    let path = "/api/v1/tokens";
    let first = ask(&bench, &cookie, "k-1", path, body.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!is_replayed(&first));
    let again = ask(&bench, &cookie, "k-1", path, body.clone()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert!(is_replayed(&again));
    assert_eq!(tokens(&bench, &cookie).await, 1);
    // Another name is another thing to be done, and names keep their case.
    for key in ["k-2", "K-1"] {
        let other = ask(&bench, &cookie, key, path, body.clone()).await;
        assert!(
            other.status.is_success() && other.body != first.body,
            "{key}"
        );
    }
    bench.advance_ms(DAY_MS);
    let cookie = bench.sign_in().await;
    let later = ask(&bench, &cookie, "k-1", path, body).await;
    assert!(!is_replayed(&later) && later.body != first.body);
    assert_eq!(tokens(&bench, &cookie).await, 4);
}

#[tokio::test]
async fn a_name_that_is_used_for_something_else_is_refused() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let path = "/api/v1/tokens";
    let body = new_token(&bench, 1).await;
    ask(&bench, &cookie, "k", path, body.clone()).await;
    let other = ask(&bench, &cookie, "k", path, new_token(&bench, 2).await).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.code(), "key_reused");
    // Somebody else's name is their own.
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (_, neighbour) = bench.account("neighbour", &grants).await;
    let theirs = ask(&bench, &neighbour, "k", path, body).await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    assert!(!is_replayed(&theirs));
}

#[tokio::test]
async fn a_named_file_of_megabytes_is_looked_at_once_within_its_own_bound() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let path = format!("/api/v1/imports?kind=assets&site={site}");
    let upload = async |text: String| {
        let mut asked = request(Method::POST, &path, &cookie, None);
        *asked.body_mut() = Body::from(text);
        let key = "k".parse().unwrap();
        asked.headers_mut().insert("idempotency-key", key);
        bench.ask(asked).await
    };
    // A column that is no field is left out, whatever it holds.
    let megabytes = format!("code,name,extra\nA-1,x,{}\n", "y".repeat(2 << 20));
    let first = upload(megabytes.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.json());
    let again = upload(megabytes).await;
    assert!(is_replayed(&again));
    assert_eq!(again.body, first.body);
    assert_eq!(
        upload("code,name\nA-2,y\n".to_owned()).await.code(),
        "key_reused"
    );
    let list = bench.read(&cookie, "/api/v1/imports").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let large = upload("x".repeat((16 << 20) + 1)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_refusal_is_not_kept_and_its_name_is_free_again() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let path = "/api/v1/tokens";
    let bad = ask(&bench, &cookie, "k", path, new_token(&bench, 0).await).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let good = ask(&bench, &cookie, "k", path, new_token(&bench, 1).await).await;
    assert_eq!(good.status, StatusCode::CREATED);
    for key in ["", "with blanks", &"k".repeat(129)] {
        let got = ask(&bench, &cookie, key, path, json!({})).await;
        assert_eq!(got.code(), "bad_key", "{key}");
    }
}

#[tokio::test]
async fn while_a_named_write_is_being_done_its_twin_waits_its_turn() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let body = json!({"name": "wang.fang"});
    // Nobody's password is made before these are given back.
    let checks = std::sync::Arc::clone(&bench.state.inner.password_checks);
    let held = checks.clone().acquire_many_owned(2).await.unwrap();
    let path = "/api/v1/users";
    let one = Box::pin(ask(&bench, &cookie, "k", path, body.clone()));
    let two = Box::pin(ask(&bench, &cookie, "k", path, body.clone()));
    let first = futures_util::future::select(one, two).await;
    let (twin, other) = first.factor_first();
    assert_eq!(
        (twin.status, twin.code()),
        (StatusCode::CONFLICT, "in_progress".into())
    );
    drop(held);
    let made = other.await;
    assert_eq!(made.status, StatusCode::CREATED);
    let again = ask(&bench, &cookie, "k", path, body).await;
    assert!(is_replayed(&again));
    // The password that is shown once is the same, and the database does not give it away.
    assert_eq!(again.json()["password"], made.json()["password"]);
}

#[tokio::test]
async fn a_write_whose_controller_ended_meanwhile_is_not_done_twice() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let path = "/api/v1/users";
    let body = json!({"name": "wang.fang"});
    let checks = std::sync::Arc::clone(&bench.state.inner.password_checks);
    let _held = checks.acquire_many_owned(2).await.unwrap();
    // Its caller hangs up while it waits; nothing finishes it here.
    let twins = [
        Box::pin(ask(&bench, &cookie, "k", path, body.clone())),
        Box::pin(ask(&bench, &cookie, "k", path, body.clone())),
    ];
    futures_util::future::select_all(twins).await;
    bench.advance_ms(120_000);
    let got = ask(&bench, &cookie, "k", path, body).await;
    assert_eq!(
        (got.status, got.code()),
        (StatusCode::CONFLICT, "outcome_unknown".into())
    );
}

/// Who may change accounts is decided in the handler, by another permission than the route's.
#[tokio::test]
async fn an_answer_is_not_given_again_to_who_lost_the_right_to_it() {
    let bench = Bench::new().await;
    let administrator = Grant::province(Role::ProvinceAdministrator);
    let (carl, cookie) = bench.account("carl", &[administrator]).await;
    let (user, _) = bench.account("te.one", &[]).await;
    let path = format!("/api/v1/users/{user}/changes");
    let body = json!({"change": "reset_password"});
    let first = ask(&bench, &cookie, "k7", &path, body.clone()).await;
    assert!(first.json()["password"].is_string(), "{first:?}");
    assert!(is_replayed(
        &ask(&bench, &cookie, "k7", &path, body.clone()).await
    ));
    for (change, hash) in [
        (AccountChange::Withdraw(administrator), None),
        (
            AccountChange::Grant(Grant::province(Role::AuditAdministrator)),
            Some("x"),
        ),
    ] {
        let changed = bench
            .store
            .change_account(carl, change, None, hash, by_system("x"));
        changed.await.unwrap();
    }
    let own = bench.store.set_password(carl, "own", None, by_system("x"));
    own.await.unwrap();
    let cookie = bench.session_of(carl).await;
    for (key, code) in [("k8", "not_allowed"), ("k7", "key_reused")] {
        let got = ask(&bench, &cookie, key, &path, body.clone()).await;
        assert_eq!(got.code(), code);
        assert!(got.json()["password"].is_null());
    }
}
