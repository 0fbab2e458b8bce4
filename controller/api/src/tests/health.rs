//! What probes and pages are told when a part of the controller is unwell. The full disk is tried
//! with a real one in the tests with real processes.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::bench::Bench;

/// Verdicts are kept for a second: asks until `wanted` holds.
async fn probe_until(bench: &Bench, wanted: impl Fn(StatusCode, &Value) -> bool) -> Value {
    for _ in 0..3000 {
        let got = bench.get("", "/readyz").await;
        let body = got.json();
        if wanted(got.status, &body) {
            return body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the probe never said so");
}

#[tokio::test]
async fn a_healthy_controller_names_its_parts_and_no_more() {
    let bench = Bench::new().await;
    for path in ["/healthz", "/readyz"] {
        let got = bench.get("", path).await;
        assert_eq!(got.status, StatusCode::OK);
        let parts = json!({"database": "ok", "events": "ok", "samples": "ok", "sealing": "ok"});
        assert_eq!(got.json(), json!({"status": "ok", "parts": parts}));
    }
    let cookie = bench.sign_in().await;
    let health = bench.read(&cookie, "/api/v1/health").await;
    assert_eq!(health["accepting"], true);
    assert_eq!(health["ailments"], json!([]));
}

#[tokio::test]
async fn a_database_that_does_not_answer_makes_the_probe_fail_and_says_which_part() {
    let bench = Bench::new().await;
    bench.get("", "/readyz").await;
    bench.store.close().await;
    let body = probe_until(&bench, |status, _| {
        status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(body["status"], "unwell");
    assert_eq!(body["parts"]["database"], "failed");
    assert_eq!(body["parts"]["samples"], "ok");
}

#[tokio::test]
async fn a_failed_sealing_is_told_and_reports_are_taken_all_the_same() {
    let bench = Bench::new().await;
    bench.get("", "/readyz").await;
    bench.refuse_sealing();
    let body = probe_until(&bench, |_, body| body["status"] == "degraded").await;
    assert_eq!(body["parts"]["sealing"], "failed");
    assert_eq!(bench.get("", "/healthz").await.status, StatusCode::OK);
    let cookie = bench.sign_in().await;
    let health = bench.read(&cookie, "/api/v1/health").await;
    assert_eq!(health["accepting"], true);
    let reason = health["ailments"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot create"), "{reason}");

    bench.allow_sealing();
    probe_until(&bench, |_, body| body["status"] == "ok").await;
}
