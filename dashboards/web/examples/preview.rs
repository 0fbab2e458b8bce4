//! Serves the screens with made-up answers, so that a page can be worked on without a controller:
//! `cargo run -p xiezhi-web --example preview`, then open the address that it prints. Edits show on
//! reload. Nothing here is shipped.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a developer's tool"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use serde_json::{Value, json};
use xiezhi_web::{Asset, Encodings};

#[path = "preview/made_up.rs"]
mod made_up;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args()
        .nth(1)
        .map_or(0, |text| text.parse().unwrap());
    let router = Router::new()
        .route("/assets/{version}/{*path}", get(asset))
        .route("/api/v1/live", get(live))
        .route("/api/v1/{*path}", get(answer).post(answer).delete(answer))
        .fallback(get(page));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    println!("http://{}/", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn send(asset: Asset) -> Response<Body> {
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, asset.content_type)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'",
        );
    if let Some(encoding) = asset.encoding {
        response = response.header(header::CONTENT_ENCODING, encoding);
    }
    response.body(Body::from(asset.body.into_owned())).unwrap()
}

fn accepted(headers: &HeaderMap) -> Encodings {
    let value = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    Encodings::from_header(value.unwrap_or_default())
}

async fn page(headers: HeaderMap) -> Response<Body> {
    send(xiezhi_web::index(accepted(&headers)))
}

async fn asset(Path((_, path)): Path<(String, String)>, headers: HeaderMap) -> Response<Body> {
    match xiezhi_web::asset(&path, accepted(&headers)) {
        Some(asset) => send(asset),
        None => Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Body::empty())
            .unwrap(),
    }
}

async fn answer(
    Path(path): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> (StatusCode, axum::Json<Value>) {
    match made_up::answer(&path, &query, now_ms()) {
        Some(value) => (StatusCode::OK, axum::Json(value)),
        None => {
            let problem = json!({"title": "not found", "status": 404, "detail": "没有这个资源"});
            (StatusCode::NOT_FOUND, axum::Json(problem))
        }
    }
}

/// A snapshot, then a heartbeat every five seconds.
async fn live() -> Response<Body> {
    let stream = futures(0);
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(Body::from_stream(stream))
        .unwrap()
}

fn futures(
    count: u64,
) -> impl futures_util::Stream<Item = Result<String, std::convert::Infallible>> {
    futures_util::stream::unfold(count, |count| async move {
        if count > 0 {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let name = if count == 0 { "snapshot" } else { "heartbeat" };
        let data = json!({"now_ms": now_ms(), "counts": made_up::counts(), "hosts": []});
        Some((
            Ok(format!("event: {name}\nid: {count}\ndata: {data}\n\n")),
            count + 1,
        ))
    })
}
