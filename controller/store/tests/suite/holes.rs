//! Holes in the numbers of event batches, and what is none.

use xiezhi_model::*;
use xiezhi_store::{Hole, Store};

use crate::support::*;

async fn put(store: &Store, host: HostId, epoch: u64, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        let mut one = batch(host, seq, 1, vec![event(NOW, "login", "x")]);
        one.epoch = epoch;
        let at = NOW + i64::try_from(seq).unwrap();
        store.insert_batches(&[one], at).await.unwrap();
    }
}

async fn holes(store: &Store) -> Vec<(u64, u64, u64)> {
    let found = store.event_holes().await.unwrap();
    found.iter().map(|h| (h.epoch, h.first, h.last)).collect()
}

#[tokio::test]
async fn a_hole_is_what_lies_between_and_has_no_reason() {
    let fresh = fresh().await;
    let [site, ..] = province(&fresh).await;
    let host = enrolled(&fresh, site).await;
    // Nothing is missing before the first number: a spool may begin anywhere.
    put(&fresh, host, 1, [5, 6, 9, 12]).await;
    let found = fresh.event_holes().await.unwrap();
    let expected = Hole {
        host,
        epoch: 1,
        stream: EventStream::Security,
        first: 7,
        last: 8,
        from_ms: NOW + 6,
        to_ms: NOW + 9,
    };
    assert_eq!(found[0], expected);
    assert_eq!(holes(&fresh).await, [(1, 7, 8), (1, 10, 11)]);
    let gap = Gap {
        host,
        epoch: 1,
        stream: "security".to_owned(),
        first: 10,
        last: 11,
        from_ms: 0,
        to_ms: 0,
        reason: "full".to_owned(),
    };
    fresh.insert_gaps(&[gap], NOW).await.unwrap();
    put(&fresh, host, 1, [7]).await;
    assert_eq!(holes(&fresh).await, [(1, 8, 8)]);
    put(&fresh, host, 1, [8]).await;
    assert_eq!(holes(&fresh).await, []);
}

#[tokio::test]
async fn what_is_counted_in_an_earlier_epoch_is_no_hole() {
    let fresh = fresh().await;
    let [site, ..] = province(&fresh).await;
    let host = enrolled(&fresh, site).await;
    put(&fresh, host, 1, 1..=6).await;
    let epoch = fresh.open_epoch(host, 1, entry("x")).await.unwrap();
    let mut other = batch(host, 2, 99, vec![event(NOW, "login", "other")]);
    other.epoch = epoch;
    fresh.insert_batches(&[other], NOW).await.unwrap();
    // 3 to 6 are known and may come again; 8 is really missing.
    put(&fresh, host, epoch, [7, 3, 4, 5, 9]).await;
    assert_eq!(holes(&fresh).await, [(epoch, 8, 8)]);
    fresh.revoke_host(host, "lost", entry("x")).await.unwrap();
    assert_eq!(holes(&fresh).await, []);
}
