//! The controller as a data source: tokens, scopes, shapes and refusals.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::Value;
use xiezhi_identity::tokens;
use xiezhi_model::{ApiRight, Host};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::report::Report;
use xiezhi_series::Frame;
use xiezhi_store::{AuditQuery, NewApiToken};

use super::bench::*;

/// Nine reports, 15 s apart, that end now.
pub(super) fn report_loads(bench: &Bench, host: &Host, base: f64) {
    let mut encoder = Encoder::new(15_000);
    for step in 0..9_u32 {
        let mut report = Report::new();
        report.start(bench.now_ms() - i64::from(8 - step) * 15_000);
        let load = base + f64::from(step);
        report.push("node_load1", &[], load).unwrap();
        let labels = [("cpu", "0"), ("mode", "user"), ("site_id", "999")];
        let seconds = f64::from(step) * 3.0;
        report
            .push("node_cpu_seconds_total", &labels, seconds)
            .unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(u64::from(step) + 1, &report, &mut bytes);
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

pub(super) async fn token(bench: &Bench, right: ApiRight, site: Option<&str>) -> (i64, String) {
    let (secret, hash) = tokens::api_token().unwrap();
    let site = match site {
        Some(key) => Some(bench.site(key).await.id),
        None => None,
    };
    let wanted = NewApiToken {
        name: "test".to_owned(),
        secret_hash: hash.to_string(),
        right,
        site,
        expires_ms: bench.now_ms() + 3_600_000,
    };
    let made = bench
        .store
        .create_api_token(&wanted, by_system("api_token.create"));
    (made.await.unwrap().id, secret)
}

pub(super) async fn asked(bench: &Bench, secret: &str, path: &str) -> Got {
    let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {secret}"));
    bench.ask(request.body(Body::empty()).unwrap()).await
}

async fn posted(bench: &Bench, secret: &str, path: &str, form: &str) -> Got {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    bench
        .ask(request.body(Body::from(form.to_owned())).unwrap())
        .await
}

pub(super) fn result(got: &Got) -> Value {
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let body = got.json();
    assert_eq!(body["status"], "success");
    body["data"].clone()
}

#[tokio::test]
async fn a_program_asks_by_get_and_by_post_and_gets_prometheus_shapes() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;

    let got = asked(&bench, &secret, "/api/v1/query?query=node_load1%20%2B%201").await;
    let vector = result(&got);
    assert_eq!(vector["resultType"], "vector");
    assert_eq!(vector["result"][0]["value"][1], "10");
    assert_eq!(vector["result"][0]["metric"]["instance"], "alpha");

    let end_s = bench.now_ms() / 1000;
    let form = format!(
        "query=rate(node_cpu_seconds_total%5B1m%5D)&start={}&end={end_s}&step=15s",
        end_s - 60
    );
    let matrix = result(&posted(&bench, &secret, "/api/v1/query_range", &form).await);
    assert_eq!(matrix["resultType"], "matrix");
    let values = matrix["result"][0]["values"].as_array().unwrap();
    assert_eq!(values.len(), 5);
    let rate: f64 = values[4][1].as_str().unwrap().parse().unwrap();
    assert!((rate - 0.2).abs() < 1e-12, "{rate}");
}

#[tokio::test]
async fn lists_name_what_there_is() {
    let bench = Bench::new().await;
    let host = bench.host("gs", "alpha", false).await;
    report_loads(&bench, &host, 1.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;

    let names = result(&asked(&bench, &secret, "/api/v1/label/__name__/values").await);
    assert_eq!(
        names,
        serde_json::json!(["node_cpu_seconds_total", "node_load1"])
    );
    let labels = result(&asked(&bench, &secret, "/api/v1/labels?match[]=node_load1").await);
    let expected = ["__name__", "host_id", "instance", "job", "site", "site_id"];
    assert_eq!(labels, serde_json::json!(expected));
    let series = result(&posted(&bench, &secret, "/api/v1/series", "match[]=node_load1").await);
    assert_eq!(series[0]["host_id"], host.id.to_string());
    let metadata = result(&asked(&bench, &secret, "/api/v1/metadata").await);
    assert_eq!(metadata["node_cpu_seconds_total"][0]["type"], "counter");
    let build = result(&asked(&bench, &secret, "/api/v1/status/buildinfo").await);
    assert_eq!(build["application"], "Xiezhi");
    assert_eq!(
        result(&asked(&bench, &secret, "/api/v1/rules").await)["groups"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_token_of_a_site_sees_its_subtree_and_no_host_can_claim_to_be_elsewhere() {
    let bench = Bench::new().await;
    let above = bench.host("gs", "above", false).await;
    let below = bench.host("gs-01", "below", false).await;
    report_loads(&bench, &above, 1.0);
    report_loads(&bench, &below, 2.0);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;

    for query in [
        "node_load1",
        "node_load1{instance=~\"above|below\"}",
        "{host_id!=\"\"}",
    ] {
        let form = format!(
            "query={}",
            form_urlencoded::byte_serialize(query.as_bytes()).collect::<String>()
        );
        let vector = result(&posted(&bench, &secret, "/api/v1/query", &form).await);
        let found = vector["result"].as_array().unwrap();
        assert!(!found.is_empty(), "{query}");
        for series in found {
            assert_eq!(series["metric"]["instance"], "below", "{query}");
            assert_eq!(
                series["metric"]["site_id"],
                below.site.to_string(),
                "{query}"
            );
        }
    }
    let form = "query=count(node_load1)%20or%20vector(0)";
    let counted = result(&posted(&bench, &secret, "/api/v1/query", form).await);
    assert_eq!(counted["result"][0]["value"][1], "1");
    let instances = result(&asked(&bench, &secret, "/api/v1/label/instance/values").await);
    assert_eq!(instances, serde_json::json!(["below"]));
}

#[tokio::test]
async fn tokens_that_are_wrong_withdrawn_expired_or_for_something_else_are_refused() {
    let bench = Bench::new().await;
    let (id, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let (_, writer) = token(&bench, ApiRight::WriteMetrics, None).await;
    let path = "/api/v1/query?query=1";
    assert_eq!(asked(&bench, &secret, path).await.status, StatusCode::OK);
    let other = asked(&bench, &writer, path).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    for wrong in ["xza_00", "", "xza_", &"x".repeat(5000)] {
        let got = asked(&bench, wrong, path).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(got.headers.contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(got.json()["errorType"], "unauthorized");
    }
    bench
        .store
        .revoke_api_token(id, by_system("api_token.revoke"))
        .await
        .unwrap();
    assert_eq!(
        asked(&bench, &secret, path).await.status,
        StatusCode::UNAUTHORIZED
    );
    let (_, late) = token(&bench, ApiRight::ReadMetrics, None).await;
    bench.advance_ms(3_600_000);
    assert_eq!(
        asked(&bench, &late, path).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn guessing_tokens_is_slowed_counted_and_audited_once_and_blinds_no_working_program() {
    let mut bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let (_, fresh) = token(&bench, ApiRight::ReadMetrics, None).await;
    let path = "/api/v1/query?query=1";
    assert_eq!(asked(&bench, &secret, path).await.status, StatusCode::OK);
    for _ in 0..31 {
        let got = asked(&bench, "xza_00", path).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    }
    let got = asked(&bench, "xza_00", path).await;
    assert_eq!(got.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(got.headers[header::RETRY_AFTER], "1");
    assert_eq!(got.json()["status"], "error");
    let unseen = asked(&bench, &fresh, path).await;
    assert_eq!(unseen.status, StatusCode::TOO_MANY_REQUESTS, "may be a hit");
    assert_eq!(asked(&bench, &secret, path).await.status, StatusCode::OK);
    bench.advance_ms(1000);
    assert_eq!(asked(&bench, &fresh, path).await.status, StatusCode::OK);

    let query = AuditQuery {
        action: Some("api_token.refuse".to_owned()),
        ..AuditQuery::default()
    };
    let entries = bench.store.audit(&query).await.unwrap();
    assert_eq!(entries.len(), 1);
    bench.peer = [127, 0, 0, 1].into();
    let metrics = bench.get("", "/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body);
    for (reason, number) in [("unknown", 31), ("throttled", 2)] {
        let line = format!("xiezhi_api_tokens_refused_total{{reason=\"{reason}\"}} {number}");
        assert!(text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn bad_questions_get_prometheus_errors() {
    let bench = Bench::new().await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let range = "/api/v1/query_range?query=up&start=0&end=100";
    for (path, part) in [
        ("/api/v1/query?query=", "no expression found in input"),
        (
            "/api/v1/query?query=up{",
            "invalid parameter \\\"query\\\": 1:4: parse error",
        ),
        (
            "/api/v1/query?query=up&time=now",
            "invalid parameter \\\"time\\\"",
        ),
        (
            "/api/v1/query?query=up&timeout=x",
            "invalid parameter \\\"timeout\\\"",
        ),
        (
            &format!("{range}&step=0"),
            "zero or negative query resolution",
        ),
        (&format!("{range}&step=1ms"), "exceeded maximum resolution"),
        (&format!("{range}&step="), "invalid parameter \\\"step\\\""),
        (
            "/api/v1/query_range?query=up&start=5&end=1&step=1",
            "end timestamp must not be before",
        ),
        ("/api/v1/series", "no match[] parameter provided"),
        ("/api/v1/series?match[]=1", "a series selector is expected"),
        ("/api/v1/labels?limit=x", "invalid parameter \\\"limit\\\""),
    ] {
        let got = asked(&bench, &secret, path).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{path} {got:?}");
        let text = String::from_utf8_lossy(&got.body);
        assert!(text.contains(part), "{path}: {text}");
        assert_eq!(got.json()["errorType"], "bad_data", "{path}");
    }
    let long = format!("query={}", "1%2B".repeat(30_000));
    let got = posted(&bench, &secret, "/api/v1/query", &long).await;
    assert_eq!(got.json()["status"], "error", "{got:?}");
}

#[tokio::test]
async fn a_signed_in_person_asks_too_but_no_page_of_another_site() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let got = bench.get(&cookie, "/api/v1/query?query=1").await;
    assert_eq!(result(&got)["result"][1], "1");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/query")
        .header(header::COOKIE, &cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let got = bench
        .ask(request.body(Body::from("query=1")).unwrap())
        .await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
}
