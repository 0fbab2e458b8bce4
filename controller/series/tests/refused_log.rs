//! A log that the disk refuses at a start, whose reports come again while it waits, and that the disk gives
//! later: each report counts once, as samples or as steps, and none is lost.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::telling::Story;
use common::{ManualClock, options};
use xiezhi_series::{SeriesOptions, SeriesStore};

/// The half hour whose log is refused.
const REFUSED: i64 = 3;

/// What comes again, and what passes before the disk gives the log.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// Half hours from the one that comes again on.
    waits: i64,
    /// Whether the store starts again amid them.
    restarts: bool,
    /// Whether what comes again can be decoded where it is stored.
    is_decodable: bool,
    /// Whether the disk gives the log at a start, or while the store is open.
    at_a_start: bool,
}

struct Scene {
    clock: ManualClock,
    disk: PowerDisk,
    store: SeriesStore,
}

impl Scene {
    /// Samples are kept for four hours, their steps are made just before they go.
    fn options(clock: &ManualClock) -> SeriesOptions {
        SeriesOptions {
            retention: Duration::from_secs(4 * 3600),
            ..options(clock)
        }
    }

    fn new() -> Self {
        let (clock, disk) = (ManualClock::new(), PowerDisk::default());
        let store = SeriesStore::open_on(Arc::new(disk.clone()), Self::options(&clock)).unwrap();
        Self { clock, disk, store }
    }

    fn start_again(&mut self) {
        let disk = Arc::new(self.disk.clone());
        self.store = SeriesStore::open_on(disk, Self::options(&self.clock)).unwrap();
    }
}

/// A log is refused at a start; what it holds comes again, and then more.
fn play(case: Case) {
    let mut scene = Scene::new();
    let mut story = Story::default();
    for _ in 0..REFUSED {
        story.tell(&scene.store, &scene.clock);
        scene.store.maintain().unwrap();
    }
    let log = format!("wal-{REFUSED:010}.log");
    for sector in 0..scene.disk.sectors(&log) {
        scene.disk.refuse(&log, Some(sector));
    }
    scene.start_again();
    let waiting = std::slice::from_ref(&log);
    assert_eq!(scene.store.damage_met().refused, *waiting, "{case:?}");
    if case.is_decodable {
        story = Story::resumed(REFUSED - 1);
    } else {
        story.forget_last();
    }
    for half_hour in 0..case.waits {
        story.tell(&scene.store, &scene.clock);
        scene.store.maintain().unwrap();
        if case.restarts && half_hour == case.waits / 2 {
            scene.start_again();
        }
    }
    assert_eq!(scene.store.damage_met().refused, *waiting, "{case:?}");
    scene.disk.relent_after(0);
    if case.at_a_start {
        scene.start_again();
    }
    scene.store.maintain().unwrap();
    assert!(scene.store.damage_met().is_none(), "{case:?}");
    check(&scene, &story, case);
    scene.start_again();
    check(&scene, &story, case);
    // Until none of it is left but steps.
    let steps = scene.store.stats().removed_segments;
    for _ in 0..16 {
        story.tell(&scene.store, &scene.clock);
        scene.store.maintain().unwrap();
    }
    assert!(scene.store.stats().removed_segments > steps);
    assert!(
        !scene.disk.names().iter().any(|name| is_of_refused(name)),
        "{case:?}"
    );
    story.check_counts(&scene.store);
    story.check_frames(&scene.store);
}

/// All counts once, whether answered from samples or told by the ledgers.
fn check(scene: &Scene, story: &Story, case: Case) {
    story.check_counts(&scene.store);
    story.check_frames(&scene.store);
    if case.is_decodable && scene.store.stats().removed_segments == 0 {
        story.check(&scene.store);
        let hosts = 2;
        let frames = hosts * story.reports().unsigned_abs();
        assert_eq!(scene.store.stats().frames, frames, "{case:?}");
    }
}

/// Whether a file may hold samples of the refused log.
fn is_of_refused(name: &str) -> bool {
    let mut parts = name.trim_end_matches(".xzb").split('-');
    let is_block = parts.next() == Some("block");
    let first = parts.next().and_then(|first| first.parse::<i64>().ok());
    is_block && first <= Some(REFUSED)
}

#[test]
fn what_came_again_while_a_log_waited_counts_once() {
    for waits in 1..=8 {
        for restarts in [false, true] {
            for at_a_start in [false, true] {
                play(Case {
                    waits,
                    restarts,
                    is_decodable: true,
                    at_a_start,
                });
            }
        }
    }
}

#[test]
fn what_came_again_and_could_not_be_decoded_is_kept_from_the_log_that_waited() {
    for waits in [1, 2, 7] {
        for at_a_start in [false, true] {
            play(Case {
                waits,
                restarts: false,
                is_decodable: false,
                at_a_start,
            });
        }
    }
}
