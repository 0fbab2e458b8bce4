//! Retention under trouble: it is what frees a disk, so nothing that fails elsewhere may stop it, and
//! nothing that it could not do is forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::scene::{Scene, ask};

/// Four blocks, of which the first two are too old from now on.
fn scene() -> Scene {
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for _ in 0..5 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    drop(store);
    scene.options.retention = Duration::from_secs(3500);
    scene
}

fn of_block(names: &[String], first: u64) -> (bool, bool) {
    let has = |kind: &str| {
        let begin = format!("{kind}-{first:010}");
        names.iter().any(|name| name.starts_with(&begin))
    };
    (has("block"), has("rollup"))
}

#[test]
fn a_full_disk_costs_the_steps_of_the_oldest_samples_and_not_the_others() {
    let mut scene = scene();
    // The third goes as well.
    scene.options.retention = Duration::from_secs(1700);
    let names = scene.disk.names();
    let bytes: usize = names.iter().map(|name| scene.disk.length(name)).sum();
    let mut outcomes = std::collections::BTreeSet::new();
    for room in (0..60_000).step_by(3_000).chain([1 << 20]) {
        let disk = scene.disk.after_kill();
        disk.set_capacity(Some(bytes + room));
        let store = scene.open_on(&disk).unwrap();
        store.maintain().unwrap();
        let names = disk.names();
        let steps = [1, 2, 3].map(|first| {
            let (block, steps) = of_block(&names, first);
            assert!(!block, "{room} bytes of room: {names:?}");
            steps
        });
        assert_eq!(of_block(&names, 4), (true, false), "{names:?}");
        outcomes.insert(steps);
    }
    // Without any room the samples go all the same; what they leave is room for the steps of others.
    assert!(
        outcomes.contains(&[false, false, true]) || outcomes.contains(&[false, true, true]),
        "{outcomes:?}"
    );
    assert!(outcomes.contains(&[true, true, true]), "{outcomes:?}");
}

#[test]
fn a_file_that_could_not_be_removed_goes_with_the_next_pass() {
    let scene = scene();
    for operation in 0.. {
        let disk = scene.disk.after_kill();
        let store = scene.open_on(&disk).unwrap();
        disk.fail_once(operation, ErrorKind::Other);
        let outcome = store.maintain();
        if disk.waits_to_fail() {
            assert!(operation > 10, "{operation}");
            break;
        }
        drop(outcome);
        store.maintain().unwrap();
        let names = disk.names();
        for first in [1, 2] {
            assert_eq!(
                of_block(&names, first),
                (false, true),
                "{operation} {names:?}"
            );
        }
        assert_eq!(ask(&store).1, 0, "{operation}");
    }
}

#[test]
fn a_log_that_the_disk_refuses_holds_no_later_log_from_its_block() {
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for _ in 0..3 {
        scene.tell(&store);
    }
    let (truth, _) = ask(&store);
    scene.disk.refuse("wal-0000000001.log", Some(1));
    let error = store.maintain().unwrap_err();
    assert!(error.to_string().contains("wal-0000000001"), "{error}");
    let names = scene.disk.names();
    assert_eq!(of_block(&names, 1), (false, false), "{names:?}");
    assert_eq!(of_block(&names, 2), (true, false), "{names:?}");
    assert!(
        !names.contains(&"wal-0000000002.log".to_owned()),
        "{names:?}"
    );
    // The samples of the first are served yet, and come into its block when the disk gives it.
    assert_eq!(ask(&store).0.len(), truth.len());
    assert!(!store.damage_met().is_none());
    scene.disk.relent_after(0);
    store.maintain().unwrap();
    let names = scene.disk.names();
    assert_eq!(of_block(&names, 1), (true, false), "{names:?}");
    let is_log = |name: &String| name.starts_with("wal-0000000001");
    assert!(!names.iter().any(is_log), "a healthy log stayed: {names:?}");
    let met = store.damage_met();
    assert!(met.is_none(), "{met:?}");
    assert_eq!(ask(&store), (truth, 0));
    assert!(store.verify().unwrap().is_whole());
}
