//! Real files, real processes: `kill -9` at random moments, and a small file system that fills up.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that panics has found something"
)]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::power::Random;
use common::{Owned, frames};
use xiezhi_series::{Appended, Sealing, SeriesOptions, SeriesStore};

const FOLDER: &str = "XIEZHI_SERIES_TEST_FOLDER";
const HOSTS: i64 = 5;

fn options() -> SeriesOptions {
    SeriesOptions {
        segment_bytes: 30_000,
        seal_bytes_per_s: 4 << 20,
        ..SeriesOptions::default()
    }
}

fn group(seq: u64) -> Vec<Owned> {
    (1..=HOSTS)
        .map(|host| Owned::opaque(host, 1, seq, 0))
        .collect()
}

/// Not a test: the process that is killed. It says the number of each acknowledged group.
#[test]
#[ignore = "is started by nothing_acknowledged_is_lost_when_the_process_is_killed"]
fn child_that_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let store = SeriesStore::open(Path::new(&folder), options()).unwrap();
    let first = store
        .frames(1)
        .unwrap()
        .last()
        .map_or(1, |frame| frame.batch.seq);
    let mut out = std::io::stdout();
    for seq in first.. {
        store.append(&frames(&group(seq))).unwrap();
        writeln!(out, "acknowledged {seq}").unwrap();
    }
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_appends_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(0x5eed);
    let mut acknowledged = 0;
    for round in 0..30 {
        let mut child = start_child(folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wait_for = random.below(60);
        let mut heard = 0;
        while heard <= wait_for {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(seq) = line.strip_prefix("acknowledged ") {
                acknowledged = seq.parse().unwrap();
                heard += 1;
            }
        }
        child.kill().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            if let Some(seq) = line.strip_prefix("acknowledged ") {
                acknowledged = seq.parse().unwrap();
            }
        }
        child.wait().unwrap();
        let store = SeriesStore::open(folder.path(), options()).unwrap();
        for host in 1..=HOSTS {
            let stored: Vec<u64> = store
                .frames(host)
                .unwrap()
                .iter()
                .map(|frame| frame.batch.seq)
                .collect();
            let last = stored.last().copied().unwrap_or(0);
            assert!(
                last == acknowledged || last == acknowledged + 1,
                "round {round}: {last}"
            );
            assert_eq!(stored, (1..=last).collect::<Vec<_>>(), "round {round}");
        }
        let verdicts = store.append(&frames(&group(acknowledged))).unwrap();
        assert_eq!(verdicts, [Appended::Replay; HOSTS as usize]);
        assert_eq!(store.verify().unwrap().damaged, []);
    }
    assert!(acknowledged > 100);
}

/// A file system of two megabytes, unmounted at the end.
struct SmallFileSystem(tempfile::TempDir);

impl SmallFileSystem {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "xiezhi-series-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_file_system_refuses_and_recovers_by_itself() {
    let Some(small) = SmallFileSystem::mount() else {
        xiezhi_test_skip::skip("mounting a tmpfs needs root");
        return;
    };
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    // By hand: a thread that seals gives and takes space at moments of its own.
    let options = SeriesOptions {
        segment_bytes: 100_000,
        sealing: Sealing::Manual,
        seal_bytes_per_s: u64::MAX,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&small.0.path().join("series"), options.clone()).unwrap();
    let mut seq = 1;
    let error = loop {
        match store.append(&frames(&group(seq))) {
            Ok(verdicts) => assert_eq!(verdicts, [Appended::Stored; HOSTS as usize]),
            Err(error) => break error,
        }
        seq += 1;
        assert!(seq < 100_000, "a megabyte never fills");
    };
    assert!(error.is_full(), "{error:?}");
    assert!(store.stats().full);
    assert!(store.append(&frames(&group(seq))).is_err());
    let error = store.maintain().unwrap_err();
    assert!(error.is_full(), "there is no room to seal: {error:?}");
    let verdicts = store.append(&frames(&group(seq - 1))).unwrap();
    assert_eq!(
        verdicts,
        [Appended::Replay; HOSTS as usize],
        "replays need no space"
    );

    std::fs::remove_file(&ballast).unwrap();
    let last = seq + 200;
    for seq in seq..=last {
        assert_eq!(
            store.append(&frames(&group(seq))).unwrap(),
            [Appended::Stored; HOSTS as usize]
        );
    }
    assert!(!store.stats().full);
    store.maintain().unwrap();
    drop(store);
    let store = SeriesStore::open(&small.0.path().join("series"), options).unwrap();
    for host in 1..=HOSTS {
        let stored: Vec<u64> = store
            .frames(host)
            .unwrap()
            .iter()
            .map(|frame| frame.batch.seq)
            .collect();
        assert_eq!(stored, (1..=last).collect::<Vec<_>>());
    }
    assert_eq!(store.verify().unwrap().damaged, []);
}
