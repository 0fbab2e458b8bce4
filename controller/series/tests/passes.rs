//! A pass that cuts, merges, rolls up and removes, and the power that goes, or the disk that fails, at
//! every single operation of it: each report is counted once, by its samples or by their steps.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::telling::Story;
use common::{ManualClock, options};
use xiezhi_series::{SeriesOptions, SeriesStore};

const MINUTES: u64 = 60;

/// Samples are kept so long that the last pass removes a day's block whose steps were made before,
/// and five-minute steps too.
fn a_day_goes(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        retention: Duration::from_secs((23 * 60 + 20) * MINUTES),
        retention_5m: Duration::from_secs((23 * 60 + 25) * MINUTES),
        ..options(clock)
    }
}

/// Samples are kept for less than a day: their steps are made just before they go.
fn hours_go(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        retention: Duration::from_secs(9 * 60 * MINUTES),
        ..options(clock)
    }
}

/// A disk just before the pass, and what was told.
struct Scene {
    clock: ManualClock,
    disk: PowerDisk,
    story: Story,
    options: fn(&ManualClock) -> SeriesOptions,
}

impl Scene {
    /// Half hours are told; the last few of them are not cut yet.
    fn new(half_hours: u64, waiting: u64, options: fn(&ManualClock) -> SeriesOptions) -> Self {
        let (clock, disk) = (ManualClock::new(), PowerDisk::default());
        let store = SeriesStore::open_on(Arc::new(disk.clone()), options(&clock)).unwrap();
        let mut story = Story::default();
        for half_hour in 1..=half_hours {
            story.tell(&store, &clock);
            if half_hour + waiting <= half_hours {
                store.maintain().unwrap();
            }
        }
        story.check(&store);
        let clock = clock.clone();
        Self {
            clock,
            disk,
            story,
            options,
        }
    }

    fn open(&self, disk: &PowerDisk) -> SeriesStore {
        SeriesStore::open_on(Arc::new(disk.clone()), (self.options)(&self.clock)).unwrap()
    }

    /// What one pass does to a copy of the disk: file operations and readings.
    fn whole_pass(&self) -> (u64, u64) {
        let disk = self.disk.after_kill();
        let store = self.open(&disk);
        let (operations, readings) = (disk.operations(), disk.readings());
        store.maintain().unwrap();
        let operations = disk.operations() - operations;
        let readings = disk.readings() - readings;
        let (stats, names) = (store.stats(), disk.names());
        let is_new = |name: &&String| !self.disk.names().contains(name);
        let made = names.iter().filter(is_new).cloned().collect::<Vec<_>>();
        assert!(made.iter().any(|name| is_rollup(name)), "{made:?}");
        assert!(made.iter().any(|name| is_merged(name)), "{made:?}");
        assert!(stats.removed_segments > 0, "nothing was removed");
        self.story.check(&store);
        (operations, readings)
    }

    /// The store comes back, has all, goes on with the pass, and has all again, once.
    fn check_to_the_end(&self, disk: &PowerDisk) {
        let store = self.open(disk);
        self.story.check(&store);
        store.maintain().unwrap();
        self.story.check(&store);
        self.story.check_frames(&store);
        assert_eq!(store.verify().unwrap().damaged, []);
        drop(store);
        let store = self.open(disk);
        self.story.check(&store);
        assert_eq!(store.stats().damaged, 0);
        let temporary = |name: &String| name.ends_with(".tmp");
        assert!(!disk.names().iter().any(temporary), "{:?}", disk.names());
    }

    fn power_goes_at_every_operation(&self) {
        let (operations, _) = self.whole_pass();
        assert!(operations > 40, "the pass has only {operations} operations");
        for step in 0..operations {
            for seed in 0..3 {
                let disk = self.disk.after_kill();
                let store = self.open(&disk);
                disk.set_fuse(step);
                assert!(store.maintain().is_err(), "step {step} of {operations}");
                drop(store);
                let disk = disk.after_power_loss(seed * 7919 + step * 31);
                // And once more while it recovers and goes on.
                disk.set_fuse((step * 7 + seed) % 53);
                let again =
                    SeriesStore::open_on(Arc::new(disk.clone()), (self.options)(&self.clock));
                if let Ok(store) = again {
                    drop(store.maintain());
                }
                self.check_to_the_end(&disk.after_power_loss(seed * 31 + step));
            }
        }
    }

    fn the_disk_fails_at_every_operation(&self) {
        let (operations, readings) = self.whole_pass();
        let fails = |prepare: &dyn Fn(&PowerDisk), what: &str| {
            let disk = self.disk.after_kill();
            let store = self.open(&disk);
            prepare(&disk);
            let outcome = store.maintain();
            assert!(!disk.waits_to_fail(), "{what} did not come");
            // Removing what is not finished may fail quietly; anything else is said.
            if outcome.is_err() {
                assert!(store.sealing_trouble().is_some(), "{what} is not shown");
            }
            self.story.check(&store);
            store.maintain().unwrap();
            assert!(store.sealing_trouble().is_none());
            self.story.check(&store);
            drop(store);
            self.check_to_the_end(&disk.after_power_loss(5));
        };
        for step in 0..operations {
            for how in [ErrorKind::StorageFull, ErrorKind::Other] {
                let prepare = |disk: &PowerDisk| disk.fail_once(step, how);
                fails(&prepare, &format!("{how:?} at step {step}"));
            }
        }
        for reading in 0..readings {
            let prepare = |disk: &PowerDisk| disk.fail_reading_once(reading);
            fails(&prepare, &format!("a failure of reading {reading}"));
            let prepare = |disk: &PowerDisk| disk.refuse_reading_once(reading);
            fails(&prepare, &format!("a refusal of reading {reading}"));
        }
    }
}

/// `block-FIRST-LAST.xzb`, with the resolution behind it if it is a rollup.
fn is_merged(name: &str) -> bool {
    let parts: Vec<&str> = name.trim_end_matches(".xzb").split('-').collect();
    matches!(parts[..], ["block", first, last] if first != last)
}

fn is_rollup(name: &str) -> bool {
    name.starts_with("rollup-")
}

#[test]
fn power_may_go_at_every_operation_when_a_day_is_merged_rolled_up_and_another_removed() {
    Scene::new(97, 2, a_day_goes).power_goes_at_every_operation();
}

#[test]
fn power_may_go_at_every_operation_when_samples_are_rolled_up_just_before_they_go() {
    Scene::new(26, 8, hours_go).power_goes_at_every_operation();
}

#[test]
fn the_disk_may_fail_at_every_operation_when_a_day_is_merged_rolled_up_and_another_removed() {
    Scene::new(97, 2, a_day_goes).the_disk_fails_at_every_operation();
}

#[test]
fn the_disk_may_fail_at_every_operation_when_samples_are_rolled_up_just_before_they_go() {
    Scene::new(26, 8, hours_go).the_disk_fails_at_every_operation();
}
