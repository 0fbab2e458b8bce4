//! Sectors that the disk refuses to read, in each file in turn: a refused one costs what lies in it, is
//! named, and stops nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::scene::{HOSTS, Scene, Told, ask};
use common::{Reporter, frames};
use xiezhi_promql::{Budget, Limits, Matcher, Select, SelectHint, Storage as _};
use xiezhi_series::disk::Disk as _;
use xiezhi_series::{
    Appended, HostLabels, LabelledHost, Selector, SeriesStore, VerifyReport, check_backup,
};

/// Whether a report names the file, in one way or another.
fn names(report: &VerifyReport, file: &str) -> bool {
    report.lines().iter().any(|line| line.contains(file))
}

/// What the store still answers is true, and what it lacks is told.
fn check(store: &SeriesStore, truth: &Told, what: &str) -> usize {
    let (told, damaged) = ask(store);
    for (key, value) in &told {
        assert_eq!(truth.get(key), Some(value), "{what}: {key:?}");
    }
    let met = store.damage_met();
    assert!(
        told.len() == truth.len() || damaged > 0 || !met.is_none(),
        "{what}: {} of {} points, and nobody says so",
        told.len(),
        truth.len()
    );
    told.len()
}

/// What rollups answer, in rows.
fn steps(store: &SeriesStore) -> usize {
    let request = Select {
        matchers: vec![Matcher::equal("__name__", "metric_0_total")],
        start_ms: 0,
        end_ms: 2_000_000_000_000,
        hint: SelectHint {
            function: "count_over_time".to_owned(),
            range_ms: 86_400_000,
            ..SelectHint::default()
        },
    };
    let selector = Selector::new(store.clone(), Arc::new(Everybody));
    let found = selector
        .select(&request, &Budget::new(Limits::default()))
        .unwrap();
    found.iter().map(|series| series.times.len()).sum()
}

struct Everybody;

impl HostLabels for Everybody {
    fn all(&self) -> Arc<[LabelledHost]> {
        let host = |host| LabelledHost {
            host,
            labels: Vec::new(),
        };
        (1..=HOSTS).map(host).collect()
    }
}

/// Refuses every sector of every file in turn. Returns how many sectors of which kind of file those were.
fn refuse_each(scene: &Scene) -> BTreeMap<String, u64> {
    let whole = scene.open();
    let (truth, rows) = (ask(&whole).0, steps(&whole));
    drop(whole);
    let mut kinds = BTreeMap::<String, u64>::new();
    // The checkpoint before the last is read only if the last one cannot be.
    let names = scene.disk.names().into_iter();
    for name in names.filter(|name| name != "dedup.previous") {
        let sectors = scene.disk.sectors(&name);
        for sector in 0..sectors {
            let what = format!("sector {sector} of {sectors} of {name}");
            let disk = scene.disk.after_kill();
            disk.refuse(&name, Some(sector));
            let store = scene.open_on(&disk).unwrap();
            let left = check(&store, &truth, &what);
            assert!(steps(&store) <= rows, "{what}");
            // The first sector of a file and its last ones tell how it is read.
            let is_frame = sector == 0 || sector + 2 >= sectors;
            if name.starts_with("block") && !is_frame {
                assert!(left * 10 > truth.len() * 4, "{what}: {left}");
            }
            check_told(&store, &name, &what);
            check_goes_on(scene, &disk, store, &name, &what);
            check(&scene.open_on(&disk).unwrap(), &truth, &what);
            let kind = name.split(['-', '.']).next().unwrap().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
    }
    kinds
}

/// The file is named by whatever reads it, and a backup is not taken for whole.
fn check_told(store: &SeriesStore, name: &str, what: &str) {
    let report = store.verify().unwrap();
    assert!(names(&report, name), "{what}: {report:?}");
    assert!(!store.damage_met().is_none(), "{what} is not shown");
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("backup");
    let backup = store.backup(&target).unwrap();
    assert!(names(&backup.found, name), "{what}: {:?}", backup.found);
    let checked = check_backup(&target).unwrap();
    assert!(!checked.is_whole(), "{what}");
    assert_eq!(checked.changed, Vec::<String>::new(), "{what}");
}

/// Reports are taken, passes come to their end, and what cannot be read stays for a person.
fn check_goes_on(scene: &Scene, disk: &PowerDisk, store: SeriesStore, name: &str, what: &str) {
    let length = scene.disk.length(name);
    let group = [Reporter::new(99).report(1)];
    let verdicts = store.append(&frames(&group)).unwrap();
    assert_eq!(verdicts, [Appended::Stored], "{what}");
    for _ in 0..3 {
        drop(store.maintain());
    }
    store.maintain().unwrap();
    drop(store);
    let aside = format!("{name}.damaged");
    let kept = disk.names().into_iter();
    let mut kept = kept.filter(|one| *one == name || *one == aside);
    let kept = kept.next().map(|name| disk.length(&name));
    assert!(
        kept >= Some(length),
        "{what}: of {length} bytes stay {kept:?}"
    );
    let store = scene.open_on(disk).unwrap();
    let verdicts = store.append(&frames(&group)).unwrap();
    assert_eq!(verdicts, [Appended::Replay], "{what}");
}

#[test]
fn a_refused_sector_of_any_file_is_named_and_costs_no_more_than_lies_in_it() {
    let kinds = refuse_each(&Scene::with_blocks(6));
    for kind in ["block", "wal", "dedup"] {
        assert!(kinds.contains_key(kind), "{kinds:?}");
    }
}

#[test]
fn a_refused_sector_of_steps_is_named_and_stops_nothing() {
    let mut scene = Scene::new(|options| options.retention = Duration::from_secs(3600));
    let store = scene.open();
    for _ in 0..5 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    drop(store);
    let kinds = refuse_each(&scene);
    assert!(kinds.contains_key("rollup"), "{kinds:?}");
}

#[test]
fn a_refused_end_of_a_log_is_not_cut_off() {
    let scene = Scene::with_blocks(1);
    let names = scene.disk.names();
    let log = names.iter().find(|name| name.ends_with(".log")).unwrap();
    let length = scene.disk.length(log);
    scene.disk.refuse(log, Some(scene.disk.sectors(log) - 1));
    let store = scene.open();
    assert_eq!(store.stats().torn_tails, 0);
    assert!(store.stats().damaged > 0);
    assert_eq!(scene.disk.length(log), length);
    // The next report goes into another file.
    let next = Reporter::new(50).report(1);
    store.append(&[next.frame()]).unwrap();
    assert_eq!(scene.disk.length(log), length);
}

#[test]
fn no_end_is_cut_off_a_log_of_which_the_disk_refuses_another_place() {
    let scene = Scene::with_blocks(1);
    let names = scene.disk.names();
    let log = names.iter().find(|name| name.ends_with(".log")).unwrap();
    let length = scene.disk.length(log);
    scene.disk.refuse(log, Some(1));
    scene.disk.flip(log, length - 1);
    let store = scene.open();
    assert_eq!(store.stats().torn_tails, 0);
    assert_eq!(scene.disk.length(log), length);
}

/// Samples are kept for so many minutes; of the third half hour's block a sector is refused.
fn with_a_bad_source(minutes: u64) -> (Scene, SeriesStore, String) {
    let retention = Duration::from_secs(minutes * 60);
    let mut scene = Scene::new(|options| options.retention = retention);
    let store = scene.open();
    for _ in 0..4 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    let bad = "block-0000000003-0000000003.xzb".to_owned();
    scene.disk.refuse(&bad, Some(1));
    (scene, store, bad)
}

#[test]
fn a_block_that_cannot_be_read_keeps_retention_from_nothing_and_is_merged_when_that_is_believed() {
    let (mut scene, store, bad) = with_a_bad_source(145);
    for _ in 0..2 {
        scene.tell(&store);
        store.maintain().unwrap();
    }
    for failed in 1..=2 {
        scene.tell(&store);
        store.maintain().unwrap_err();
        let trouble = store.sealing_trouble().unwrap().reason;
        assert!(trouble.contains(&bad), "{trouble}");
        // The oldest block went all the same, with its steps.
        assert_eq!(store.stats().removed_segments, failed);
        assert_eq!(store.stats().rollups, 2 * failed);
    }
    scene.tell(&store);
    store.maintain().unwrap();
    let names = scene.disk.names();
    assert!(names.contains(&format!("{bad}.damaged")), "{names:?}");
    let merged = "block-0000000003-0000000008.xzb".to_owned();
    assert!(names.contains(&merged), "{names:?}");
    assert_eq!(store.verify().unwrap().damaged, []);
}

#[test]
fn a_block_that_cannot_be_read_goes_for_its_age_when_that_is_believed() {
    let (mut scene, store, bad) = with_a_bad_source(100);
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        scene.tell(&store);
        outcomes.push(store.maintain().is_ok());
    }
    let failed = outcomes.iter().filter(|is_fine| !**is_fine).count();
    assert_eq!(failed, 2, "{outcomes:?}");
    let names = scene.disk.names();
    assert!(
        !names.iter().any(|name| name.starts_with(&bad)),
        "{names:?}"
    );
    let steps = "rollup-0000000003-0000000003-300.xzb".to_owned();
    assert!(
        names.contains(&steps),
        "what could be read of it is summed up: {names:?}"
    );
}

#[test]
fn a_disk_that_refuses_all_files_is_not_taken_for_damage() {
    let scene = Scene::with_blocks(2);
    let names = scene.disk.names();
    for name in &names {
        scene.disk.refuse(name, None);
    }
    let error = scene.open_on(&scene.disk).unwrap_err();
    assert!(error.to_string().contains("read any file"), "{error}");
    assert_eq!(scene.disk.names(), names, "nothing was set aside");
}

#[test]
fn many_refused_sectors_cost_no_healthy_one_behind_them() {
    const BAD: u64 = 20;
    let mut scene = Scene::new(|options| options.segment_span = Duration::from_secs(100 * 3600));
    let store = scene.open();
    for _ in 0..12 {
        scene.tell(&store);
    }
    let frames = store.stats().frames;
    drop(store);
    let log = "wal-0000000001.log";
    let sectors = scene.disk.sectors(log);
    assert!(sectors > 40, "{sectors}");
    let file = scene.disk.open(log).unwrap();
    let mut whole = vec![0; scene.disk.length(log)];
    file.read_at(&mut whole, 0).unwrap();
    for sector in 1..=BAD {
        scene.disk.refuse(log, Some(sector));
    }
    let store = scene.open();
    let (left, healthy) = (store.stats().frames, sectors - BAD);
    // A record that begins in a refused sector may end in a healthy one.
    assert!(
        left < frames && left * (sectors + 2) > frames * (healthy - 2),
        "{left} of {frames} frames, {healthy} of {sectors} sectors"
    );

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("backup");
    store.backup(&target).unwrap();
    let copied = std::fs::read(target.join(log)).unwrap();
    for (sector, (copied, whole)) in copied.chunks(4096).zip(whole.chunks(4096)).enumerate() {
        let is_bad = (1..=BAD).contains(&(sector as u64));
        assert_eq!(copied == whole, !is_bad, "sector {sector}");
    }
}

#[test]
fn what_the_disk_gave_again_is_whole() {
    let scene = Scene::with_blocks(3);
    let (truth, _) = ask(&scene.open());
    let store = scene.open();
    let readings = {
        let before = scene.disk.readings();
        ask(&store);
        scene.disk.readings() - before
    };
    assert!(readings > 0);
    for reading in 0..readings {
        scene.disk.refuse_reading_once(reading);
        assert_eq!(ask(&store), (truth.clone(), 0), "reading {reading}");
    }
    assert!(store.verify().unwrap().is_whole());
}
