//! Resources that are changed, and that each change is audited under who made it.

use axum::http::{Method, StatusCode};
use serde_json::json;
use xiezhi_model::{Actor, AuditEntry, HostId};
use xiezhi_protocol::enrol::Token;
use xiezhi_store::{ApprovalRequest, AuditQuery};

use super::bench::{Bench, START_MS, request};

async fn last_action(bench: &Bench) -> (String, String) {
    let query = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    let record = bench.store.audit(&query).await.unwrap().remove(0);
    (record.action, record.actor)
}

#[tokio::test]
async fn a_token_is_shown_once_with_its_commands_and_can_be_withdrawn() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let body = json!({"site": site, "uses": 3, "expires_in_s": 3600, "approval": true});
    let made = bench.post(&cookie, "/api/v1/tokens", body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let token = Token::from_text(made["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.root_fingerprint, bench.authority.root_fingerprint());
    let command = made["commands"][0].as_str().unwrap();
    // One line for a root shell, and the token is nobody's argument.
    let text = made["token"].as_str().unwrap();
    let expected =
        format!("printf %s {text} | xiezhi-agent enrol --controller https://court:8443 --token -");
    assert_eq!(command, expected);
    assert_eq!(
        last_action(&bench).await,
        ("token.create".into(), "user:admin".into())
    );

    let list = bench.get(&cookie, "/api/v1/tokens").await;
    let row = &list.json()["items"][0];
    assert_eq!(
        (row["state"].as_str(), row["uses_left"].as_i64()),
        (Some("active"), Some(3))
    );
    let text = String::from_utf8_lossy(&list.body).into_owned();
    assert!(!text.contains("secret") && !text.contains("xz1-"), "{text}");

    let path = format!("/api/v1/tokens/{}", token.id_text());
    let gone = bench
        .ask(request(Method::DELETE, &path, &cookie, None))
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let row = &bench.read(&cookie, "/api/v1/tokens").await["items"][0];
    assert_eq!(row["state"], "revoked");
}

#[tokio::test]
async fn tokens_out_of_bounds_are_refused_with_the_bound() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs").await.id.0;
    let cases = [
        (json!({"site": site, "uses": 0, "expires_in_s": 3600}), 400),
        (json!({"site": site, "uses": 1, "expires_in_s": 1}), 400),
        (json!({"site": 9999, "uses": 1, "expires_in_s": 3600}), 404),
        (json!({"site": site, "uses": -1, "expires_in_s": 3600}), 422),
        (
            json!({"site": site, "uses": 1, "expires_in_s": 3600, "admin": true}),
            422,
        ),
    ];
    for (body, status) in cases {
        let got = bench.post(&cookie, "/api/v1/tokens", body.clone()).await;
        assert_eq!(got.status.as_u16(), status, "{body}");
        got.code();
    }
}

#[tokio::test]
async fn a_person_approves_a_waiting_host_once() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs").await.id.0;
    let body = json!({"site": site, "uses": 1, "expires_in_s": 3600, "approval": true});
    let token = bench.post(&cookie, "/api/v1/tokens", body).await.json();
    let wish = ApprovalRequest {
        token: token["id"].as_str().unwrap().to_owned(),
        evidence_key: "ab".repeat(32),
        hostname: "kjft-03".to_owned(),
        machine: "cd".repeat(32),
        version: "0.1.0".to_owned(),
    };
    let audit = AuditEntry::new(START_MS, Actor::System, "approval.request", "test");
    let id = bench.store.request_approval(&wish, audit).await.unwrap().id;
    let waiting = bench.read(&cookie, "/api/v1/approvals").await;
    assert_eq!(waiting["items"][0]["hostname"], "kjft-03");
    let path = format!("/api/v1/approvals/{id}");
    let decided = bench
        .post(&cookie, &path, json!({"decision": "approve"}))
        .await
        .json();
    assert_eq!(decided["state"], "approved");
    assert_eq!(
        last_action(&bench).await,
        ("approval.approve".into(), "user:admin".into())
    );
    let again = bench
        .post(&cookie, &path, json!({"decision": "refuse"}))
        .await
        .json();
    assert_eq!(again["state"], "approved");
    let waiting = bench.read(&cookie, "/api/v1/approvals").await;
    assert_eq!(waiting["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn revoking_a_host_needs_a_reason_and_shows_at_once() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs", "alpha", false).await;
    let path = format!("/api/v1/hosts/{}/revoke", host.id);
    let bare = bench.post(&cookie, &path, json!({"reason": " "})).await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST);
    let done = bench.post(&cookie, &path, json!({"reason": "被盗"})).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert_eq!(
        last_action(&bench).await,
        ("host.revoke".into(), "user:admin".into())
    );
    let page = bench
        .read(&cookie, &format!("/api/v1/hosts/{}", host.id))
        .await;
    assert_eq!(page["host"]["revoked_ms"], START_MS);
    assert_eq!(page["record"]["policy_root"], "");
    let overview = bench.read(&cookie, "/api/v1/overview").await;
    assert_eq!(
        overview["counts"]["unknown"], 0,
        "a revoked host is not a problem any more"
    );
}

#[tokio::test]
async fn directives_to_a_host_without_a_session_say_so() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs", "alpha", false).await;
    let path = format!("/api/v1/hosts/{}/directives", host.id);
    let got = bench
        .post(&cookie, &path, json!({"kind": "collect_now"}))
        .await;
    assert_eq!(
        (got.status, got.code()),
        (StatusCode::CONFLICT, "not_connected".into())
    );
    assert_eq!(last_action(&bench).await.0, "host.direct");
    let unknown = bench
        .post(&cookie, &path, json!({"kind": "run", "command": "rm"}))
        .await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = bench.post(
        &cookie,
        "/api/v1/hosts/77/directives",
        json!({"kind": "collect_now"}),
    );
    assert_eq!(nobody.await.status, StatusCode::NOT_FOUND);
    let window = json!({"from_minute": 1500, "to_minute": 1, "bytes_per_second": 0});
    let body = json!({"kind": "set_bandwidth", "bytes_per_second": 0, "windows": [window]});
    assert_eq!(
        bench.post(&cookie, &path, body).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_person_settles_an_identity_conflict() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs", "alpha", false).await;
    let audit = AuditEntry::new(START_MS, Actor::System, "host.conflict", "test");
    bench
        .store
        .open_epoch(HostId(host.id.0), host.epoch, audit)
        .await
        .unwrap();
    let marked = bench.store.host(host.id).await.unwrap().unwrap();
    bench.state.inner.fleet.refresh(&marked);
    let list = bench.read(&cookie, "/api/v1/hosts?conflict=true").await;
    assert_eq!(list["total"], 1);
    let path = format!("/api/v1/hosts/{}/settle", host.id);
    let done = bench.ask(request(Method::POST, &path, &cookie, None)).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert_eq!(
        bench.read(&cookie, "/api/v1/hosts?conflict=true").await["total"],
        0
    );
}
