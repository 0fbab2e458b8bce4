//! A disk that refuses to read while the store is opened: a start asks again for a while, and what stays
//! refused waits under its own name until the disk gives it. Nobody has to rename a file.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::time::Duration;

use common::power::PowerDisk;
use common::scene::{HOSTS, Scene, Told, ask};
use common::{AT_ONCE, Reporter, frames};
use xiezhi_series::{Appended, AskAgain, SeriesStore};

/// A scene with blocks and a log, whose start is as patient as in service.
fn scene(opening: Duration) -> (Scene, Told) {
    let mut scene = Scene::with_blocks(4);
    let (truth, damaged) = ask(&scene.open());
    assert_eq!(damaged, 0);
    scene.options.ask_again = AskAgain { opening, ..AT_ONCE };
    (scene, truth)
}

/// All is there, nothing is damaged, and nothing lies aside.
fn check_whole(store: &SeriesStore, truth: &Told, what: &str) {
    let (told, damaged) = ask(store);
    assert_eq!((told.len(), damaged), (truth.len(), 0), "{what}");
    assert!(told == *truth, "{what}: other values");
    let met = store.damage_met();
    assert!(met.is_none(), "{what}: {met:?}");
    let report = store.verify().unwrap();
    assert!(report.is_whole(), "{what}: {report:?}");
}

/// All that was acknowledged is known, and sent again it is no news.
fn check_known(scene: &Scene, store: &SeriesStore, what: &str) {
    let mut reporters: Vec<Reporter> = (1..=HOSTS).map(Reporter::new).collect();
    for seq in 1..=scene.told {
        let group: Vec<_> = reporters.iter_mut().map(|one| one.report(seq)).collect();
        let verdicts = store.append(&frames(&group)).unwrap();
        let is_replay = |one: &Appended| *one == Appended::Replay;
        assert!(verdicts.iter().all(is_replay), "{what}: {seq} {verdicts:?}");
    }
}

/// Each sector of each file, and each file as a whole: a disk that refuses it.
fn each_refusal(scene: &Scene, check: &mut dyn FnMut(&PowerDisk, &str, &str)) {
    let mut kinds = std::collections::BTreeSet::new();
    for name in scene.disk.names() {
        let sectors = (0..scene.disk.sectors(&name)).map(Some);
        for sector in sectors.chain([None]) {
            let disk = scene.disk.after_kill();
            disk.refuse(&name, sector);
            check(&disk, &name, &format!("{sector:?} of {name}"));
        }
        kinds.insert(name.split(['-', '.']).next().unwrap().to_owned());
    }
    for kind in ["block", "wal", "dedup"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
}

#[test]
fn a_disk_that_hangs_for_a_moment_costs_a_start_nothing() {
    let (scene, truth) = scene(Duration::from_secs(30));
    each_refusal(&scene, &mut |disk, name, what| {
        let names = disk.names();
        disk.relent_after(3);
        let store = scene.open_on(disk).unwrap();
        disk.relent_after(0);
        check_whole(&store, &truth, what);
        assert_eq!(disk.names(), names, "{what}: {name}");
        store.maintain().unwrap();
        check_whole(&store, &truth, what);
        check_known(&scene, &store, what);
    });
}

#[test]
fn what_a_start_could_not_read_comes_back_when_the_disk_gives_it() {
    let (scene, truth) = scene(Duration::ZERO);
    let mut waited = 0;
    each_refusal(&scene, &mut |disk, name, what| {
        let length = disk.length(name);
        let store = scene.open_on(disk).unwrap();
        for _ in 0..4 {
            // It is no reason to stop, and nothing is made of it.
            store.maintain().unwrap();
        }
        let met = store.damage_met();
        assert_eq!(met.set_aside, Vec::<String>::new(), "{what}");
        assert_eq!(disk.length(name), length, "{what} is cut");
        assert!(!store.verify().unwrap().is_whole(), "{what}");
        // Pages of samples are not read by a start.
        if !met.refused.is_empty() {
            assert_eq!(met.refused, [name.to_owned()]);
            waited += 1;
        }
        disk.relent_after(0);
        store.maintain().unwrap();
        check_whole(&store, &truth, what);
        check_known(&scene, &store, what);
        drop(store);
        let store = scene.open_on(disk).unwrap();
        check_whole(&store, &truth, what);
        check_known(&scene, &store, what);
    });
    assert!(waited > 10, "{waited}");
}

#[test]
fn what_waits_to_be_read_outlives_restarts_cuts_and_merges() {
    let (mut scene, _) = scene(Duration::ZERO);
    // The first sector of the second block and one amid the last log: neither can be served whole.
    let names = scene.disk.names();
    let log = names.iter().find(|name| name.starts_with("wal")).unwrap();
    let block = "block-0000000002-0000000002.xzb";
    scene.disk.refuse(block, Some(0));
    scene.disk.refuse(log, Some(1));
    let lengths = [scene.disk.length(block), scene.disk.length(log)];
    for _ in 0..3 {
        let store = scene.open();
        // Agents that connect again begin with a whole report.
        scene.reporters = (1..=HOSTS).map(Reporter::new).collect();
        for _ in 0..4 {
            scene.tell(&store);
            store.maintain().unwrap();
        }
        let (told, _) = ask(&store);
        let reports = told.keys().filter(|key| key.0 == 1).count();
        assert!(reports > 0);
    }
    let met = scene.open().damage_met();
    assert_eq!(met.refused, [block.to_owned(), log.clone()]);
    assert_eq!(met.set_aside, Vec::<String>::new());
    assert_eq!(lengths, [scene.disk.length(block), scene.disk.length(log)]);
    scene.disk.relent_after(0);
    let store = scene.open();
    store.maintain().unwrap();
    let reports = scene.told as usize;
    let (told, damaged) = ask(&store);
    assert_eq!(damaged, 0);
    let of_one = told
        .keys()
        .filter(|key| key.0 == 1 && &*key.1 == "metric_0_total{n=\"0\"}");
    assert_eq!(of_one.count(), reports, "each report is there, once");
    assert!(store.damage_met().is_none(), "{:?}", store.damage_met());
    check_known(&scene, &store, "after all");
}

#[test]
fn a_refused_log_that_is_cut_late_keeps_no_other_from_its_block() {
    let (mut scene, _) = scene(Duration::ZERO);
    let names = scene.disk.names();
    let log = names.iter().find(|name| name.starts_with("wal")).unwrap();
    scene.disk.refuse(log, Some(1));
    let store = scene.open();
    let (before, _) = ask(&store);
    assert!(!before.is_empty());
    for _ in 0..3 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    // The later ones are blocks, and what could be read of the first is served yet.
    assert_eq!(store.stats().log_segments, 2);
    let (now, _) = ask(&store);
    assert!(before.keys().all(|key| now.contains_key(key)));
}

#[test]
fn a_healthy_file_that_was_refused_once_is_not_set_aside_by_a_merge() {
    let mut scene = Scene::new(|_| {});
    let store = scene.open();
    for _ in 0..5 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    for name in scene.disk.names() {
        if !name.starts_with("block") {
            continue;
        }
        for sector in 0..scene.disk.sectors(&name) {
            scene.disk.refuse(&name, Some(sector));
        }
        ask(&store);
        assert!(store.stats().damaged > 0, "{name}");
        scene.disk.relent_after(0);
    }
    for _ in 0..3 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    let names = scene.disk.names();
    let merged = "block-0000000001-0000000006.xzb".to_owned();
    assert!(names.contains(&merged), "{names:?}");
    assert_eq!(store.damage_met().set_aside, Vec::<String>::new());
    assert_eq!(ask(&store).1, 0);
    assert!(store.verify().unwrap().is_whole());
    assert!(store.damage_met().is_none(), "{:?}", store.damage_met());
}

#[test]
fn passes_that_follow_each_other_quickly_do_not_make_a_refusal_believed() {
    let minutes = Duration::from_secs(600);
    let mut scene = Scene::new(|options| {
        options.ask_again = AskAgain {
            doubt: minutes,
            sector: minutes,
            ..AT_ONCE
        };
    });
    let store = scene.open();
    for _ in 0..6 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    let bad = "block-0000000003-0000000003.xzb";
    scene.disk.refuse(bad, Some(1));
    for _ in 0..6 {
        scene.tell(&store);
        store.maintain().unwrap_err();
        ask(&store);
    }
    // One pass read it; the others only knew.
    let readings = scene.disk.readings();
    store.maintain().unwrap_err();
    assert_eq!(scene.disk.readings(), readings);
    assert!(scene.disk.names().contains(&bad.to_owned()));
    assert_eq!(store.damage_met().set_aside, Vec::<String>::new());
}
