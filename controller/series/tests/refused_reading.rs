//! What one reading asks of a disk that refuses many sectors: a few of them, and no healthy one behind them
//! is given up. A verification asks for all.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::time::Duration;

use common::scene::{Scene, ask};
use xiezhi_series::SeriesStore;

const BLOCK: &str = "block-0000000001-0000000001.xzb";
/// Asks of one reading: all of it, a few sectors, and a few larger pieces.
const MOST: u64 = 1 + 8 + 8;
/// The time of a log.
const DAYS: Duration = Duration::from_secs(3 * 86_400);
/// Refused sectors, from the second on.
const BAD: u64 = 20;

/// A large block, and how many sectors it has. A refused sector is asked for again after a while only.
fn with_a_large_block() -> (Scene, SeriesStore, u64) {
    let mut scene = Scene::new(|options| {
        options.ask_again.sector = Duration::from_secs(600);
        options.segment_span = DAYS;
    });
    let store = scene.open();
    for _ in 0..70 {
        scene.tell(&store);
    }
    scene.clock.advance(DAYS);
    scene.tell(&store);
    store.maintain().unwrap();
    let sectors = scene.disk.sectors(BLOCK);
    assert!(sectors > BAD * 2, "{sectors}");
    (scene, store, sectors)
}

/// How many points of the first host are answered, and what was asked for in vain.
fn query(scene: &Scene, store: &SeriesStore) -> (usize, u64) {
    let before = scene.disk.refusals();
    let report = store.range_report(1, i64::MIN, i64::MAX, &|_| true);
    let series = report.unwrap().series;
    let points = series.iter().map(|one| one.points.len()).sum();
    (points, scene.disk.refusals() - before)
}

#[test]
fn a_query_asks_for_a_few_refused_sectors_and_no_more() {
    let (scene, store, _) = with_a_large_block();
    let (all, _) = query(&scene, &store);
    for sector in 1..=BAD {
        scene.disk.refuse(BLOCK, Some(sector));
    }
    // The block's pages lie one behind the other and are read together.
    let (points, asked) = query(&scene, &store);
    assert!((8..=MOST).contains(&asked), "{asked}");
    // All of it is known before long, and nothing is asked for until its time comes.
    for _ in 0..BAD {
        assert!(query(&scene, &store).1 <= MOST);
    }
    let (healthy, asked) = query(&scene, &store);
    assert_eq!(asked, 0);
    // Most of what is healthy was there at once.
    assert!(points * 2 > healthy, "{points} of {healthy}");
    assert!((1..all).contains(&healthy), "{healthy} of {all}");
    assert!(scene.disk.refusals() <= 3 * MOST);
}

#[test]
fn a_verification_asks_for_every_sector_once() {
    let (scene, store, sectors) = with_a_large_block();
    scene.disk.refuse(BLOCK, None);
    assert!(!store.verify().unwrap().is_whole());
    let refused = scene.disk.refusals();
    drop(store.verify());
    assert_eq!(scene.disk.refusals(), refused, "of {sectors} sectors");
    scene.disk.relent_after(0);
    assert_eq!(ask(&scene.open()).1, 0);
}
