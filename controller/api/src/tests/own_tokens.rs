//! Tokens of programs that act for the account that made them.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_model::{AccountChange, ApiRight, Grant, Permission, Role};
use xiezhi_store::AuditQuery;

use super::bench::*;
use super::live::open;
use super::prometheus::token;
use crate::routes::{Caller, method_of, routes};

const OWN: &str = "/api/v1/me/api-tokens";

fn wanted(name: &str, role: &str, site: Option<i64>) -> Value {
    json!({"name": name, "role": role, "site": site, "password": PASSWORD})
}

async fn delete(bench: &Bench, caller: &str, path: &str) -> Got {
    bench.ask(request(Method::DELETE, path, caller, None)).await
}

/// An account that is technician of a court, and a token of it.
async fn technician(bench: &Bench) -> (i64, String, i64, String) {
    let grant = Grant::at(Role::Technician, bench.site("gs-01").await.id);
    let (user, cookie) = bench.account("wang", &[grant]).await;
    let (id, token) = bench.acting(user, "台账同步", grant).await;
    (user, cookie, id, token)
}

#[tokio::test]
async fn an_account_makes_a_token_with_its_password_under_a_role_that_it_holds() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let made = bench
        .post(
            &cookie,
            OWN,
            wanted("导入脚本", "province_admin", Some(site)),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let made = made.json();
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    assert_eq!(made["made"]["expires_ms"], START_MS + 90 * 86_400_000);
    let list = bench.read(&cookie, OWN).await;
    assert_eq!(list["items"][0]["role"]["role"], "province_admin");
    assert_eq!(list["items"][0]["state"], "valid");
    assert!(!list.to_string().contains("xza_"));
    // Who manages programs sees it too.
    let all = bench.read(&cookie, "/api/v1/api-tokens").await;
    assert_eq!(all["items"][0]["right"], "use-api");
    assert_eq!(all["items"][0]["role"], "province_admin");
    let hosts = bench.get(&token, "/api/v1/hosts").await;
    assert_eq!(hosts.status, StatusCode::OK);
    // The tree itself is the province's.
    let beyond = bench.post(&token, "/api/v1/sites", json!({})).await;
    assert_eq!(beyond.code(), "not_allowed");

    for (body, code) in [
        (
            wanted("导入脚本", "province_admin", None),
            "token_name_taken",
        ),
        (wanted("x", "technician", Some(site)), "role_not_held"),
        (wanted("x", "province_admin", Some(9999)), "not_found"),
        (wanted("x", "wall", None), "role_not_held"),
        (wanted("x", "root", None), "bad_request"),
        (wanted(" ", "province_admin", None), "bad_request"),
        (wanted("a\nb", "province_admin", None), "bad_request"),
    ] {
        let refused = bench.post(&cookie, OWN, body.clone()).await;
        assert_eq!(refused.code(), code, "{body}");
    }
    for (days, status) in [
        (0, StatusCode::BAD_REQUEST),
        (366, StatusCode::BAD_REQUEST),
        (365, StatusCode::CREATED),
    ] {
        let mut body = wanted("year", "province_admin", None);
        body["expires_in_days"] = json!(days);
        assert_eq!(
            bench.post(&cookie, OWN, body).await.status,
            status,
            "{days}"
        );
    }
    let mut body = wanted("x", "province_admin", None);
    body["password"] = json!("not it");
    assert_eq!(
        bench.post(&cookie, OWN, body).await.code(),
        "wrong_password"
    );

    // One's own only, and at once.
    let (_, other) = bench
        .account("li", &[Grant::province(Role::ReadOnly)])
        .await;
    let path = format!("{OWN}/{}", made["made"]["id"]);
    assert_eq!(delete(&bench, &other, &path).await.code(), "not_found");
    assert_eq!(bench.read(&other, OWN).await["items"], json!([]));
    assert_eq!(
        delete(&bench, &cookie, &path).await.status,
        StatusCode::NO_CONTENT
    );
    let gone = bench.get(&token, "/api/v1/sites").await;
    assert_eq!(
        (gone.status, gone.code()),
        (StatusCode::UNAUTHORIZED, "unknown_token".into())
    );
}

#[tokio::test]
async fn a_program_keeps_the_register_and_what_it_does_is_audited_by_account_and_token() {
    let bench = Bench::new().await;
    let (_, _, id, token) = technician(&bench).await;
    let site = bench.site("gs-01").await.id.0;
    let mut upload = request(
        Method::POST,
        &format!("/api/v1/imports?kind=assets&site={site}"),
        &token,
        None,
    );
    *upload.body_mut() = Body::from("code,name\nA-1,交换机\n");
    let looked = bench.ask(upload).await;
    assert_eq!(looked.status, StatusCode::CREATED, "{looked:?}");
    let looked = looked.json();
    let path = format!("/api/v1/imports/{}/apply", looked["id"]);
    let done = bench
        .post(&token, &path, json!({"digest": looked["digest"]}))
        .await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let sites = bench.read(&token, "/api/v1/sites?limit=500").await;
    let sites: Vec<_> = sites["items"].as_array().unwrap().iter().collect();
    assert!(sites.iter().any(|one| one["id"] == site), "{sites:?}");
    assert!(sites.iter().all(|one| one["key"] != "gs-02"), "{sites:?}");
    let assets = bench.read(&token, "/api/v1/register/assets").await;
    assert_eq!(assets["items"].as_array().unwrap().len(), 1);
    let query = AuditQuery {
        action: Some("register.import".to_owned()),
        ..AuditQuery::default()
    };
    let entries = bench.store.audit(&query).await.unwrap();
    assert_eq!(entries[0].actor, "user:wang");
    let named = format!("{id} 台账同步");
    assert_eq!(entries[0].detail["by_token"], named, "{entries:?}");
    // What it is refused, too.
    let refused = bench.post(&token, "/api/v1/users", json!({})).await;
    assert_eq!(refused.code(), "not_for_programs");
    let metrics = bench.get(&token, "/api/v1/query?query=1").await;
    assert_eq!(metrics.status, StatusCode::OK);
}

/// Whatever is added to the list of routes is a person's until its permission is named for programs.
#[tokio::test]
async fn accounts_sessions_tokens_acts_of_two_and_the_audit_log_are_no_programs_business() {
    let bench = Bench::new().await;
    let (mut closed, mut people) = (0, Vec::new());
    for role in [
        Role::ProvinceAdministrator,
        Role::SecurityAdministrator,
        Role::AuditAdministrator,
    ] {
        let grant = Grant::province(role);
        let (user, _) = bench.account(role.word(), &[grant]).await;
        people.push((role, bench.acting(user, "script", grant).await.1));
    }
    for route in routes() {
        let permission = match route.caller {
            Caller::May(permission) => Some(permission),
            Caller::SignedIn => None,
            _ => continue,
        };
        let path = route.path.replace("{id}", "1").replace("{kind}", "assets");
        let must_be_closed = ["/users", "/acts", "/audit", "/me", "/api-tokens", "/logout"];
        let is_open = permission.is_some_and(Permission::is_for_programs);
        let is_named = must_be_closed
            .iter()
            .any(|part| path.starts_with(&format!("/api/v1{part}")));
        assert!(!(is_open && is_named), "{path}");
        if is_open {
            continue;
        }
        closed += 1;
        for (role, token) in &people {
            let method = method_of(route.method);
            let body = (method != Method::GET).then(|| json!({}));
            let got = bench.ask(request(method.clone(), &path, token, body)).await;
            assert_eq!(
                got.status,
                StatusCode::FORBIDDEN,
                "{role:?} {method} {path}"
            );
            assert_eq!(got.code(), "not_for_programs", "{role:?} {method} {path}");
        }
    }
    assert!(closed > 25, "{closed}");
}

#[tokio::test]
async fn a_token_dies_with_its_time_its_role_its_password_and_its_account() {
    let bench = Bench::new().await;
    let court = bench.site("gs-01").await.id;
    let grant = Grant::at(Role::Technician, court);
    let other = Grant::at(Role::ReadOnly, court);
    let audit = || by_system("user.change");
    let store = &bench.store;
    let alive = async |token: &str| bench.get(token, "/api/v1/sites").await.status;
    let change = async |user, change, hash| {
        let done = store.change_account(user, change, None, hash, audit());
        done.await.unwrap();
    };
    for (name, ends) in [
        ("withdrawn", AccountChange::Withdraw(grant)),
        ("disabled", AccountChange::Disable),
        ("reset", AccountChange::ResetPassword),
        ("factor", AccountChange::ResetSecondFactor),
    ] {
        let (user, _) = bench.account(name, &[grant, other]).await;
        let (_, token) = bench.acting(user, "a", grant).await;
        let (_, of_other_role) = bench.acting(user, "b", other).await;
        // A role more takes nothing away.
        change(
            user,
            AccountChange::Grant(Grant::at(Role::CourtAdministrator, court)),
            None,
        )
        .await;
        assert_eq!(alive(&token).await, StatusCode::OK, "{name}");
        change(user, ends, Some("hash")).await;
        assert_eq!(alive(&token).await, StatusCode::UNAUTHORIZED, "{name}");
        let rest = alive(&of_other_role).await;
        assert_eq!(
            rest == StatusCode::OK,
            name == "withdrawn",
            "{name}: {rest}"
        );
        // What comes back later brings no token back.
        match ends {
            AccountChange::Withdraw(grant) => change(user, AccountChange::Grant(grant), None).await,
            AccountChange::Disable => change(user, AccountChange::Enable, None).await,
            _ => {}
        }
        assert_eq!(alive(&token).await, StatusCode::UNAUTHORIZED, "{name}");
    }
    let (user, _) = bench.account("owner", &[grant]).await;
    let (_, token) = bench.acting(user, "a", grant).await;
    store
        .set_password(user, "other", None, audit())
        .await
        .unwrap();
    assert_eq!(
        alive(&token).await,
        StatusCode::UNAUTHORIZED,
        "a new password"
    );
    store.set_password(user, "", None, audit()).await.unwrap();
    let (_, token) = bench.acting(user, "a", grant).await;
    assert_eq!(alive(&token).await, StatusCode::OK);
    bench.advance_ms(86_400_000);
    assert_eq!(alive(&token).await, StatusCode::UNAUTHORIZED, "its time");
}

#[tokio::test]
async fn a_token_counts_alone_and_as_bearer_token_only() {
    let bench = Bench::new().await;
    let (_, cookie, _, token) = technician(&bench).await;
    let secret = token.trim_start_matches("Bearer ").to_owned();
    let path = "/api/v1/hosts";
    let with = async |authorization: &str, cookie: &str| {
        let mut asked = request(Method::GET, path, cookie, None);
        let value = authorization.parse().unwrap();
        asked.headers_mut().insert(header::AUTHORIZATION, value);
        bench.ask(asked).await.status
    };
    let basic = data_encoding::BASE64.encode(format!("wang:{secret}").as_bytes());
    assert_eq!(with(&token, "").await, StatusCode::OK);
    assert_eq!(
        with(&format!("Basic {basic}"), "").await,
        StatusCode::UNAUTHORIZED
    );
    // A token that is wrong is not made good by a cookie; what a proxy sends on is no token.
    let wrong = format!("Bearer xza_{}", "0".repeat(64));
    assert_eq!(with(&wrong, &cookie).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        with("Bearer eyJhbGciOiJub25lIn0", &cookie).await,
        StatusCode::OK
    );
    // A browser sends what it remembers by itself, for a page of another site, too.
    let mut foreign = request(
        Method::POST,
        "/api/v1/register/rooms",
        &cookie,
        Some(json!({})),
    );
    foreign.headers_mut().remove("x-xiezhi-request");
    for authorization in [format!("Basic {basic}"), "Bearer eyJhbGciOi".to_owned()] {
        let value = authorization.parse().unwrap();
        foreign.headers_mut().insert(header::AUTHORIZATION, value);
        let mut again = request(
            Method::POST,
            "/api/v1/register/rooms",
            &cookie,
            Some(json!({})),
        );
        *again.headers_mut() = foreign.headers().clone();
        assert_eq!(
            bench.ask(again).await.code(),
            "foreign_request",
            "{authorization}"
        );
    }
}

#[tokio::test]
async fn guesses_at_tokens_are_slowed_here_too_and_blind_no_working_program() {
    let bench = Bench::new().await;
    let (_, _, _, token) = technician(&bench).await;
    let path = "/api/v1/hosts";
    assert_eq!(bench.get(&token, path).await.status, StatusCode::OK);
    let wrong = format!("Bearer xza_{}", "0".repeat(64));
    let mut answers = Vec::new();
    for _ in 0..32 {
        answers.push(bench.get(&wrong, path).await.status);
    }
    assert_eq!(answers.pop(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert!(answers.iter().all(|one| *one == StatusCode::UNAUTHORIZED));
    assert_eq!(bench.get(&wrong, path).await.code(), "token_throttled");
    assert_eq!(bench.get(&token, path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_open_stream_ends_with_its_token() {
    let bench = Bench::new().await;
    let (_, cookie, id, token) = technician(&bench).await;
    let mut page = open(&bench, &token, "", "").await;
    page.next().await.unwrap();
    assert_eq!(
        delete(&bench, &cookie, &format!("{OWN}/{id}")).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
    assert!(page.next().await.is_none());
}

#[tokio::test]
async fn names_of_requests_are_each_tokens_own() {
    let bench = Bench::new().await;
    let (user, cookie, _, token) = technician(&bench).await;
    let grant = Grant::at(Role::Technician, bench.site("gs-01").await.id);
    let (_, second) = bench.acting(user, "second", grant).await;
    let site = bench.site("gs-01").await.id.0;
    let post = async |caller: &str, code: &str| {
        let values = json!({"code": code, "name": "x"});
        let body = json!({"site": site, "values": values});
        let mut asked = request(Method::POST, "/api/v1/register/rooms", caller, Some(body));
        asked
            .headers_mut()
            .insert("idempotency-key", "k".parse().unwrap());
        let got = bench.ask(asked).await;
        (got.status, got.headers.contains_key("idempotency-replayed"))
    };
    for (caller, code) in [(&cookie, "R-1"), (&token, "R-2"), (&second, "R-3")] {
        assert_eq!(
            post(caller, code).await,
            (StatusCode::CREATED, false),
            "{code}"
        );
        assert_eq!(
            post(caller, code).await,
            (StatusCode::CREATED, true),
            "{code}"
        );
    }
}

/// A program's token for metrics has a scope too, and no role.
#[tokio::test]
async fn a_token_of_a_program_opens_no_other_route() {
    let bench = Bench::new().await;
    for right in [ApiRight::ReadMetrics, ApiRight::WriteMetrics] {
        let (_, secret) = token(&bench, right, Some("gs-01")).await;
        for route in routes() {
            if !matches!(route.caller, Caller::May(_) | Caller::SignedIn) {
                continue;
            }
            let path = route.path.replace("{id}", "1").replace("{kind}", "assets");
            let asked = Request::builder()
                .method(method_of(route.method))
                .uri(&path)
                .header(header::AUTHORIZATION, format!("Bearer {secret}"));
            let got = bench
                .ask(asked.body(axum::body::Body::empty()).unwrap())
                .await;
            assert_eq!(got.status, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(got.code(), "wrong_token_right", "{path}");
        }
    }
}
