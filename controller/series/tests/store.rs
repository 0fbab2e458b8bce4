//! Verdicts, damage, retention, memory and the lock.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, Owned, Reporter, frames, options};
use xiezhi_series::{Appended, SeriesError, SeriesLimits, SeriesOptions, SeriesStore};

fn opaque(host: i64, seqs: std::ops::Range<u64>) -> Vec<Owned> {
    seqs.map(|seq| Owned::opaque(host, 1, seq, 0)).collect()
}

fn open(disk: &PowerDisk, clock: &ManualClock) -> SeriesStore {
    SeriesStore::open_on(Arc::new(disk.clone()), options(clock)).unwrap()
}

fn seal(store: &SeriesStore, clock: &ManualClock, next: Owned) {
    clock.advance(Duration::from_secs(3700));
    assert_eq!(store.append(&[next.frame()]).unwrap(), [Appended::Stored]);
    store.maintain().unwrap();
}

#[test]
fn frames_that_repeat_each_other_within_a_call_are_judged() {
    let store = open(&PowerDisk::default(), &ManualClock::new());
    let (one, other) = (Owned::opaque(1, 1, 1, 0), Owned::opaque(1, 1, 1, 1));
    let group = [
        one.clone(),
        one.clone(),
        other.clone(),
        Owned::opaque(1, 2, 1, 1),
    ];
    use Appended::{Conflict, Replay, Stored};
    assert_eq!(
        store.append(&frames(&group)).unwrap(),
        [Stored, Replay, Conflict, Stored]
    );
    assert_eq!(
        store.append(&frames(&group)).unwrap(),
        [Replay, Replay, Conflict, Replay]
    );
    assert_eq!(store.frames(1).unwrap().len(), 2);
    assert_eq!(store.append(&[]).unwrap(), []);
    let stats = store.stats();
    assert_eq!(
        (stats.frames, stats.appended, stats.replays, stats.conflicts),
        (2, 2, 4, 2)
    );
}

#[test]
fn replays_that_memory_has_forgotten_are_recognised_from_the_stored_frames() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    for first in (1..3000).step_by(500) {
        store
            .append(&frames(&opaque(1, first..first + 500)))
            .unwrap();
        clock.advance(Duration::from_secs(3700));
    }
    store.maintain().unwrap();
    assert_eq!(store.stats().sealed_segments, 5);
    for store in [store, open(&disk, &clock)] {
        let verdicts = store.append(&frames(&opaque(1, 1..3001))).unwrap();
        assert!(verdicts.iter().all(|&verdict| verdict == Appended::Replay));
        let other = Owned::opaque(1, 1, 700, 3);
        assert_eq!(
            store.append(&[other.frame()]).unwrap(),
            [Appended::Conflict]
        );
    }
}

#[test]
fn a_lost_checkpoint_costs_time_and_nothing_else() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    let mut gapped = opaque(2, 1..100);
    gapped.retain(|frame| frame.batch.seq % 10 != 3);
    store.append(&frames(&opaque(1, 1..100))).unwrap();
    store.append(&frames(&gapped)).unwrap();
    seal(&store, &clock, Owned::opaque(1, 1, 100, 0));
    seal(&store, &clock, Owned::opaque(1, 1, 101, 0));
    drop(store);
    disk.flip("dedup.checkpoint", 60);
    let check = |damaged| {
        let store = open(&disk, &clock);
        assert_eq!(store.stats().damaged, damaged);
        assert_eq!(store.hosts(), [1, 2]);
        for group in [opaque(1, 1..102), gapped.clone()] {
            let verdicts = store.append(&frames(&group)).unwrap();
            assert!(verdicts.iter().all(|&verdict| verdict == Appended::Replay));
        }
    };
    check(1);
    disk.remove_file("dedup.previous");
    check(1);
    disk.remove_file("dedup.checkpoint");
    check(0);
    let store = open(&disk, &clock);
    assert_eq!(
        store.append(&[Owned::opaque(2, 1, 13, 0).frame()]).unwrap(),
        [Appended::Stored]
    );
}

/// A store whose only block holds 50 reports of each host, and the block's name.
fn one_block(disk: &PowerDisk, clock: &ManualClock, hosts: i64) -> (SeriesStore, String) {
    let store = open(disk, clock);
    let mut reporters: Vec<Reporter> = (1..=hosts).map(Reporter::new).collect();
    for seq in 1..=50 {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        store.append(&frames(&group)).unwrap();
    }
    seal(&store, clock, Owned::opaque(hosts + 1, 1, 1, 0));
    let name = disk
        .names()
        .into_iter()
        .find(|name| name.ends_with(".xzb"))
        .unwrap();
    (store, name)
}

/// How many points of a host are there.
fn points(store: &SeriesStore, host: i64) -> usize {
    let found = store.range(host, i64::MIN, i64::MAX, &|_| true).unwrap();
    for series in &found {
        for &(time_ms, value) in &series.points {
            let seq = ((time_ms - 1_700_000_010_000) / 15_000) as u64;
            let expected = Reporter::values(host, seq);
            let (_, expected) = expected
                .iter()
                .find(|(name, _)| **name == *series.series)
                .unwrap();
            assert_eq!(value, *expected);
        }
    }
    found.iter().map(|series| series.points.len()).sum()
}

#[test]
fn a_damaged_page_is_reported_by_place_and_the_rest_is_served() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let (store, name) = one_block(&disk, &clock, 4);
    assert_eq!(store.verify().unwrap().damaged, []);
    let before = store.stats().damaged;
    disk.flip(&name, 200);
    let report = store.verify().unwrap();
    assert_eq!(report.damaged.len(), 1);
    let damage = &report.damaged[0];
    assert_eq!(damage.file, name);
    assert!((damage.offset..damage.offset + damage.bytes).contains(&200));
    for host in 1..=4 {
        // One page holds one series of all four hosts.
        assert_eq!(points(&store, host), 39 * 50);
        assert_eq!(store.frames(host).unwrap().len(), 50);
    }
    assert_eq!(store.stats().damaged, before + 1);
}

#[test]
fn a_block_survives_a_damaged_byte_anywhere() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let (store, name) = one_block(&disk, &clock, 2);
    drop(store);
    let length = disk.length(&name);
    for place in (0..length).step_by(331).chain(length - 60..length) {
        disk.flip(&name, place);
        let store = open(&disk, &clock);
        let found: usize = (1..=2).map(|host| points(&store, host)).sum();
        assert!(
            found >= 39 * 50 * 2,
            "byte {place}: {found} points are left"
        );
        assert!(found == 40 * 50 * 2 || store.verify().unwrap().damaged.len() == 1);
        drop(store);
        disk.flip(&name, place);
    }
}

#[test]
fn a_torn_end_is_cut_and_counted() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    store.append(&frames(&opaque(1, 1..10))).unwrap();
    drop(store);
    let length = disk.length("wal-0000000001.log");
    disk.flip("wal-0000000001.log", length - 3);
    let store = open(&disk, &clock);
    let stats = store.stats();
    assert_eq!((stats.torn_tails, stats.frames, stats.damaged), (1, 8, 0));
    assert_eq!(
        store.append(&frames(&opaque(1, 9..10))).unwrap(),
        [Appended::Stored]
    );
    drop(store);
    assert_eq!(open(&disk, &clock).stats().torn_tails, 0);
}

#[test]
fn a_log_without_a_readable_header_is_set_aside_and_never_removed() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    open(&disk, &clock)
        .append(&frames(&opaque(1, 1..10)))
        .unwrap();
    disk.flip("wal-0000000001.log", 5);
    assert_eq!(
        open(&disk, &clock).frames(1).unwrap().len(),
        9,
        "the second copy serves"
    );
    disk.flip("wal-0000000001.log", 4096 + 5);
    let store = open(&disk, &clock);
    assert_eq!(store.stats().damaged, 1);
    assert!(
        disk.names()
            .contains(&"wal-0000000001.log.damaged".to_owned())
    );
    store.append(&frames(&opaque(1, 1..10))).unwrap();
    assert_eq!(open(&disk, &clock).frames(1).unwrap().len(), 9);
}

#[test]
fn retention_removes_the_oldest_segments_by_age_and_by_size() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let day = Duration::from_secs(24 * 3600);
    let mut options = SeriesOptions {
        retention: 3 * day,
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    for seq in 1..=10 {
        store.append(&frames(&opaque(1, seq..seq + 1))).unwrap();
        store.maintain().unwrap();
        clock.advance(day);
    }
    // The active log, the newest sealed segment, and three days before that one.
    let stored = |store: &SeriesStore| -> Vec<u64> {
        store
            .frames(1)
            .unwrap()
            .iter()
            .map(|frame| frame.batch.seq)
            .collect()
    };
    assert_eq!(stored(&store), [6, 7, 8, 9, 10]);
    assert_eq!(store.stats().removed_segments, 5);
    let again = store.append(&frames(&opaque(1, 1..11))).unwrap();
    assert_eq!(
        again,
        [Appended::Replay; 10],
        "what is gone does not come back"
    );
    let bytes = store.stats().bytes;
    drop(store);
    options.max_bytes = Some(bytes * 2 / 3);
    let store = SeriesStore::open_on(Arc::new(disk), options).unwrap();
    store.maintain().unwrap();
    assert_eq!(stored(&store), [8, 9, 10]);
}

#[test]
fn a_clock_that_is_wrong_at_start_removes_nothing() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    store.append(&frames(&opaque(1, 1..5))).unwrap();
    seal(&store, &clock, Owned::opaque(1, 1, 5, 0));
    drop(store);
    clock.advance(Duration::from_secs(2 * 365 * 24 * 3600));
    let store = open(&disk, &clock);
    store.maintain().unwrap();
    assert_eq!(store.frames(1).unwrap().len(), 5);
}

#[test]
fn one_moment_of_a_clock_that_is_ahead_removes_nothing() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let day = Duration::from_secs(24 * 3600);
    let options = SeriesOptions {
        retention: 3 * day,
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    let half_hour = |seq: u64| {
        store.append(&frames(&opaque(1, seq..seq + 1))).unwrap();
        clock.advance(Duration::from_secs(1860));
        store.maintain().unwrap();
    };
    (1..=8).for_each(half_hour);
    clock.advance(100 * day);
    (9..=10).for_each(half_hour);
    assert!(store.doubted_arrival_ms().is_some());
    clock.back(100 * day);
    (11..=20).for_each(half_hour);
    assert_eq!(store.frames(1).unwrap().len(), 20);
    assert_eq!(store.stats().removed_segments, 0);
    assert_eq!(store.doubted_arrival_ms(), None);
    drop(store);
    // And when it is ahead for days indeed, what is old goes.
    let store = SeriesStore::open_on(Arc::new(disk), options).unwrap();
    clock.advance(10 * day);
    for seq in 21..=24 {
        store.append(&frames(&opaque(1, seq..seq + 1))).unwrap();
        clock.advance(day);
        store.maintain().unwrap();
    }
    assert!(store.stats().removed_segments > 0);
}

#[test]
fn state_in_memory_stays_below_three_hundred_bytes_per_series() {
    let store = open(&PowerDisk::default(), &ManualClock::new());
    let hosts = 20;
    let mut reporters: Vec<Reporter> = (1..=hosts).map(Reporter::new).collect();
    for seq in 1..120 {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        store.append(&frames(&group)).unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.series, 40 * hosts as u64);
    let per_series = stats.memory_bytes / stats.series;
    assert!(per_series < 300, "{per_series} bytes per series");
}

#[test]
fn series_beyond_a_limit_are_left_out_and_counted_and_the_rest_is_kept() {
    let clock = ManualClock::new();
    let limited = |change: fn(&mut SeriesLimits)| {
        let mut options = options(&clock);
        change(&mut options.series);
        let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
        let mut reporters = [Reporter::new(1), Reporter::new(2)];
        for seq in 1..=3 {
            let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
            store.append(&frames(&group)).unwrap();
        }
        let kept = [1, 2].map(|host| points(&store, host) / 3);
        // A person is told whose, how many, and which key of the configuration says so.
        let told = store.left_out();
        let told = told.iter().map(|one| (one.host, one.series, one.limit));
        let told: Vec<_> = told.collect();
        (kept, store.stats().refused_series, told)
    };
    assert_eq!(limited(|_| ()), ([40, 40], 0, vec![]));
    let per_host = "series_per_host";
    assert_eq!(
        limited(|limits| limits.series_per_host = 30),
        ([30, 30], 20, vec![(1, 10, per_host), (2, 10, per_host)])
    );
    assert_eq!(
        limited(|limits| limits.series = 50),
        ([40, 10], 30, vec![(2, 30, "series")])
    );
    assert_eq!(
        limited(|limits| limits.texts = 35),
        ([35, 35], 10, vec![(1, 5, "texts"), (2, 5, "texts")])
    );
    let churn = "new_texts_per_hour";
    assert_eq!(
        limited(|limits| limits.new_texts_per_hour = 12),
        ([12, 12], 56, vec![(1, 28, churn), (2, 28, churn)])
    );
    let labels = "labels_per_series";
    assert_eq!(
        limited(|limits| limits.labels_per_series = 0),
        ([0, 0], 80, vec![(1, 40, labels), (2, 40, labels)])
    );
}

#[test]
fn a_hosts_live_chain_and_its_backlog_count_once() {
    let mut options = options(&ManualClock::new());
    options.series.series = 40;
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
    let (mut backlog, mut live) = (Reporter::new(1), Reporter::new(1));
    for seq in 1..=3 {
        let group = [backlog.report(seq), live.report(seq + 100)];
        store.append(&frames(&group)).unwrap();
    }
    assert_eq!(points(&store, 1), 6 * 40);
    let stats = store.stats();
    assert_eq!((stats.series, stats.refused_series), (40, 0));
}

#[test]
fn a_second_store_on_the_folder_is_refused_with_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SeriesStore::open(folder.path(), SeriesOptions::default());
    let store = open().unwrap();
    let error = open().unwrap_err();
    let SeriesError::Locked { holder, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*holder, format!("process {}", std::process::id()));
    let clone = store.clone();
    drop(store);
    assert!(open().is_err());
    drop(clone);
    open().unwrap();
}

#[test]
fn the_background_thread_seals_while_appends_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = SeriesOptions {
        segment_bytes: 20_000,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(folder.path(), options.clone()).unwrap();
    let mut seq = 0;
    while store.stats().sealed_segments < 5 {
        seq += 1;
        assert!(seq < 100_000, "nothing is sealed");
        let group: Vec<Owned> = (1..=20)
            .map(|host| Owned::opaque(host, 1, seq, 0))
            .collect();
        store.append(&frames(&group)).unwrap();
    }
    drop(store);
    let store = SeriesStore::open(folder.path(), options).unwrap();
    for host in 1..=20 {
        let seqs: Vec<u64> = store
            .frames(host)
            .unwrap()
            .iter()
            .map(|one| one.batch.seq)
            .collect();
        assert_eq!(seqs, (1..=seq).collect::<Vec<_>>());
    }
}

#[test]
fn oversized_frames_are_refused_before_anything_is_written() {
    let store = open(&PowerDisk::default(), &ManualClock::new());
    let mut large = Owned::opaque(1, 1, 1, 0);
    large.bytes = vec![0; (4 << 20) + 1];
    let error = store.append(&[large.frame()]).unwrap_err();
    assert!(matches!(error, SeriesError::TooLarge { what: "frame", .. }));
    large.bytes.pop();
    assert_eq!(store.append(&[large.frame()]).unwrap(), [Appended::Stored]);
    assert_eq!(store.frames(1).unwrap().len(), 1);
}

#[test]
fn a_backup_of_a_running_store_opens_and_holds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let store = SeriesStore::open(&folder.path().join("store"), options(&clock)).unwrap();
    let mut reporters = [Reporter::new(1), Reporter::new(2)];
    for seq in 1..=40 {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        store.append(&frames(&group)).unwrap();
        if seq == 25 {
            clock.advance(Duration::from_secs(3700));
        }
    }
    store.maintain().unwrap();
    let target = folder.path().join("backup");
    let report = store.backup(&target).unwrap();
    assert_eq!((report.files, report.linked), (3, 1));
    assert!(
        store.backup(&target).is_err(),
        "an existing folder is never written into"
    );
    // The store goes on; the copy stays as it was.
    let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(41)).collect();
    store.append(&frames(&group)).unwrap();
    let check = xiezhi_series::check_backup(&target).unwrap();
    assert!(check.is_whole(), "{check:?}");
    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    for entry in std::fs::read_dir(&target).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), restored.join(entry.file_name())).unwrap();
    }
    let copy = SeriesStore::open(&restored, options(&clock)).unwrap();
    for host in 1..=2 {
        assert_eq!(points(&copy, host), 40 * 40);
        assert_eq!(copy.frames(host).unwrap().len(), 40);
    }
    assert_eq!(copy.verify().unwrap().damaged, []);
    std::fs::write(target.join("dedup.checkpoint"), "x").unwrap();
    let check = xiezhi_series::check_backup(&target).unwrap();
    assert_eq!(
        check.changed,
        ["dedup.checkpoint is not what was backed up"]
    );
}
