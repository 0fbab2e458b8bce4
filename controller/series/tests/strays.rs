//! What somebody else put into the folder under a name like the store's own is named, counted and left
//! alone, and the store goes on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{ManualClock, Owned, Reporter, frames, options};
use xiezhi_series::{Appended, SeriesStore, check_backup};

/// Two half hours and a bit: a block, and a log.
const REPORTS: u64 = 20;

struct Folder {
    dir: tempfile::TempDir,
    clock: ManualClock,
    reporter: Reporter,
    told: u64,
}

impl Folder {
    fn new() -> Self {
        let mut folder = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
            reporter: Reporter::new(1),
            told: 0,
        };
        let store = folder.open();
        folder.tell(&store);
        folder.tell(&store);
        folder
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("series")
    }

    fn open(&self) -> SeriesStore {
        SeriesStore::open(&self.path(), options(&self.clock)).unwrap()
    }

    /// Another half hour, in a log of its own.
    fn tell(&mut self, store: &SeriesStore) {
        for _ in 0..REPORTS {
            self.told += 1;
            let group: [Owned; 1] = [self.reporter.report(self.told)];
            assert_eq!(store.append(&frames(&group)).unwrap(), [Appended::Stored]);
        }
        store.maintain().unwrap();
        self.clock.advance(Duration::from_secs(1801));
    }

    /// All that was told is there, nothing of what is new has a number that cannot be, and more is taken.
    fn goes_on(&mut self, what: &str) {
        let store = self.open();
        self.tell(&store);
        self.tell(&store);
        let seqs = store.frames(1).unwrap().into_iter();
        let seqs: Vec<u64> = seqs.map(|frame| frame.batch.seq).collect();
        assert_eq!(seqs, (1..=self.told).collect::<Vec<_>>(), "{what}");
        let points = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
        assert_eq!(points[0].points.len() as u64, self.told, "{what}");
        assert_eq!(store.sealing_trouble(), None, "{what}");
        let backup = self.dir.path().join("backup");
        store.backup(&backup).unwrap();
        assert!(check_backup(&backup).unwrap().changed.is_empty(), "{what}");
        fs::remove_dir_all(backup).unwrap();
        for name in fs::read_dir(self.path()).unwrap() {
            let name = name.unwrap().file_name().into_string().unwrap();
            let made = name
                .strip_prefix("wal-")
                .and_then(|rest| rest.strip_suffix(".log"));
            let number = made.filter(|made| made.len() == 10 && *made != "9999999999");
            if let Some(number) = number {
                assert!(number.parse::<u64>().unwrap() < 2_000, "{what}: {name}");
            }
        }
    }
}

/// Puts something into the folder, and expects it to be named and left alone.
fn is_left_alone(name: &str, put: impl Fn(&Path), is_there: impl Fn(&Path) -> bool) {
    let mut folder = Folder::new();
    let path = folder.path().join(name);
    put(&path);
    for _ in 0..2 {
        let store = folder.open();
        assert_eq!(store.stats().stray_files, 1, "{name}");
        assert_eq!(store.damage_met().strays, [name.to_owned()]);
        assert!(store.damage_met().is_none(), "{name}: nothing is damaged");
        drop(store);
        folder.goes_on(name);
        assert!(is_there(&path), "{name}");
    }
}

const LIKE_OURS: [&str; 6] = [
    "wal-0000000900.log",
    "block-0000000900-0000000901.xzb",
    "rollup-0000000900-0000000901-300.xzb",
    "segment-0000000900.xzs",
    "block-0000000900-0000000901.xzb.tmp",
    "wal-0000000000.log.torn",
];

#[test]
fn a_folder_that_is_named_like_a_file_of_samples_is_left_alone() {
    for name in LIKE_OURS {
        let put = |path: &Path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("theirs"), "theirs").unwrap();
        };
        is_left_alone(name, put, |path| path.join("theirs").is_file());
    }
}

#[test]
fn a_link_that_is_named_like_a_file_of_samples_is_left_alone() {
    for name in LIKE_OURS {
        let link =
            |to: &'static str| move |path: &Path| std::os::unix::fs::symlink(to, path).unwrap();
        let is_link = |path: &Path| fs::symlink_metadata(path).unwrap().is_symlink();
        is_left_alone(name, link("nowhere"), is_link);
        is_left_alone(name, link("/etc/hostname"), is_link);
    }
}

#[test]
fn a_pipe_or_a_socket_that_is_named_like_a_file_of_samples_is_left_alone() {
    let kind = |path: &Path| fs::symlink_metadata(path).unwrap().file_type();
    for name in LIKE_OURS {
        let pipe = |path: &Path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        is_left_alone(name, pipe, |path| kind(path).is_fifo());
        let socket = |path: &Path| drop(UnixListener::bind(path).unwrap());
        is_left_alone(name, socket, |path| kind(path).is_socket());
    }
}

#[test]
fn a_file_whose_number_no_file_of_ours_can_have_is_left_alone() {
    for name in [
        "wal-18446744073709551615.log",
        "wal-99999999999999999999999.log",
        "wal-7.log",
        "wal-copy.log",
        "block-0000000001-18446744073709551615.xzb",
        "block-0000000006-0000000001.xzb",
        "block-0000000001-0000000006-copy.xzb",
        "rollup-0000000001-0000000048-0.xzb",
        "segment-18446744073709551615.xzs",
    ] {
        for content in ["", "theirs"] {
            let put = |path: &Path| fs::write(path, content).unwrap();
            let is_there = |path: &Path| fs::read_to_string(path).unwrap() == content;
            is_left_alone(name, put, is_there);
        }
    }
}

#[test]
fn a_file_of_others_under_a_number_that_could_be_ours_is_set_aside_as_it_is() {
    for name in [
        "wal-0000000900.log",
        "wal-9999999999.log",
        "block-0000000900-0000000901.xzb",
        "block-0000000900-9999999999.xzb",
        "rollup-0000000900-0000000901-300.xzb",
        "segment-0000000900.xzs",
    ] {
        let mut folder = Folder::new();
        let theirs = "theirs ".repeat(2_000);
        fs::write(folder.path().join(name), &theirs).unwrap();
        let store = folder.open();
        let aside = format!("{name}.damaged");
        assert_eq!(store.damage_met().set_aside, std::slice::from_ref(&aside));
        drop(store);
        let goes_on = |folder: &mut Folder| {
            let store = folder.open();
            folder.tell(&store);
            store.maintain().unwrap();
            assert_eq!(store.stats().set_aside, 1);
        };
        goes_on(&mut folder);
        let kept = fs::read_to_string(folder.path().join(aside)).unwrap();
        assert_eq!(kept, theirs);
        folder.goes_on(name);
    }
}

#[test]
fn an_empty_file_ends_no_start() {
    for name in [
        "block-0000000900-0000000901.xzb",
        "rollup-0000000900-0000000901-300.xzb",
        "segment-0000000900.xzs",
    ] {
        let mut folder = Folder::new();
        fs::write(folder.path().join(name), "").unwrap();
        assert_eq!(folder.open().stats().set_aside, 1, "{name}");
        folder.goes_on(name);
    }
    // What the power leaves of a log that was being made.
    for name in [
        "wal-0000000003.log",
        "wal-0000000900.log",
        "wal-9999999999.log",
    ] {
        let mut folder = Folder::new();
        fs::write(folder.path().join(name), "").unwrap();
        assert_eq!(folder.open().stats().set_aside, 0, "{name}");
        folder.goes_on(name);
    }
}

#[test]
fn a_folder_in_place_of_what_is_known_to_be_stored_ends_no_start() {
    for name in ["dedup.checkpoint", "dedup.previous"] {
        let folder = Folder::new();
        let path = folder.path().join(name);
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        let store = folder.open();
        assert_eq!(store.damage_met().strays, [name.to_owned()]);
        assert_eq!(store.frames(1).unwrap().len() as u64, folder.told);
    }
}
