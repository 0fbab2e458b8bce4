//! A disk that takes seconds to refuse a reading: a start ends all the same, and before long.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use common::power::REFUSALS;
use common::scene::{Scene, ask};
use common::{AT_ONCE, Reporter};
use xiezhi_series::AskAgain;

/// How long the disk takes to refuse.
const EACH: Duration = Duration::from_secs(2);
/// How long a start asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for refusals after that, those of each file's first sector left out.
const MOST: Duration = Duration::from_secs(32);

/// A clock that stands still but for refusals.
fn now() -> Instant {
    thread_local! {
        static BEGIN: OnceCell<Instant> = const { OnceCell::new() };
    }
    BEGIN.with(|begin| *begin.get_or_init(Instant::now)) + EACH * REFUSALS.get()
}

fn slow() -> AskAgain {
    AskAgain {
        opening: PATIENCE,
        sector: Duration::from_secs(600),
        now,
        ..AT_ONCE
    }
}

/// So many logs that are not cut yet.
fn with_logs(logs: usize) -> (Scene, Vec<String>) {
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for _ in 0..logs {
        scene.tell(&store);
    }
    drop(store);
    scene.options.ask_again = slow();
    let names = scene.disk.names().into_iter();
    let names: Vec<String> = names.filter(|name| name.starts_with("wal")).collect();
    assert_eq!(names.len(), logs);
    (scene, names)
}

#[test]
fn a_start_waits_for_refusals_no_longer_than_it_may() {
    let (scene, names) = with_logs(6);
    let (truth, damaged) = ask(&scene.open());
    assert_eq!(damaged, 0);
    let (last, refused) = names.split_last().unwrap();
    for name in refused {
        for sector in 1..scene.disk.sectors(name) {
            scene.disk.refuse(name, Some(sector));
        }
    }
    let began = now();
    let store = scene.open();
    let took = now() - began;
    let files = u32::try_from(refused.len()).unwrap();
    let most = PATIENCE + MOST + 2 * EACH * files;
    assert!(took <= most, "{took:?}, not {most:?}");
    // All that was not asked for waits, and what could be read is served.
    assert_eq!(store.damage_met().refused, refused, "but not {last}");
    assert!(!ask(&store).0.is_empty());
    scene.disk.relent_after(0);
    drop(store);
    assert_eq!(ask(&scene.open()), (truth, 0));
}

#[test]
fn a_disk_is_not_taken_for_gone_by_the_files_that_come_first() {
    // A third of them, but more than anybody tries one after the other.
    const REFUSED: u32 = 101;
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for seq in 1..=300 {
        scene.clock.advance(Duration::from_secs(1800));
        store
            .append(&[Reporter::new(1).report(seq).frame()])
            .unwrap();
    }
    drop(store);
    scene.options.ask_again = slow();
    let names = scene.disk.names();
    assert_eq!(names.len(), 300);
    for name in names.iter().take(REFUSED as usize) {
        scene.disk.refuse(name, None);
    }
    let began = now();
    scene.open();
    let took = now() - began;
    let most = PATIENCE + MOST + 2 * EACH * REFUSED;
    assert!(took <= most, "{took:?}, not {most:?}");
}

#[test]
fn a_start_ends_however_many_files_a_slow_disk_refuses() {
    const REFUSED: usize = 300;
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for seq in 1..=REFUSED as u64 + 10 {
        scene.clock.advance(Duration::from_secs(1800));
        store
            .append(&[Reporter::new(1).report(seq).frame()])
            .unwrap();
    }
    drop(store);
    scene.options.ask_again = slow();
    let names = scene.disk.names();
    for name in names.iter().take(REFUSED) {
        scene.disk.refuse(name, None);
    }
    let began = now();
    let store = scene.open();
    let took = now() - began;
    let most = PATIENCE + Duration::from_secs(300) + 20 * EACH;
    assert!(took <= most, "{took:?}, not {most:?}");
    // What was not asked for waits with the others, healthy or not, and comes back.
    assert!(store.damage_met().refused.len() >= REFUSED);
    drop(store);
    scene.disk.relent_after(0);
    let store = scene.open();
    assert!(store.damage_met().is_none());
    assert_eq!(store.frames(1).unwrap().len(), REFUSED + 10);
}

#[test]
fn a_disk_that_is_gone_is_told_before_long() {
    let (scene, names) = with_logs(40);
    for name in &names {
        scene.disk.refuse(name, None);
    }
    let began = now();
    let error = scene.open_on(&scene.disk).unwrap_err();
    assert!(error.to_string().contains("read any file"), "{error}");
    let took = now() - began;
    assert!(took <= PATIENCE + EACH * 17, "{took:?}");
}
