//! What is closed, and how every answer is dressed.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use super::bench::{Bench, request};
use crate::routes::{Caller, method_of, routes};

#[tokio::test]
async fn every_route_but_signing_in_is_closed_without_a_session() {
    let bench = Bench::new().await;
    let mut open = Vec::new();
    for route in routes() {
        let path = route.path.replace("{id}", "1").replace("{version}", "x");
        let path = path.replace("{*path}", "app.js").replace("{name}", "job");
        for cookie in [
            "",
            "xiezhi_session=0000",
            &format!("xiezhi_session={}", "0".repeat(64)),
        ] {
            let body = json!({"user": "x", "password": "y", "code": "z"});
            let asked = request(method_of(route.method), &path, cookie, Some(body));
            let got = bench.ask(asked).await;
            if route.caller == Caller::Anyone {
                open.push(route.path);
            } else {
                assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{path}");
                match route.caller {
                    Caller::MetricsReader | Caller::MetricsWriter => {
                        assert_eq!(got.json()["errorType"], "unauthorized", "{path}");
                    }
                    _ => assert_eq!(got.code(), "signed_out"),
                }
            }
        }
    }
    open.dedup();
    assert_eq!(
        open,
        [
            "/healthz",
            "/readyz",
            "/assets/{version}/{*path}",
            "/api/v1/login",
            "/api/v1/login/once"
        ]
    );
}

#[tokio::test]
async fn metrics_are_open_on_this_machine_only_and_not_to_its_browsers() {
    let mut bench = Bench::new().await;
    bench.peer = [127, 0, 0, 1].into();
    let got = bench.get("", "/metrics").await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(
        String::from_utf8_lossy(&got.body).contains("xiezhi_"),
        "{got:?}"
    );
    let mut by_browser = request(Method::GET, "/metrics", "", None);
    by_browser
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(bench.ask(by_browser).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn metrics_are_closed_to_what_a_proxy_on_this_machine_passes_on() {
    let mut bench = Bench::new().await;
    bench.peer = [127, 0, 0, 1].into();
    for (name, value) in [
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", ""),
        ("via", "1.1 proxy"),
    ] {
        let mut asked = request(Method::GET, "/metrics", "", None);
        asked.headers_mut().insert(name, value.parse().unwrap());
        let got = bench.ask(asked).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{name}");
    }
}

#[tokio::test]
async fn every_refusal_is_problem_json() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let big = json!({"reason": "x".repeat(100_000)});
    let cases = [
        (
            request(Method::GET, "/api/v1/nothing", &cookie, None),
            404,
            "not_found",
        ),
        (
            request(Method::GET, "/assets/x/nothing.js", "", None),
            404,
            "not_found",
        ),
        (
            request(Method::POST, "/nothing", "", None),
            404,
            "not_found",
        ),
        (
            request(Method::DELETE, "/api/v1/overview", &cookie, None),
            405,
            "wrong_method",
        ),
        (
            request(Method::GET, "/api/v1/hosts/abc", &cookie, None),
            404,
            "not_found",
        ),
        (
            request(Method::GET, "/api/v1/hosts/99", &cookie, None),
            404,
            "not_found",
        ),
        (
            request(Method::GET, "/api/v1/hosts?limit=x", &cookie, None),
            400,
            "bad_request",
        ),
        (
            request(Method::GET, "/api/v1/hosts?colour=red", &cookie, None),
            400,
            "bad_request",
        ),
        (
            request(Method::GET, "/api/v1/hosts?cursor=x", &cookie, None),
            400,
            "bad_request",
        ),
        (
            request(Method::GET, "/api/v1/events?cursor=x", &cookie, None),
            400,
            "bad_request",
        ),
        (
            request(Method::POST, "/api/v1/hosts/1/revoke", &cookie, Some(big)),
            413,
            "body_too_large",
        ),
        (
            request(Method::POST, "/api/v1/tokens", &cookie, None),
            415,
            "not_json",
        ),
        (
            request(Method::POST, "/api/v1/tokens", &cookie, Some(json!({}))),
            422,
            "bad_request",
        ),
        (
            request(Method::POST, "/api/v1/tokens", &cookie, Some(json!([1]))),
            422,
            "bad_request",
        ),
    ];
    for (asked, status, code) in cases {
        let what = format!("{} {}", asked.method(), asked.uri());
        let got = bench.ask(asked).await;
        assert_eq!(
            (got.status.as_u16(), got.code().as_str()),
            (status, code),
            "{what}"
        );
        assert_eq!(got.headers["x-content-type-options"], "nosniff", "{what}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let bench = Bench::new().await;
    for path in [
        "/",
        "/login",
        "/healthz",
        "/api/v1/me",
        "/assets/dev/app.js",
        "/api/x",
    ] {
        let got = bench.get("", path).await;
        let policy = got.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        for name in [
            "x-frame-options",
            "referrer-policy",
            "cache-control",
            "permissions-policy",
        ] {
            assert!(got.headers.contains_key(name), "{path} lacks {name}");
        }
        assert!(
            !got.headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_page_is_revalidated_by_its_tag_and_any_screen_answers_with_it() {
    let bench = Bench::new().await;
    let page = bench.get("", "/hosts/7?tab=facts").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(
        page.headers[header::CONTENT_TYPE],
        "text/html; charset=utf-8"
    );
    // What an asset's label says; files of the pages lie deeper and are not made up.
    let label = bench.get("", "/assets/12").await;
    assert_eq!(
        (label.status, label.body),
        (StatusCode::OK, page.body.clone())
    );
    for none in ["/assets/x", "/assets/"] {
        assert_eq!(
            bench.get("", none).await.status,
            StatusCode::NOT_FOUND,
            "{none}"
        );
    }
    let again = Request::builder()
        .uri("/fleet")
        .header(header::IF_NONE_MATCH, &page.headers[header::ETAG])
        .body(Body::empty())
        .unwrap();
    let again = bench.ask(again).await;
    assert_eq!(
        (again.status, again.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let mut asked = request(Method::GET, "/api/v1/sites", &cookie, None);
    asked
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, "gzip, br".parse().unwrap());
    let small = bench.ask(asked).await;
    let plain = bench.get(&cookie, "/api/v1/sites").await;
    assert_eq!(small.headers[header::CONTENT_ENCODING], "gzip");
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    assert!(
        small.body.len() * 5 < plain.body.len(),
        "{} {}",
        small.body.len(),
        plain.body.len()
    );
}
