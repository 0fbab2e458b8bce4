//! What probes and pages are told when a part of the controller is unwell. The full disk is tried
//! with a real one in the tests with real processes.

use axum::http::StatusCode;
use serde_json::{Value, json};
use xiezhi_model::{AccountChange, Grant, Role};

use super::bench::{Bench, by_system};
use crate::Certificate;

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
        let parts = json!({"clock": "ok", "database": "ok", "remote_write": "ok", "events": "ok", "intermediate_certificate": "ok",
            "samples": "ok", "sealing": "ok", "series": "ok", "stored": "ok", "web_certificate": "ok"});
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

#[tokio::test]
async fn a_file_that_was_set_aside_is_told_by_name_until_a_person_moves_it() {
    let bench = Bench::new().await;
    bench.get("", "/readyz").await;
    let name = "block-0000000001-0000000002.xzb.damaged";
    let file = bench.series_folder().join(name);
    std::fs::write(&file, "what a failing disk left").unwrap();
    let body = probe_until(&bench, |_, body| body["status"] == "degraded").await;
    assert_eq!(body["parts"]["stored"], "damaged");
    let cookie = bench.sign_in().await;
    let health = bench.read(&cookie, "/api/v1/health").await;
    assert_eq!(health["accepting"], true);
    let reason = health["ailments"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(name), "{reason}");

    // What the part says is for those who run the province: it may name hosts of other courts.
    let court = bench.site("gs-01").await.id;
    let grants = [Grant::at(Role::Technician, court)];
    let (_, technician) = bench.account("tech", &grants).await;
    let health = bench.read(&technician, "/api/v1/health").await;
    assert_eq!(health["ailments"][0]["code"], "damaged");
    assert_eq!(health["ailments"][0]["reason"], "");
    let mut page = super::live::open(&bench, &technician, "", "").await;
    let told = loop {
        let event = page.next().await.unwrap();
        if event.event == "health" {
            break event.data;
        }
    };
    assert_eq!(told["ailments"][0]["reason"], "", "{told}");

    std::fs::remove_file(file).unwrap();
    probe_until(&bench, |_, body| body["status"] == "ok").await;
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_with_its_days_while_reports_are_taken() {
    let bench = Bench::new().await;
    let now_s = super::bench::START_MS / 1000;
    let ends_s = now_s + 20 * 86_400 + 7_200;
    bench
        .state
        .inner
        .certificates
        .ends(Certificate::Web, Some(ends_s));
    let body = probe_until(&bench, |_, body| body["status"] == "degraded").await;
    assert_eq!(body["parts"]["web_certificate"], "certificate_ends");
    assert_eq!(body["days_left"], json!({"web_certificate": 20}));
    assert_eq!(bench.get("", "/healthz").await.status, StatusCode::OK);
    let cookie = bench.sign_in().await;
    let health = bench.read(&cookie, "/api/v1/health").await;
    assert_eq!(health["accepting"], true);
    assert_eq!(health["ailments"][0]["days_left"], 20);

    let later_s = now_s + 90 * 86_400;
    bench
        .state
        .inner
        .certificates
        .ends(Certificate::Web, Some(later_s));
    probe_until(&bench, |_, body| body["status"] == "ok").await;
}

/// That one person did alone what takes two, with the root key.
#[tokio::test]
async fn a_broken_glass_is_before_the_eyes_of_security_and_audit_for_a_month_and_of_nobody_else() {
    let bench = Bench::new().await;
    let of = |role| [Grant::province(role)];
    bench
        .account("first", &of(Role::SecurityAdministrator))
        .await;
    let (second, _) = bench
        .account("second", &of(Role::SecurityAdministrator))
        .await;
    let mut audit = by_system("user.break_glass");
    audit.time_ms = bench.now_ms();
    let change = AccountChange::ResetPassword;
    bench
        .store
        .break_glass(second, change, &[], Some("x"), "by order", audit)
        .await
        .unwrap();
    let sees = async |role: Role| {
        let name = format!("{}-{}", role.word(), bench.now_ms());
        let (_, cookie) = bench.account(&name, &of(role)).await;
        let health = bench.read(&cookie, "/api/v1/health").await;
        health.to_string().contains("glass_broken")
    };
    let told = bench
        .account("reader", &of(Role::AuditAdministrator))
        .await
        .1;
    let health = bench.read(&told, "/api/v1/health").await;
    assert_eq!(
        health["ailments"][0]["reason"],
        "second: reset_password (by order)"
    );
    assert!(sees(Role::SecurityAdministrator).await);
    for other in [
        Role::Technician,
        Role::SecurityOfficer,
        Role::ReadOnly,
        Role::Wall,
    ] {
        assert!(!sees(other).await, "{other:?}");
    }
    let probe = bench.get("", "/healthz").await;
    assert_eq!(probe.json()["status"], "ok");
    assert!(!probe.json().to_string().contains("two_people"));
}
