//! Files that the disk refuses, so that nothing is known of them but their names: they take space, they
//! grow old, a backup lacks them, and what is told of them is not what is told of damage.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::time::Duration;

use common::Reporter;
use common::power::PowerDisk;
use common::scene::{HOSTS, Scene, ask};
use xiezhi_series::check_backup;

const SECOND: &str = "block-0000000002-0000000002.xzb";
const FOURTH: &str = "block-0000000004-0000000004.xzb";

/// Of all logs and blocks.
fn bytes(disk: &PowerDisk) -> u64 {
    let mut names = disk.names();
    names.retain(|name| name.starts_with("wal") || name.starts_with("block"));
    names.iter().map(|name| disk.length(name) as u64).sum()
}

fn has(disk: &PowerDisk, name: &str) -> bool {
    disk.names().iter().any(|one| one == name)
}

#[test]
fn a_file_of_which_nothing_can_be_read_counts_for_max_bytes_and_goes_in_its_turn() {
    let mut scene = Scene::with_blocks(4);
    let first = "block-0000000001-0000000001.xzb";
    for second_goes in [false, true] {
        let disk = scene.disk.after_kill();
        disk.refuse(SECOND, None);
        let most = if second_goes {
            // Room for the last block and what is no candidate.
            bytes(&disk)
                - (1..=3)
                    .map(|at| disk.length(&block(at)) as u64)
                    .sum::<u64>()
        } else {
            bytes(&disk) - disk.length(first) as u64 / 2
        };
        scene.options.max_bytes = Some(most);
        let store = scene.open_on(&disk).unwrap();
        store.maintain().unwrap();
        assert!(bytes(&disk) <= most, "{} {most}", bytes(&disk));
        assert!(!has(&disk, first), "{:?}", disk.names());
        assert_eq!(has(&disk, SECOND), !second_goes, "{:?}", disk.names());
        let refused = store.damage_met().refused;
        assert_eq!(refused.is_empty(), second_goes, "{refused:?}");
        assert!(has(&disk, FOURTH));
    }
}

fn block(at: u64) -> String {
    format!("block-{at:010}-{at:010}.xzb")
}

#[test]
fn a_file_of_which_nothing_can_be_read_goes_when_what_came_after_it_is_too_old() {
    let mut scene = Scene::with_blocks(4);
    // The first two are too old.
    scene.options.retention = Duration::from_secs(3500);
    for (name, goes) in [(block(1), true), (block(2), false), (block(4), false)] {
        let disk = scene.disk.after_kill();
        disk.refuse(&name, None);
        let store = scene.open_on(&disk).unwrap();
        store.maintain().unwrap();
        assert!(has(&disk, &block(3)));
        assert_eq!(has(&disk, &name), !goes, "{name}: {:?}", disk.names());
        // No steps are there of what went, and that is told.
        let lost = store.without_steps().map_or(0, |lost| lost.files);
        assert_eq!(lost, u64::from(goes), "{name}");
    }
}

#[test]
fn a_log_that_the_disk_never_gives_goes_when_its_time_is_over_and_leaves_steps() {
    const LOG: &str = "wal-0000000001.log";
    let mut scene = Scene::new(|options| options.retention = Duration::from_secs(7200));
    let store = scene.open();
    scene.tell(&store);
    drop(store);
    scene.disk.refuse(LOG, Some(2));
    let store = scene.open();
    assert_eq!(store.damage_met().refused, [LOG.to_owned()]);
    let could_be_read = ask(&store).0.len();
    assert!(could_be_read > 0);
    // Agents that connect again begin with a whole report.
    scene.reporters = (1..=HOSTS).map(Reporter::new).collect();
    for half_hour in 0..9 {
        scene.tell(&store);
        drop(store.maintain());
        let is_kept = half_hour < 4;
        assert!(!is_kept || has(&scene.disk, LOG), "{half_hour}");
    }
    assert!(!has(&scene.disk, LOG), "{:?}", scene.disk.names());
    assert!(has(&scene.disk, "rollup-0000000001-0000000001-300.xzb"));
    // It is in no memory either, and nothing tells of it.
    assert_eq!(store.stats().log_segments, 1);
    assert!(store.damage_met().is_none(), "{:?}", store.damage_met());
    store.maintain().unwrap();
}

#[test]
fn a_backup_says_what_it_leaves_out() {
    let scene = Scene::with_blocks(4);
    scene.disk.refuse(SECOND, None);
    let store = scene.open();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("backup");
    let report = store.backup(&target).unwrap();
    assert_eq!(report.left_out, [SECOND.to_owned()]);
    assert!(!target.join(SECOND).exists());
    let check = check_backup(&target).unwrap();
    let is_it = |line: &&String| line.contains("not in this backup") && line.contains(SECOND);
    assert_eq!(
        check.noted.iter().filter(is_it).count(),
        1,
        "{:?}",
        check.noted
    );
    assert!(!check.is_whole());
}

#[test]
fn what_comes_back_by_itself_is_not_told_as_damage() {
    let scene = Scene::with_blocks(4);
    for sector in [None, Some(0)] {
        let disk = scene.disk.after_kill();
        disk.refuse(SECOND, sector);
        let store = scene.open_on(&disk).unwrap();
        ask(&store);
        let met = store.damage_met();
        assert!(met.only_waits(), "{met:?}");
        disk.flip(FOURTH, disk.length(FOURTH) / 2);
        ask(&store);
        let met = store.damage_met();
        assert!(!met.only_waits(), "{met:?}");
        disk.relent_after(0);
        store.maintain().unwrap();
        assert!(!store.damage_met().only_waits());
    }
}
