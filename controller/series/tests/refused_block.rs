//! A block that the disk refuses at a start and gives later: what was made of it and what it was made of do
//! not count beside it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::telling::{START, Story};
use common::{ManualClock, options, scene};
use xiezhi_series::SeriesStore;

const HALF_HOUR: i64 = 1_800_000;

/// A disk on which half hours were told, and the power went in a pass.
struct Scene {
    half_hours: i64,
    hours: u64,
    disk: PowerDisk,
}

impl Scene {
    /// Samples are kept for so many hours; the last two half hours are not cut yet.
    fn told(half_hours: i64, hours: u64) -> Self {
        let mut scene = Self {
            half_hours: 0,
            hours,
            disk: PowerDisk::default(),
        };
        let (store, clock) = scene.open();
        let mut story = Story::default();
        for half_hour in 1..=half_hours {
            story.tell(&store, &clock);
            if half_hour < half_hours {
                store.maintain().unwrap();
            }
        }
        story.check(&store);
        scene.half_hours = half_hours;
        scene
    }

    /// A clock of its own: each story goes on from the same time.
    fn open(&self) -> (SeriesStore, ManualClock) {
        let clock = ManualClock::new();
        let passed_ms = START + self.half_hours * HALF_HOUR - clock.clock().now_ms();
        clock.advance(Duration::from_millis(passed_ms.unsigned_abs()));
        let options = xiezhi_series::SeriesOptions {
            retention: Duration::from_secs(self.hours * 3600),
            ..options(&clock)
        };
        let store = SeriesStore::open_on(Arc::new(self.disk.clone()), options).unwrap();
        (store, clock)
    }

    /// The disks on which the power went in the next pass, and which are as wanted.
    fn cut_short(&self, is_wanted: &dyn Fn(&[String]) -> bool) -> Vec<Self> {
        let mut found = Vec::new();
        for step in 0.. {
            let scene = self.with(self.disk.after_kill());
            let (store, _) = scene.open();
            scene.disk.set_fuse(step);
            if store.maintain().is_ok() {
                break;
            }
            drop(store);
            let disk = scene.disk.after_power_loss(step);
            if is_wanted(&disk.names()) {
                found.push(self.with(disk));
            }
        }
        assert!(!found.is_empty());
        found
    }

    fn with(&self, disk: PowerDisk) -> Self {
        Self { disk, ..*self }
    }

    /// The disk gives all. Everything counts once, now and when only steps are left of it.
    fn check_to_the_end(&self, store: SeriesStore, clock: &ManualClock, what: &str) {
        self.disk.relent_after(0);
        store.maintain().unwrap();
        assert!(store.damage_met().is_none(), "{what}");
        let mut story = Story::resumed(self.half_hours);
        story.check(&store);
        let removed = store.stats().removed_segments;
        for _ in 0..self.hours * 2 + 10 {
            story.tell(&store, clock);
            store.maintain().unwrap();
        }
        assert!(store.stats().removed_segments > removed, "{what}");
        story.check_counts(&store);
        assert_eq!(store.damage_met().set_aside, Vec::<String>::new(), "{what}");
        drop(store);
        let (store, _) = self.open();
        story.check_counts(&store);
    }
}

fn is_there(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one == name)
}

fn has_steps(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with("rollup-"))
}

#[test]
fn a_merged_block_that_comes_back_takes_the_place_of_its_sources() {
    let merged = "block-0000000001-0000000006.xzb";
    let source = |id: u64| format!("block-{id:010}-{id:010}.xzb");
    let is_wanted = |names: &[String]| {
        is_there(names, merged) && (1..=6).any(|id| is_there(names, &source(id)))
    };
    for scene in Scene::told(7, 5).cut_short(&is_wanted) {
        let names = scene.disk.names();
        scene.disk.refuse(merged, Some(0));
        let (store, clock) = scene.open();
        assert_eq!(store.damage_met().refused, [merged.to_owned()], "{names:?}");
        store.maintain().unwrap();
        scene.disk.relent_after(0);
        store.maintain().unwrap();
        let left = scene.disk.names();
        assert!(!(1..=6).any(|id| is_there(&left, &source(id))), "{left:?}");
        scene.check_to_the_end(store, &clock, &format!("{names:?}"));
    }
}

const DAY: &str = "block-0000000001-0000000048.xzb";

/// Disks with the block of a day of which no steps were made yet.
fn without_steps() -> Scene {
    let is_wanted = |names: &[String]| is_there(names, DAY) && !has_steps(names);
    let scenes = Scene::told(49, 30).cut_short(&is_wanted);
    scenes.into_iter().next_back().unwrap()
}

#[test]
fn no_steps_are_made_of_a_block_that_waits_to_be_read() {
    let mut scene = scene::Scene::new(|_| {});
    let store = scene.open();
    for _ in 0..49 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    drop(store);
    // Without them a start reads the ledger too, and a pass makes steps.
    let is_made = |name: &str| name.starts_with("rollup-") || name.starts_with("dedup.");
    for name in scene.disk.names().iter().filter(|name| is_made(name)) {
        scene.disk.remove_file(name);
    }
    let (truth, _) = scene::ask(&scene.open());
    let mut listed = 0;
    for sector in 1..scene.disk.sectors(DAY) {
        let disk = scene.disk.after_kill();
        disk.refuse(DAY, Some(sector));
        let store = scene.open_on(&disk).unwrap();
        // A start reads no pages, and what it cannot open it does not list.
        if store.damage_met().refused.is_empty() || store.stats().samples == 0 {
            continue;
        }
        for _ in 0..4 {
            drop(store.maintain());
        }
        assert!(!has_steps(&disk.names()), "{sector}: {:?}", disk.names());
        disk.relent_after(0);
        store.maintain().unwrap();
        assert!(has_steps(&disk.names()), "{sector}: {:?}", disk.names());
        listed += 1;
        if listed == 3 {
            assert_eq!(scene::ask(&store), (truth, 0));
            return;
        }
    }
    panic!("listed while they waited: {listed}");
}

#[test]
fn steps_of_what_could_be_read_of_a_block_are_made_anew_when_it_comes_back() {
    let scene = without_steps();
    let (store, _) = scene.open();
    scene.disk.refuse(DAY, Some(0));
    for _ in 0..2 {
        store.maintain().unwrap_err();
    }
    // It is believed now.
    store.maintain().unwrap();
    assert!(has_steps(&scene.disk.names()));
    drop(store);
    let (store, clock) = scene.open();
    assert_eq!(store.damage_met().refused, [DAY.to_owned()]);
    scene.check_to_the_end(store, &clock, "after all");
}
