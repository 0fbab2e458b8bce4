//! Live updates of open pages.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::{Method, StatusCode};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::bench::{Bench, request};

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Page(BodyDataStream);

pub(super) struct Message {
    pub(super) event: String,
    id: String,
    pub(super) data: Value,
}

pub(super) async fn open(bench: &Bench, cookie: &str, query: &str, last_id: &str) -> Page {
    let mut asked = request(Method::GET, &format!("/api/v1/live{query}"), cookie, None);
    if !last_id.is_empty() {
        asked
            .headers_mut()
            .insert("last-event-id", last_id.parse().unwrap());
    }
    let response = bench.send(asked).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Page(response.into_body().into_data_stream())
}

impl Page {
    /// The next message; `None` when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(DEADLINE, self.0.next())
            .await
            .expect("a message in time");
        let text = String::from_utf8(next?.unwrap().to_vec()).unwrap();
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().trim().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap();
        Some(Message {
            event: field("event:"),
            id: field("id:"),
            data,
        })
    }

    pub(super) async fn next_but_heartbeats(&mut self) -> Option<Message> {
        loop {
            match self.next().await {
                Some(message) if message.event == "heartbeat" => {}
                // Told once at the beginning, and nothing falls ill here.
                Some(message) if message.event == "health" => {}
                other => return other,
            }
        }
    }
}

#[tokio::test]
async fn a_page_gets_a_snapshot_and_then_what_changes() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let mut page = open(&bench, &cookie, "", "").await;
    let first = page.next().await.unwrap();
    assert_eq!(first.event, "snapshot");
    assert_eq!(first.data["counts"]["unknown"], 0);
    let host = bench.host("gs", "alpha", false).await;
    let delta = page.next_but_heartbeats().await.unwrap();
    assert_eq!(delta.event, "delta");
    assert_eq!(delta.data["counts"]["unknown"], 1);
    assert_eq!(delta.data["hosts"][0]["id"], host.id.0);
    assert_eq!(delta.data["hosts"][0]["reason"], "never_reported");

    // Another page that comes back gets what it missed; one from an earlier run starts anew.
    let mut back = open(&bench, &cookie, "", &first.id).await;
    let missed = back.next_but_heartbeats().await.unwrap();
    assert_eq!((missed.event.as_str(), &missed.id), ("delta", &delta.id));
    let mut stranger = open(&bench, &cookie, "", "1.1").await;
    assert_eq!(stranger.next().await.unwrap().event, "snapshot");

    // A revoked host leaves the counts.
    let audit = super::bench::by_system("host.revoke");
    bench
        .store
        .revoke_host(host.id, "test", audit)
        .await
        .unwrap();
    bench
        .state
        .inner
        .fleet
        .refresh(&bench.store.host(host.id).await.unwrap().unwrap());
    let delta = page.next_but_heartbeats().await.unwrap();
    assert_eq!(delta.data["counts"]["unknown"], 0);
}

#[tokio::test]
async fn an_open_page_ends_soon_after_its_session() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let mut page = open(&bench, &cookie, "?watch=1", "").await;
    assert_eq!(page.next().await.unwrap().event, "snapshot");
    let left = bench
        .ask(request(Method::POST, "/api/v1/logout", &cookie, None))
        .await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
    assert!(page.next().await.is_none());
}

#[tokio::test]
async fn a_new_password_ends_open_pages_too() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let mut page = open(&bench, &cookie, "", "").await;
    assert_eq!(page.next().await.unwrap().event, "snapshot");
    let user = bench.store.user_by_name("admin").await.unwrap().unwrap();
    let audit = super::bench::by_system("user.set_password");
    bench
        .store
        .set_password(user.id, &user.password_hash, None, audit)
        .await
        .unwrap();
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
}
