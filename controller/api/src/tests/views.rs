//! Filters of pages that people keep.

use axum::http::{Method, StatusCode};
use serde_json::json;
use xiezhi_model::{Grant, Role};

use super::bench::*;

/// Every role keeps filters, and nobody sees or takes away another's.
#[tokio::test]
async fn filters_that_are_kept_are_their_owners_alone() {
    let bench = Bench::new().await;
    let views = "/api/v1/me/views";
    let site = bench.site("gs-01").await.id;
    let wanted =
        |page: &str, name: &str, query: &str| json!({"page": page, "name": name, "query": query});
    let mut kept = Vec::new();
    for role in Role::ALL {
        let grant = match role {
            Role::CourtAdministrator => Grant::at(role, site),
            _ => Grant::province(role),
        };
        let (user, cookie) = bench.account(role.word(), &[grant]).await;
        let body = wanted("/fleet", role.word(), "presence=down");
        let got = bench.post(&cookie, views, body).await.json();
        assert_eq!(got["items"].as_array().unwrap().len(), 1, "{role:?}");
        assert_eq!(got["items"][0]["name"], role.word());
        kept.push((user, cookie, got["items"][0]["id"].as_i64().unwrap()));
    }
    for (index, (user, cookie, id)) in kept.iter().enumerate() {
        let (.., others) = kept[(index + 1) % kept.len()];
        let path = format!("{views}/{others}");
        let refused = bench
            .ask(request(Method::DELETE, &path, cookie, None))
            .await;
        assert_eq!(refused.code(), "not_found");
        // Wherever its owner signs in they are there.
        let elsewhere = bench.session_of(*user).await;
        let list = bench.read(&elsewhere, views).await;
        assert_eq!(list["items"][0]["id"], *id);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }
    assert_eq!(bench.get("", views).await.status, StatusCode::UNAUTHORIZED);
    let (_, cookie, id) = &kept[0];
    for (page, name, query) in [
        ("fleet", "x", ""),
        ("//evil.example", "x", ""),
        ("/fleet?x", "x", ""),
        ("/fleet", " ", ""),
        ("/fleet", &"名".repeat(41), ""),
        ("/fleet", "a\nb", ""),
        ("/fleet", "x", "a b"),
        ("/fleet", "x", &"q".repeat(1001)),
    ] {
        let refused = bench.post(cookie, views, wanted(page, name, query)).await;
        assert_eq!(refused.code(), "bad_request", "{page} {name} {query}");
    }
    let path = format!("{views}/{id}");
    let gone = bench
        .ask(request(Method::DELETE, &path, cookie, None))
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for number in 0..20 {
        let body = wanted("/fleet", &number.to_string(), "");
        assert_eq!(bench.post(cookie, views, body).await.status, StatusCode::OK);
    }
    let full = bench.post(cookie, views, wanted("/fleet", "one", "")).await;
    assert_eq!(full.code(), "too_many_views");
}
