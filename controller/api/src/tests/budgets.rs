//! Bandwidth budgets of sites.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use xiezhi_store::AuditQuery;

use super::bench::{Bench, request};

fn hours(limit: Option<u32>) -> Value {
    json!({ "hours": vec![limit; 24] })
}

async fn put(bench: &Bench, cookie: &str, site: i64, body: Value) -> super::bench::Got {
    let path = format!("/api/v1/sites/{site}/bandwidth");
    let asked = request(Method::PUT, &path, cookie, Some(body));
    bench.ask(asked).await
}

#[tokio::test]
async fn a_budget_holds_for_the_sites_below_until_one_has_its_own() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    bench.host("gs-01", "host", false).await;
    let site = bench.site("gs-01").await;
    let above = site.parent.unwrap().0;
    let path = format!("/api/v1/sites/{}/bandwidth", site.id);

    let none = bench.read(&cookie, &path).await;
    assert!(none["own"].is_null() && none["inherited"].is_null());
    assert_eq!((&none["hosts"], &none["connected"]), (&json!(1), &json!(0)));

    let done = put(&bench, &cookie, above, hours(Some(512))).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    let inherited = bench.read(&cookie, &path).await;
    assert!(inherited["own"].is_null());
    assert_eq!(inherited["inherited"][23], 512);
    assert_eq!(inherited["inherited_from"]["id"], above);
    let path_above = format!("/api/v1/sites/{above}/bandwidth");
    assert_eq!(bench.read(&cookie, &path_above).await["hosts"], 1);

    bench.advance_ms(1);
    put(&bench, &cookie, site.id.0, hours(Some(64))).await;
    let own = bench.read(&cookie, &path).await;
    assert_eq!(
        (&own["own"][0], &own["inherited"][0]),
        (&json!(64), &json!(512))
    );
    // The host is no longer among those that the budget above concerns.
    assert_eq!(bench.read(&cookie, &path_above).await["hosts"], 0);

    bench.advance_ms(1);
    let gone = bench
        .ask(request(Method::DELETE, &path, &cookie, None))
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert!(bench.read(&cookie, &path).await["own"].is_null());
    let again = bench
        .ask(request(Method::DELETE, &path, &cookie, None))
        .await;
    assert_eq!(
        (again.status, again.code()),
        (StatusCode::NOT_FOUND, "not_found".to_owned())
    );
}

#[tokio::test]
async fn each_change_is_audited_with_its_value() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    put(&bench, &cookie, site, hours(Some(8))).await;
    let query = AuditQuery {
        action: Some("site.bandwidth_set".to_owned()),
        limit: 1,
        ..AuditQuery::default()
    };
    let record = bench.store.audit(&query).await.unwrap().remove(0);
    assert_eq!(
        (record.actor.as_str(), record.subject.as_str()),
        ("user:admin", format!("site:{site}").as_str())
    );
    assert_eq!(record.detail["key"], "gs-01");
    assert!(
        record.detail["value"].contains("1000"),
        "{:?}",
        record.detail
    );
}

#[tokio::test]
async fn a_budget_that_cannot_be_is_refused_and_changes_nothing() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let short = json!({ "hours": [1, 2] });
    let wrong = [
        (site, short, StatusCode::BAD_REQUEST, "bad_budget"),
        (
            site,
            hours(Some(100_000_001)),
            StatusCode::BAD_REQUEST,
            "bad_budget",
        ),
        (
            site,
            json!({ "hours": [-1] }),
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_request",
        ),
        (
            site,
            json!({ "hour": [] }),
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_request",
        ),
        (9999, hours(None), StatusCode::NOT_FOUND, "not_found"),
    ];
    for (site, body, status, code) in wrong {
        let got = put(&bench, &cookie, site, body).await;
        assert_eq!((got.status, got.code().as_str()), (status, code));
    }
    let path = format!("/api/v1/sites/{site}/bandwidth");
    assert!(bench.read(&cookie, &path).await["own"].is_null());
}
