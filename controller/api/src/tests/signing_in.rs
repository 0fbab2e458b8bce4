//! Sessions: how they begin and how they end.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use serde_json::json;
use xiezhi_identity::password;
use xiezhi_model::{Grant, Role};
use xiezhi_store::AuditQuery;

use super::bench::{Bench, PASSWORD, by_system, cookie_of, new_user, request};
use crate::ApiOptions;

async fn actions(bench: &Bench) -> Vec<String> {
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    audit.into_iter().map(|record| record.action).collect()
}

#[tokio::test]
async fn a_session_begins_with_the_password_and_ends_with_signing_out() {
    let bench = Bench::new().await;
    let got = bench.try_password(PASSWORD).await;
    let set = got.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = cookie_of(&got);
    assert_eq!(
        bench.read(&cookie, "/api/v1/me").await["user"]["name"],
        "admin"
    );
    let left = bench
        .ask(request(Method::POST, "/api/v1/logout", &cookie, None))
        .await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert!(
        left.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(actions(&bench).await[..2], ["session.end", "session.begin"]);
    assert_eq!(
        bench.get(&cookie, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    // Nobody's session any more: that is written down, too.
    assert_eq!(actions(&bench).await[0], "request.refuse");
}

#[tokio::test]
async fn over_tls_the_cookie_is_bound_to_this_host_and_never_leaves_tls() {
    let bench = Bench::with(ApiOptions::default()).await;
    let got = bench.try_password(PASSWORD).await;
    let set = got.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(
        set.starts_with("__Host-xiezhi_session=") && set.contains("; Secure"),
        "{set}"
    );
    assert!(got.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    bench.read(&cookie_of(&got), "/api/v1/me").await;
}

#[tokio::test]
async fn wrong_passwords_are_audited_and_cost_ever_more_time() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        let got = bench.try_password("wrong").await;
        assert_eq!(
            (got.status, got.code()),
            (StatusCode::UNAUTHORIZED, "wrong_credentials".into())
        );
    }
    let waits = bench.try_password(PASSWORD).await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(waits.code(), "too_many_attempts");
    assert_eq!(waits.headers[header::RETRY_AFTER], "1");
    let refused = actions(&bench)
        .await
        .iter()
        .filter(|action| *action == "session.refuse")
        .count();
    assert_eq!(refused, 5, "what was not checked is not audited: no flood");
    bench.advance_ms(1000);
    bench.sign_in().await;
}

#[tokio::test]
async fn guesses_sent_side_by_side_get_no_more_tries_than_one_after_another() {
    let bench = Bench::new().await;
    let guesses = (0..50).map(|_| bench.try_password("wrong"));
    let got = futures_util::future::join_all(guesses).await;
    let verified = got
        .iter()
        .filter(|got| got.status == StatusCode::UNAUTHORIZED)
        .count();
    assert!((1..=5).contains(&verified), "{verified}");
    let told_to_wait = got
        .iter()
        .filter(|got| got.status == StatusCode::TOO_MANY_REQUESTS)
        .count();
    assert_eq!(verified + told_to_wait, 50);
    let refused = actions(&bench).await;
    let refused = refused.iter().filter(|action| *action == "session.refuse");
    assert_eq!(refused.count(), verified);
    bench.advance_ms(1000);
    bench.sign_in().await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_few_entries_and_one_count() {
    let mut bench = Bench::new().await;
    for network in 0..30 {
        bench.peer = [10, 2, network, 1].into();
        let got = bench.try_password("wrong").await;
        assert_eq!(got.code(), "wrong_credentials");
    }
    crate::resources::login::sum_up(&bench.state.inner).await;
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    let refused: Vec<_> = audit
        .iter()
        .filter(|record| record.action == "session.refuse")
        .collect();
    assert_eq!(refused.len(), 21);
    let count = &refused[0];
    assert_eq!(
        (count.subject.as_str(), count.detail["number"].as_str()),
        ("(several)", "10")
    );
    bench.peer = [10, 3, 0, 1].into();
    bench.sign_in().await;
}

#[tokio::test]
async fn an_account_that_does_not_exist_looks_like_a_wrong_password() {
    let bench = Bench::new().await;
    let body = json!({"user": "nobody", "password": PASSWORD});
    let got = bench.post("", "/api/v1/login", body).await;
    let wrong = bench.try_password("wrong").await;
    assert_eq!(got.body, wrong.body);
}

#[tokio::test]
async fn a_one_time_code_signs_in_once() {
    let bench = Bench::new().await;
    let code = bench
        .state
        .issue_login_code("admin", Duration::from_secs(60))
        .unwrap();
    let enter = |code: &str| {
        let body = json!({"code": code});
        bench.post("", "/api/v1/login/once", body)
    };
    let cookie = cookie_of(&enter(&code).await);
    bench.read(&cookie, "/api/v1/me").await;
    assert_eq!(enter(&code).await.code(), "wrong_code");
    let late = bench
        .state
        .issue_login_code("admin", Duration::from_secs(60))
        .unwrap();
    bench.advance_ms(60_000);
    assert_eq!(enter(&late).await.code(), "wrong_code");
}

#[tokio::test]
async fn a_session_ends_by_disuse_and_by_age() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    for _ in 0..23 {
        bench.advance_ms(29 * 60_000);
        bench.read(&cookie, "/api/v1/me").await;
    }
    bench.advance_ms(31 * 60_000);
    assert_eq!(
        bench.get(&cookie, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let cookie = bench.sign_in().await;
    for _ in 0..24 {
        bench.advance_ms(29 * 60_000);
        bench.read(&cookie, "/api/v1/me").await;
    }
    bench.advance_ms(29 * 60_000);
    assert_eq!(
        bench.get(&cookie, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

/// A request that a page's own timer makes, or its stream.
async fn by_itself(
    bench: &Bench,
    cookie: &str,
    path: &str,
    header: [&'static str; 2],
) -> StatusCode {
    let mut asked = request(Method::GET, path, cookie, None);
    let [name, value] = header;
    asked.headers_mut().insert(name, value.parse().unwrap());
    // The stream has no end to wait for.
    bench.send(asked).await.status()
}

#[tokio::test]
async fn what_a_page_asks_by_itself_keeps_nobody_signed_in() {
    let bench = Bench::new().await;
    for (path, header) in [
        ("/api/v1/me", ["x-xiezhi-idle", "1"]),
        ("/api/v1/live", ["accept", "text/event-stream"]),
    ] {
        let cookie = bench.sign_in().await;
        for _ in 0..2 {
            bench.advance_ms(10 * 60_000);
            assert_eq!(
                by_itself(&bench, &cookie, path, header).await,
                StatusCode::OK
            );
        }
        // One act of the person begins the half hour anew.
        bench.read(&cookie, "/api/v1/me").await;
        for _ in 0..3 {
            bench.advance_ms(10 * 60_000);
            assert_eq!(
                by_itself(&bench, &cookie, path, header).await,
                StatusCode::OK
            );
        }
        bench.advance_ms(60_000);
        let ended = by_itself(&bench, &cookie, path, header).await;
        assert_eq!(ended, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn a_wall_stays_signed_in_for_a_year_until_it_is_ended_or_is_no_wall_any_more() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let bench = Bench::new().await;
    let mut wall = new_user("wall", &[Grant::province(Role::Wall)]);
    wall.password_hash = password::hash(PASSWORD).unwrap();
    let made = bench
        .store
        .create_user(&wall, None, by_system("user.create"));
    let user = made.await.unwrap().user.id;
    let enter = async || {
        let body = json!({"user": "wall", "password": PASSWORD});
        let got = bench.post("", "/api/v1/login", body).await;
        let set = got.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(set.contains("Max-Age=31536000"), "{set}");
        cookie_of(&got)
    };
    let idle = ["x-xiezhi-idle", "1"];
    let asks = async |cookie: &str| by_itself(&bench, cookie, "/api/v1/overview", idle).await;
    let cookie = enter().await;
    let began_ms = bench.now_ms();
    for _ in 0..52 {
        bench.advance_ms(7 * DAY_MS);
        assert_eq!(asks(&cookie).await, StatusCode::OK);
    }
    // It is among the open ones, with its own end, and whoever manages accounts ends it.
    let list = bench.read(&cookie, "/api/v1/me/sessions").await;
    assert_eq!(list["items"][0]["expires_ms"], began_ms + 365 * DAY_MS);
    assert_eq!(list["items"][0]["last_used_ms"], bench.now_ms());
    bench.advance_ms(DAY_MS);
    assert_eq!(
        asks(&cookie).await,
        StatusCode::UNAUTHORIZED,
        "a year is over"
    );

    let cookie = enter().await;
    bench.advance_ms(DAY_MS);
    let admin = bench.sign_in().await;
    let path = format!("/api/v1/users/{user}/end-sessions");
    assert_eq!(
        bench.post(&admin, &path, json!({})).await.json()["ended"],
        1
    );
    assert_eq!(asks(&cookie).await, StatusCode::UNAUTHORIZED);

    // With another role it is what every account is, at once.
    let cookie = enter().await;
    bench.advance_ms(12 * 3_600_000);
    assert_eq!(asks(&cookie).await, StatusCode::OK);
    let admin = bench.sign_in().await;
    for (change, role) in [("withdraw", "wall"), ("grant", "read_only")] {
        let body = json!({"change": change, "role": {"role": role}});
        let path = format!("/api/v1/users/{user}/changes");
        let done = bench.post(&admin, &path, body).await;
        assert!(done.status.is_success(), "{done:?}");
    }
    assert_eq!(asks(&cookie).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn writes_of_other_sites_are_refused_before_anything_is_looked_at() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let forged = |name: &'static str, value: &str| {
        let mut asked = request(Method::POST, "/api/v1/logout", &cookie, None);
        asked.headers_mut().insert(name, value.parse().unwrap());
        asked
    };
    let mut bare = request(Method::POST, "/api/v1/logout", &cookie, None);
    bare.headers_mut().remove("x-xiezhi-request");
    let foreign = forged("origin", "https://evil.example");
    let cross = forged("sec-fetch-site", "cross-site");
    for asked in [bare, foreign, cross] {
        let got = bench.ask(asked).await;
        assert_eq!(
            (got.status, got.code()),
            (StatusCode::FORBIDDEN, "foreign_request".into())
        );
    }
    bench.read(&cookie, "/api/v1/me").await;
    let own = bench.ask(forged("origin", "http://court:8444")).await;
    assert_eq!(own.status, StatusCode::NO_CONTENT);
}

/// What was refused, as the audit has it: action, subject, actor and code.
async fn refusals(bench: &Bench) -> Vec<(String, String, String)> {
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    let refused = audit
        .into_iter()
        .filter(|record| record.action == "request.refuse");
    refused
        .map(|record| {
            let code = record.detail["code"].clone();
            (code, record.actor, record.subject)
        })
        .collect()
}

#[tokio::test]
async fn refused_writes_forged_sessions_and_bodies_too_large_are_audited_once_and_counted() {
    let bench = Bench::new().await;
    let grant = [Grant::province(Role::ReadOnly)];
    let (_, reader) = bench.account("reader", &grant).await;
    let admin = bench.sign_in().await;
    for _ in 0..5 {
        let mut foreign = request(Method::POST, "/api/v1/logout", "", None);
        let other = "https://evil.example".parse().unwrap();
        foreign.headers_mut().insert("origin", other);
        bench.ask(foreign).await;
        let refused = bench.post(&reader, "/api/v1/users", json!({})).await;
        assert_eq!(refused.code(), "not_allowed");
        let forged = format!("xiezhi_session={}", "a".repeat(64));
        bench.get(&forged, "/api/v1/hosts").await;
        let large = json!({"name": "x".repeat(70_000)});
        let large = bench.post(&admin, "/api/v1/users", large).await;
        assert_eq!(large.code(), "body_too_large");
        // What may be read is nobody's attack, and neither is a session that ended.
        bench.get(&reader, "/api/v1/users").await;
        bench.get("", "/api/v1/hosts").await;
    }
    let of = |code: &str, actor: &str, subject: &str| {
        (code.to_owned(), actor.to_owned(), subject.to_owned())
    };
    let mut first = refusals(&bench).await;
    first.sort();
    let expected = [
        of("body_too_large", "user:admin", "POST /api/v1/users"),
        of("foreign_request", "address:10.1.1.1", "POST /api/v1/logout"),
        of("not_allowed", "user:reader", "POST /api/v1/users"),
        of("unknown_session", "address:10.1.1.1", "GET /api/v1/hosts"),
    ];
    assert_eq!(first, expected);
    crate::refused::sum_up(&bench.state.inner).await;
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    let repeats = audit
        .iter()
        .filter_map(|record| record.detail.get("repeats").cloned());
    assert_eq!(repeats.collect::<Vec<_>>(), ["4", "4", "4", "4"]);
}

#[tokio::test]
async fn only_a_trusted_proxy_says_for_whom_it_asks() {
    let mut options = ApiOptions {
        secure: false,
        ..ApiOptions::default()
    };
    let proxy: std::net::IpAddr = [10, 9, 9, 9].into();
    options.trusted_proxies = std::sync::Arc::new([proxy].into());
    let mut bench = Bench::with(options).await;
    let address = async |bench: &Bench, claimed: &str| {
        let body = json!({"user": "admin", "password": PASSWORD});
        let mut asked = request(Method::POST, "/api/v1/login", "", Some(body));
        let claimed = claimed.parse().unwrap();
        asked.headers_mut().insert("x-forwarded-for", claimed);
        cookie_of(&bench.ask(asked).await);
        let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
        audit[0].detail["address"].clone()
    };
    assert_eq!(address(&bench, "192.0.2.7").await, "10.1.1.1");
    bench.peer = proxy;
    assert_eq!(address(&bench, "1.1.1.1, 192.0.2.7").await, "192.0.2.7");
    // Others behind the proxy do not use the address up.
    for number in 0..40 {
        let body = json!({"user": format!("name-{number}"), "password": "x"});
        let mut asked = request(Method::POST, "/api/v1/login", "", Some(body));
        let claimed = "192.0.2.66".parse().unwrap();
        asked.headers_mut().insert("x-forwarded-for", claimed);
        bench.ask(asked).await;
    }
    assert_eq!(address(&bench, "192.0.2.8").await, "192.0.2.8");
}

#[tokio::test]
async fn own_sessions_are_listed_and_ended_one_by_one_or_together() {
    let mut bench = Bench::new().await;
    let mut cookies = Vec::new();
    for machine in 1..=4 {
        bench.peer = [10, 1, 1, machine].into();
        let body = json!({"user": "admin", "password": PASSWORD});
        let mut asked = request(Method::POST, "/api/v1/login", "", Some(body));
        let browser = format!("Browser/{machine}").parse().unwrap();
        asked.headers_mut().insert(header::USER_AGENT, browser);
        cookies.push(cookie_of(&bench.ask(asked).await));
        bench.advance_ms(1000);
    }
    let (_, other) = bench.account("other", &[]).await;
    let me = "/api/v1/me/sessions";
    let list = bench.read(&cookies[0], me).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    let mine: Vec<_> = items.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0]["browser"], "Browser/1");
    assert_eq!(mine[0]["address"], "10.1.1.1");
    let second = items.iter().find(|one| one["browser"] == "Browser/2");
    let second = second.unwrap()["id"].as_str().unwrap();
    let path = format!("{me}/{second}");
    let delete = |cookie: &str| bench.ask(request(Method::DELETE, &path, cookie, None));
    assert_eq!(delete(&other).await.code(), "not_found", "another's");
    let gone = delete(&cookies[0]).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(delete(&cookies[0]).await.code(), "not_found");
    let ended = bench.get(&cookies[1], "/api/v1/me").await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    let others = format!("{me}/end-others");
    let others = bench.post(&cookies[0], &others, json!({})).await;
    assert_eq!(others.json()["ended"], 2);
    bench.read(&other, "/api/v1/me").await;

    // Whoever manages accounts ends those of another.
    let (user, theirs) = bench.account("wang", &[]).await;
    let path = format!("/api/v1/users/{user}/end-sessions");
    let refused = bench.post(&other, &path, json!({})).await;
    assert_eq!(refused.code(), "not_allowed");
    let ended = bench.post(&cookies[0], &path, json!({})).await;
    assert_eq!(ended.json()["ended"], 1, "{ended:?}");
    let out = bench.get(&theirs, "/api/v1/me").await;
    assert_eq!(out.status, StatusCode::UNAUTHORIZED);
    // That does not become a way to keep its owner out.
    bench.session_of(user).await;
    let again = bench.post(&cookies[0], &path, json!({})).await;
    assert_eq!(again.json()["ended"], 1, "{again:?}");
    let theirs = bench.session_of(user).await;
    let third = bench.post(&cookies[0], &path, json!({})).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.code(), "too_often");
    bench.read(&theirs, "/api/v1/me").await;
    let (code, actor, subject) = refusals(&bench).await.remove(0);
    assert_eq!((code.as_str(), actor.as_str()), ("too_often", "user:admin"));
    assert_eq!(subject, "POST /api/v1/users/{id}/end-sessions");
}

#[tokio::test]
async fn a_flood_of_forged_sessions_hides_no_accounts_refusals() {
    let mut bench = Bench::new().await;
    let grant = [Grant::province(Role::ReadOnly)];
    let (_, reader) = bench.account("reader", &grant).await;
    for number in 0..100 {
        bench.peer = [10, 1, 1, number].into();
        let forged = format!("xiezhi_session={}", "a".repeat(64));
        bench.get(&forged, "/api/v1/hosts").await;
    }
    for path in ["/api/v1/users", "/api/v1/tokens", "/api/v1/users/1/changes"] {
        let body = json!({"change": "disable"});
        let refused = bench.post(&reader, path, body).await;
        assert_eq!(refused.code(), "not_allowed", "{path}");
    }
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    let tried = audit.iter().filter(|one| one.actor == "user:reader");
    let tried: Vec<_> = tried.map(|one| one.detail["path"].as_str()).collect();
    assert_eq!(
        tried,
        ["/api/v1/users/1/changes", "/api/v1/tokens", "/api/v1/users"]
    );
    crate::refused::sum_up(&bench.state.inner).await;
    let audit = bench.store.audit(&AuditQuery::default()).await.unwrap();
    assert_eq!(audit[0].actor, "address:10.1.1.0/24");
    assert_eq!(audit[0].detail["number"], "95");
}
