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

use common::power::PowerDisk;
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

/// Of each of the first three blocks: whether it is there, and whether steps of it are.
fn of_three(disk: &PowerDisk) -> [(bool, bool); 3] {
    let names = disk.names();
    [1, 2, 3].map(|first| of_block(&names, first))
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
        // A full disk is doubted twice: until then no sample goes of which there are no steps.
        for _ in 0..2 {
            let outcome = store.maintain();
            let is_waiting = of_three(&disk).iter().any(|(block, _)| *block);
            assert_eq!(is_waiting, outcome.is_err(), "{room} {outcome:?}");
            assert!(outcome.err().is_none_or(|error| error.is_full()), "{room}");
            for (block, steps) in of_three(&disk) {
                assert!(block || steps, "{room} bytes of room: {:?}", disk.names());
            }
            assert!(store.without_steps().is_none(), "{room}");
        }
        store.maintain().unwrap();
        let all = of_three(&disk);
        assert!(all.iter().all(|(block, _)| !block), "{room}: {all:?}");
        let steps = all.map(|(_, steps)| steps);
        assert_eq!(of_block(&disk.names(), 4), (true, false), "{room}");
        // Some steps of a block may have had room, and others not.
        let told = store.without_steps().map_or(0, |lost| lost.files);
        let none_left = steps.iter().filter(|is_there| !**is_there).count() as u64;
        assert!(told >= none_left, "{room}: {told} {steps:?}");
        assert_eq!(store.stats().expired_without_steps, told);
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
fn a_disk_that_is_full_for_a_while_costs_no_steps() {
    let mut scene = scene();
    let pause = Duration::from_secs(600);
    scene.options.ask_again.doubt = pause;
    let names = scene.disk.names();
    let bytes: usize = names.iter().map(|name| scene.disk.length(name)).sum();
    scene.disk.set_capacity(Some(bytes));
    let store = scene.open();
    let (truth, _) = ask(&store);
    for _ in 0..6 {
        let error = store.maintain().unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(store.sealing_trouble().unwrap().full);
    }
    // One pass tried; the others only knew, and wrote nothing.
    let operations = scene.disk.operations();
    store.maintain().unwrap_err();
    assert!(scene.disk.operations() <= operations + 1, "it was tried");
    assert_eq!(ask(&store), (truth, 0));
    assert_eq!(of_block(&scene.disk.names(), 1), (true, false));
    drop(store);

    // Space came back.
    scene.disk.set_capacity(None);
    let store = scene.open();
    store.maintain().unwrap();
    for first in [1, 2] {
        assert_eq!(of_block(&scene.disk.names(), first), (false, true));
    }
    assert_eq!(store.without_steps(), None);
    assert!(store.sealing_trouble().is_none());
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
