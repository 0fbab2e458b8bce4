//! Clients that mean harm, or are no good: each kind is refused, and audited at a bounded rate. Guesses at
//! passwords are in `signing_in`, at tokens in `prometheus`.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures_util::stream;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xiezhi_model::{AuditRecord, Grant, Role};
use xiezhi_store::AuditQuery;

use super::bench::*;
use crate::refused::sum_up;
use crate::{ApiOptions, ServeOptions, serve};

const ROOMS: &str = "/api/v1/register/rooms";
const DEADLINE: Duration = Duration::from_secs(30);

/// What was refused for this, the oldest first.
async fn told(bench: &Bench, code: &str) -> Vec<AuditRecord> {
    let query = AuditQuery {
        action: Some("request.refuse".to_owned()),
        ..AuditQuery::default()
    };
    let mut found = bench.store.audit(&query).await.unwrap();
    found.retain(|entry| entry.detail.get("code").is_some_and(|one| one == code));
    found.reverse();
    found
}

fn foreign(cookie: &str) -> Request<Body> {
    let mut asked = request(Method::POST, ROOMS, cookie, Some(json!({})));
    asked.headers_mut().remove("x-xiezhi-request");
    asked
}

fn stolen(_: &str) -> Request<Body> {
    let cookie = format!("xiezhi_session={}", "a".repeat(64));
    request(Method::GET, "/api/v1/hosts", &cookie, None)
}

fn oversized(cookie: &str) -> Request<Body> {
    let body = json!({"site": 1, "values": {"name": "x".repeat(100_000)}});
    request(Method::POST, ROOMS, cookie, Some(body))
}

/// Its body never comes.
fn slow(cookie: &str) -> Request<Body> {
    let mut asked = request(Method::POST, ROOMS, cookie, Some(json!({})));
    asked.headers_mut().remove(header::CONTENT_LENGTH);
    let never = stream::pending::<Result<Bytes, std::io::Error>>();
    *asked.body_mut() = Body::from_stream(never);
    asked
}

#[tokio::test]
async fn a_flood_of_one_kind_makes_one_entry_and_then_a_count() {
    let bench = Bench::new().await;
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (_, cookie) = bench.account("wang", &grants).await;
    type Make = fn(&str) -> Request<Body>;
    // Whose cookie it is was not looked at where another site's page sent it.
    let cases: [(&str, Make, StatusCode, &str); 3] = [
        (
            "foreign_request",
            foreign,
            StatusCode::FORBIDDEN,
            "address:10.1.1.1",
        ),
        (
            "unknown_session",
            stolen,
            StatusCode::UNAUTHORIZED,
            "address:10.1.1.1",
        ),
        (
            "body_too_large",
            oversized,
            StatusCode::PAYLOAD_TOO_LARGE,
            "user:wang",
        ),
    ];
    for (code, asked, status, actor) in cases {
        for _ in 0..50 {
            assert_eq!(bench.ask(asked(&cookie)).await.status, status, "{code}");
        }
        let entries = told(&bench, code).await;
        assert_eq!(entries.len(), 1, "{code}: {entries:?}");
        assert_eq!(entries[0].actor, actor, "{code}");
        assert_eq!(entries[0].detail["address"], "10.1.1.1");
    }
    sum_up(&bench.state.inner).await;
    for (code, ..) in cases {
        let entries = told(&bench, code).await;
        assert_eq!(entries.len(), 2, "{code}: {entries:?}");
        assert_eq!(entries[1].detail["repeats"], "49", "{code}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_and_told_under_its_senders_name() {
    let bench = Bench::with(ApiOptions {
        secure: false,
        request_timeout: Duration::from_millis(500),
        ..ApiOptions::default()
    })
    .await;
    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (_, cookie) = bench.account("wang", &grants).await;
    for _ in 0..3 {
        let got = bench.ask(slow(&cookie)).await;
        assert_eq!(got.status, StatusCode::GATEWAY_TIMEOUT, "{got:?}");
    }
    let entries = told(&bench, "too_slow").await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].actor, "user:wang");
    assert_eq!(
        entries[0].subject,
        format!("POST {}", "/api/v1/register/{kind}")
    );
}

/// The entries of a port that was asked in another task, once there are some.
async fn soon(bench: &Bench, code: &str) -> Vec<AuditRecord> {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            let found = told(bench, code).await;
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.expect("an entry")
}

/// Everything until the port hangs up.
async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest));
    end.await.expect("the port hangs up").ok();
}

#[tokio::test]
async fn connections_that_do_not_get_on_are_told_once_and_spare_ones_are_not() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ServeOptions {
        head_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_secs(1),
        audit: bench.state.connection_audit(),
        ..ServeOptions::default()
    };
    let stop = std::future::pending();
    let server = tokio::spawn(serve(listener, None, bench.router.clone(), options, stop));

    // What browsers open to spare: nothing, or the opening of HTTP/2 and nothing after it.
    let opening: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for first in [b"".as_slice(), opening] {
        let mut spare = TcpStream::connect(address).await.unwrap();
        spare.write_all(first).await.unwrap();
        ends(spare).await;
    }
    for _ in 0..4 {
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-more")
            .await
            .unwrap();
        ends(slow).await;
    }
    let heads = soon(&bench, "slow_head").await;
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert_eq!(heads[0].actor, "address:127.0.0.1");
    assert_eq!(heads[0].subject, "(connection)");

    let grants = [Grant::province(Role::ProvinceAdministrator)];
    let (_, cookie) = bench.account("wang", &grants).await;
    let mut stuck = TcpStream::connect(address).await.unwrap();
    let half = format!(
        "POST /api/v1/imports?kind=rooms HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\
         x-xiezhi-request: 1\r\ncontent-length: 5000\r\n\r\ncode,name"
    );
    stuck.write_all(half.as_bytes()).await.unwrap();
    ends(stuck).await;
    assert_eq!(soon(&bench, "stalled").await.len(), 1);
    server.abort();
}
