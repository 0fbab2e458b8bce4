//! Events where each stream is seen in a scope of its own.

use std::sync::Arc;

use xiezhi_model::{EventStream, Scope, SiteId};
use xiezhi_store::{EventBatch, EventQuery, EventSight};

use crate::support::*;

fn of(sites: &[SiteId]) -> Scope {
    Scope::Sites(Arc::new(sites.iter().copied().collect()))
}

#[tokio::test]
async fn each_stream_is_answered_in_its_own_scope_and_pages_meet() {
    let fresh = fresh().await;
    let [root, court, other, tribunal] = province(&fresh).await;
    for (name, site) in [
        ("root", root),
        ("court", court),
        ("other", other),
        ("tribunal", tribunal),
    ] {
        // Enough of them at the first court that the search walks back in time.
        let number = if name == "court" { 40 } else { 1 };
        for index in 0..number {
            let host = enrolled(&fresh, site).await;
            let security = batch(
                host,
                1,
                1,
                vec![event(NOW + index, "s", &format!("{name}-s"))],
            );
            let plain = EventBatch {
                stream: EventStream::Events,
                ..batch(
                    host,
                    1,
                    1,
                    vec![event(NOW + index, "e", &format!("{name}-e"))],
                )
            };
            fresh.insert_batches(&[security, plain], NOW).await.unwrap();
        }
    }
    let found = async |stream, sight: &EventSight| {
        let mut query = EventQuery {
            stream,
            limit: 7,
            ..EventQuery::default()
        };
        let mut messages = Vec::new();
        loop {
            let page = fresh.search_events_seen(&query, sight).await.unwrap();
            messages.extend(page.events.into_iter().map(|event| event.message));
            query.after = match page.next {
                Some(next) => Some(next),
                None => break,
            };
        }
        let number = messages.len();
        messages.sort();
        messages.dedup();
        (number, messages)
    };
    let two = EventSight {
        security: of(&[other]),
        events: of(&[court, other]),
    };
    assert_eq!(
        found(None, &two).await,
        (
            42,
            vec!["court-e".into(), "other-e".into(), "other-s".into()]
        )
    );
    assert_eq!(
        found(Some(EventStream::Security), &two).await,
        (1, vec!["other-s".into()])
    );
    let apart = EventSight {
        security: of(&[other, tribunal]),
        events: of(&[root]),
    };
    assert_eq!(
        found(None, &apart).await.1,
        ["other-s", "root-e", "tribunal-s"]
    );
    assert_eq!(found(Some(EventStream::Events), &apart).await.1, ["root-e"]);
    let whole = EventSight {
        security: Scope::Province,
        events: of(&[]),
    };
    assert_eq!(found(None, &whole).await.0, 43);
    assert_eq!(found(None, &EventSight::all(&Scope::Province)).await.0, 86);
}
