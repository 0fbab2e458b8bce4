//! Events are kept as long as the setting of their day says.

use xiezhi_model::Setting;
use xiezhi_store::{BatchOutcome, StoreError};

use crate::support::*;

#[tokio::test]
async fn events_are_deleted_when_their_dated_setting_says_so_and_not_before() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let old = NOW - 180 * DAY;
    for (seq, received_ms) in [(1, old - 1), (2, old), (3, NOW)] {
        // The host's clock says 1970; only the time of receipt counts.
        let events = (0..10).map(|_| event(0, "login", "x")).collect();
        fresh
            .insert_batches(&[batch(id, seq, 1, events)], received_ms)
            .await
            .unwrap();
    }
    let source = fresh
        .setting("security_retention_days", NOW)
        .await
        .unwrap()
        .unwrap()
        .source;
    assert!(source.contains("GB/T 22239-2019"), "{source}");
    assert_eq!(fresh.delete_expired_events(NOW, 4).await.unwrap(), 4);
    // Six events, and then what was remembered of their batch.
    assert_eq!(fresh.delete_expired_events(NOW, 100).await.unwrap(), 7);
    assert_eq!(fresh.delete_expired_events(NOW, 100).await.unwrap(), 0);
    assert_eq!(fresh.count_events().await.unwrap(), 20);
    // A longer retention, decided for later, applies from its date.
    let longer = Setting {
        key: "security_retention_days".to_owned(),
        value: "365".to_owned(),
        valid_from_ms: NOW + DAY,
        source: "decision".to_owned(),
    };
    fresh
        .add_setting(&longer, entry("setting.added"))
        .await
        .unwrap();
    assert_eq!(
        fresh.delete_expired_events(NOW + DAY, 100).await.unwrap(),
        0
    );
    // What was deleted does not come back.
    let replay = batch(id, 1, 1, vec![event(0, "login", "x")]);
    assert_eq!(
        fresh.insert_batches(&[replay], NOW).await.unwrap(),
        [BatchOutcome::Replay]
    );
}

#[tokio::test]
async fn a_retention_that_is_no_number_deletes_nothing() {
    let fresh = fresh().await;
    let wrong = Setting {
        key: "event_retention_days".to_owned(),
        value: "half a year".to_owned(),
        valid_from_ms: NOW,
        source: "typing error".to_owned(),
    };
    fresh
        .add_setting(&wrong, entry("setting.added"))
        .await
        .unwrap();
    let error = fresh.delete_expired_events(NOW, 100).await.unwrap_err();
    assert!(matches!(error, StoreError::Impossible(_)), "{error:?}");
}
