//! Damage is told as it is: what is lost with a broken byte is named, by each way of asking.
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
use xiezhi_series::{SeriesStore, Undecoded, check_backup};

const LOG: &str = "wal-0000000001.log";
/// A byte of its first record, which lies behind the second copy of the header.
const IN_FIRST: usize = 4300;

fn open(disk: &PowerDisk, clock: &ManualClock) -> SeriesStore {
    SeriesStore::open_on(Arc::new(disk.clone()), options(clock)).unwrap()
}

/// Reports of hosts 1 and 2 in one log, each a group of its own.
fn tell(store: &SeriesStore, seqs: std::ops::RangeInclusive<u64>) {
    let mut reporters = [Reporter::new(1), Reporter::new(2)];
    for seq in seqs {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        store.append(&frames(&group)).unwrap();
    }
}

/// The next half hour begins, and the log of this one becomes a block.
fn next_log(store: &SeriesStore, clock: &ManualClock, number: u64) {
    clock.advance(Duration::from_secs(1900));
    let next = Reporter::new(9).report(number);
    store.append(&[next.frame()]).unwrap();
    store.maintain().unwrap();
}

#[test]
fn frames_behind_a_damaged_key_frame_are_named_by_log_and_host() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    tell(&store, 1..=50);
    assert_eq!(store.verify().unwrap().undecoded, []);
    drop(store);
    // The first record is the key frame of host 1.
    disk.flip(LOG, IN_FIRST);
    let store = open(&disk, &clock);
    let lost = |file: &str| Undecoded {
        file: file.to_owned(),
        host: 1,
        frames: 49,
    };
    let report = store.verify().unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.undecoded, [lost(LOG)]);
    assert_eq!(report.undecoded_frames, 49);
    assert_eq!(store.stats().undecoded_frames, 49);
    // They are no less lost once they are in a block.
    next_log(&store, &clock, 1);
    let block = "block-0000000001-0000000001.xzb";
    for store in [store, open(&disk, &clock)] {
        assert_eq!(store.verify().unwrap().undecoded, [lost(block)]);
        assert_eq!(store.stats().undecoded_frames, 49);
    }
}

/// The name of the store's only block.
fn block(disk: &PowerDisk) -> String {
    let mut names = disk.names().into_iter();
    names.find(|name| name.ends_with(".xzb")).unwrap()
}

#[test]
fn a_damaged_page_counts_once_however_often_it_is_read() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    tell(&store, 1..=50);
    next_log(&store, &clock, 1);
    disk.flip(&block(&disk), 200);
    for _ in 0..3 {
        let report = store
            .range_report(1, i64::MIN, i64::MAX, &|_| true)
            .unwrap();
        assert_eq!(report.damaged, 1, "an answer says what it lacks");
        store.verify().unwrap();
        assert_eq!(store.stats().damaged, 1);
    }
}

#[test]
fn a_file_set_aside_is_named_until_a_person_moves_it() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    tell(&open(&disk, &clock), 1..=5);
    disk.flip(LOG, 5);
    disk.flip(LOG, 4096 + 5);
    for _ in 0..3 {
        let store = open(&disk, &clock);
        assert_eq!(store.stats().set_aside, 1);
        assert_eq!(
            store.verify().unwrap().set_aside,
            [format!("{LOG}.damaged")]
        );
    }
    disk.remove_file(&format!("{LOG}.damaged"));
    let store = open(&disk, &clock);
    assert_eq!(store.stats().set_aside, 0);
    assert!(store.verify().unwrap().set_aside.is_empty());
}

#[test]
fn a_damaged_source_of_a_merge_is_kept_aside_and_named() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    tell(&store, 1..=50);
    next_log(&store, &clock, 1);
    let source = block(&disk);
    disk.flip(&source, 200);
    // Six blocks become one.
    for number in 2..8 {
        next_log(&store, &clock, number);
    }
    assert!(disk.names().iter().all(|name| *name != source), "merged");
    let aside = [format!("{source}.damaged")];
    for store in [store, open(&disk, &clock)] {
        let report = store.verify().unwrap();
        assert_eq!(report.damaged, [], "what is served is intact");
        assert_eq!(report.set_aside, aside);
        let points = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
        assert_eq!(points.len(), 39, "what could be read is served");
    }
}

#[test]
fn a_damaged_log_is_kept_aside_when_it_became_a_block() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    tell(&open(&disk, &clock), 1..=50);
    disk.flip(LOG, IN_FIRST);
    let store = open(&disk, &clock);
    next_log(&store, &clock, 1);
    assert_eq!(
        store.verify().unwrap().set_aside,
        [format!("{LOG}.damaged")]
    );
}

#[test]
fn samples_and_their_backup_are_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (samples, backup) = (folder.path().join("series"), folder.path().join("backup"));
    // As `cp` leaves a folder that was restored.
    std::fs::create_dir(&samples).unwrap();
    std::fs::set_permissions(&samples, std::fs::Permissions::from_mode(0o755)).unwrap();
    let clock = ManualClock::new();
    let store = SeriesStore::open(&samples, options(&clock)).unwrap();
    tell(&store, 1..=5);
    next_log(&store, &clock, 1);
    store.backup(&backup).unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in [samples, backup] {
        assert_eq!(mode(&folder), 0o700, "{folder:?}");
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{path:?}");
        }
    }
}

#[test]
fn the_torn_end_of_a_log_is_kept_beside_it() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = open(&disk, &clock);
    tell(&store, 1..=9);
    let before = disk.length(LOG);
    let next = Reporter::new(3).report(1);
    store.append(&[next.frame()]).unwrap();
    drop(store);
    let torn = disk.length(LOG) - before;
    disk.flip(LOG, before + 60);
    let store = open(&disk, &clock);
    assert_eq!(store.stats().torn_bytes, torn as u64);
    let kept = format!("{LOG}.torn");
    assert_eq!((disk.length(LOG), disk.length(&kept)), (before, torn));
    // It is no damage and nothing that is served.
    assert_eq!(store.stats().damaged, 0);
    assert_eq!(open(&disk, &clock).stats().torn_tails, 0);
    assert_eq!(disk.length(&kept), torn);
}

/// Changes a byte of a real file, as a bad disk does.
fn flip(path: &std::path::Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_backup_of_damaged_samples_is_made_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (samples, target) = (folder.path().join("series"), folder.path().join("backup"));
    let clock = ManualClock::new();
    let store = SeriesStore::open(&samples, options(&clock)).unwrap();
    tell(&store, 1..=50);
    next_log(&store, &clock, 1);
    let block = samples.join("block-0000000001-0000000001.xzb");
    flip(&block, 200);
    let report = store.backup(&target).unwrap();
    assert_eq!((report.files, report.found.damaged.len()), (3, 1));
    let check = check_backup(&target).unwrap();
    assert_eq!(check.changed, Vec::<String>::new(), "it is what was copied");
    assert_eq!(check.noted, report.found.lines());
    assert_eq!(check.found.damaged, report.found.damaged);
    assert!(!check.is_whole());
}

#[test]
fn a_backup_is_read_as_samples_are_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (samples, target) = (folder.path().join("series"), folder.path().join("backup"));
    let clock = ManualClock::new();
    let store = SeriesStore::open(&samples, options(&clock)).unwrap();
    tell(&store, 1..=50);
    store.backup(&target).unwrap();
    assert!(check_backup(&target).unwrap().is_whole());
    let log = target.join(LOG);
    // The key frame of host 1, and the last record.
    flip(&log, IN_FIRST);
    let length = std::fs::metadata(&log).unwrap().len();
    flip(&log, length as usize - 3);
    let check = check_backup(&target).unwrap();
    assert_eq!(check.changed, [format!("{LOG} is not what was backed up")]);
    assert_eq!(check.found.damaged.len(), 2);
    assert_eq!(check.found.undecoded_frames, 49);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), length);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2);
}
