//! What happens again and again does not fill the audit record, and is not lost from it.

use xiezhi_model::*;
use xiezhi_store::{AuditQuery, SessionOutcome, SessionRequest, Store};

use crate::support::*;

const HOUR: i64 = 3_600_000;

async fn session(store: &Store, host: HostId, name: &str, previous: &str, now_ms: i64) {
    let request = SessionRequest {
        host,
        session: name.to_owned(),
        previous_session: previous.to_owned(),
        spool_epoch: 1,
        hostname: "h".to_owned(),
        version: "1".to_owned(),
        policy_root: String::new(),
        now_ms,
    };
    let outcome = store.start_sessions(&[request]).await.unwrap();
    assert!(matches!(outcome[0], SessionOutcome::Started { .. }));
    let confirmed = [(host, name.to_owned())];
    store.confirm_sessions(&confirmed).await.unwrap();
}

/// Counts that the conflicts on record carry, oldest first.
async fn conflicts(store: &Store) -> Vec<String> {
    let query = AuditQuery {
        action: Some("host.identity_conflict".to_owned()),
        ..AuditQuery::default()
    };
    let entries = store.audit(&query).await.unwrap();
    let repeats = |entry: &AuditRecord| entry.detail.get("repeats").cloned().unwrap_or_default();
    entries.iter().rev().map(repeats).collect()
}

#[tokio::test]
async fn two_clones_that_fight_are_told_once_an_hour_with_a_count() {
    let fresh = fresh().await;
    let [site, ..] = province(&fresh).await;
    let host = enrolled(&fresh, site).await;
    session(&fresh, host, "first", "", NOW).await;
    // Each remembers its own last session, and takes the identity from the other.
    let (mut one, mut two) = ("first".to_owned(), "copy".to_owned());
    let fight = async |from: i64, rounds: i64, one: &mut String, two: &mut String| {
        for round in 0..rounds {
            let at = from + round * 30_000;
            for own in [&mut *two, &mut *one] {
                let next = format!("{own}+");
                session(&fresh, host, &next, own, at).await;
                *own = next;
            }
        }
    };
    fight(NOW, 20, &mut one, &mut two).await;
    assert_eq!(conflicts(&fresh).await, [""], "at once, and then counted");
    fresh.close_audit_windows(NOW + HOUR - 1).await.unwrap();
    assert_eq!(conflicts(&fresh).await.len(), 1, "the hour is not over");
    fresh.close_audit_windows(NOW + HOUR).await.unwrap();
    assert_eq!(conflicts(&fresh).await, ["", "39"]);
    fight(NOW + HOUR + 1, 5, &mut one, &mut two).await;
    assert_eq!(
        conflicts(&fresh).await.len(),
        2,
        "the next hour's are counted"
    );
    fresh.close_audit_windows(NOW + 2 * HOUR).await.unwrap();
    assert_eq!(conflicts(&fresh).await, ["", "39", "10"]);
    fresh.close_audit_windows(NOW + 3 * HOUR).await.unwrap();
    assert_eq!(conflicts(&fresh).await.len(), 3, "peace is not told");
    fight(NOW + 9 * HOUR, 1, &mut one, &mut two).await;
    assert_eq!(
        conflicts(&fresh).await,
        ["", "39", "10", ""],
        "told at once again"
    );
}

#[tokio::test]
async fn a_window_that_nobody_closed_is_closed_by_the_next_one() {
    let fresh = fresh().await;
    let [site, ..] = province(&fresh).await;
    let host = enrolled(&fresh, site).await;
    session(&fresh, host, "a", "", NOW).await;
    for (round, at) in [0, 1, 2, 5 * HOUR].into_iter().enumerate() {
        session(&fresh, host, &format!("s{round}"), "foreign", NOW + at).await;
    }
    assert_eq!(conflicts(&fresh).await, ["", "2"]);
    // A clock that was set back by more than a window does not silence it.
    session(&fresh, host, "s9", "foreign", NOW - 3 * HOUR).await;
    assert_eq!(conflicts(&fresh).await.len(), 3);
}
