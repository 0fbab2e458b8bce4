//! Real processes on real files that get `kill -9` within cut, merge, rollup and retention: at named
//! points, before and after each, and at operations chosen at random. Each report counts once for ever.
//!
//! `XIEZHI_ROUNDS` or `XIEZHI_LONG=1` makes it longer, `XIEZHI_SEED` repeats a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::power::Random;
use common::telling::Story;
use common::{ManualClock, options};
use xiezhi_series::disk::{Disk, DiskFile, Folder, ReadAt};
use xiezhi_series::{SeriesOptions, SeriesStore};

/// What the child is told: where, how much was told already, and where it is to die.
const FOLDER: &str = "XIEZHI_PASSES_FOLDER";
const TOLD: &str = "XIEZHI_PASSES_TOLD";
const DEATH: &str = "XIEZHI_PASSES_DEATH";

/// Points of a pass: what is done, and to what.
const POINTS: &[&str] = &[
    "create wal",
    "sync wal",
    "create block",
    "write block",
    "sync block",
    "rename block",
    "remove wal",
    "write checkpoint",
    "rename checkpoint",
    "create merged",
    "write merged",
    "sync merged",
    "rename merged",
    "remove block",
    "create rollup",
    "write rollup",
    "sync rollup",
    "rename rollup",
    "remove merged",
    "sync folder",
];
const ROUNDS: u64 = 60;
const LONG_ROUNDS: u64 = 2000;

fn small(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        retention: Duration::from_secs(9 * 3600),
        retention_5m: Duration::from_secs(20 * 3600),
        ..options(clock)
    }
}

/// When the process dies.
#[derive(Debug)]
struct Death {
    /// At which operations.
    point: String,
    /// How many of them it survives.
    left: AtomicI64,
    /// Whether the operation is done before.
    after: bool,
}

impl Death {
    /// `POINT,COUNT,before|after`; an empty point is any operation.
    fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split(',').collect();
        Self {
            point: parts[0].to_owned(),
            left: AtomicI64::new(parts[1].parse().unwrap()),
            after: parts[2] == "after",
        }
    }

    fn around<T>(&self, act: &str, name: &str, does: impl FnOnce() -> T) -> T {
        let now = format!("{act} {}", kind(name));
        let is_it = self.point.is_empty() || self.point == now;
        let dies = is_it && self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        if dies && !self.after {
            die(&now);
        }
        let done = does();
        if dies {
            die(&now);
        }
        done
    }
}

fn die(point: &str) -> ! {
    println!("dies at {point}");
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
    unreachable!("SIGKILL is not survived");
}

/// What a file is, finished or not.
fn kind(name: &str) -> &'static str {
    let name = name.trim_start_matches('.');
    let numbers: Vec<&str> = name.split(['-', '.']).collect();
    match numbers[..] {
        ["block", first, last, ..] if first == last => "block",
        ["block", ..] => "merged",
        ["rollup", ..] => "rollup",
        ["wal", ..] => "wal",
        ["dedup", ..] => "checkpoint",
        _ => "folder",
    }
}

/// A folder whose operations are counted, and one of them is the last.
#[derive(Debug)]
struct Deadly {
    folder: Folder,
    death: Arc<Death>,
}

#[derive(Debug)]
struct DeadlyFile {
    file: Arc<dyn DiskFile>,
    name: String,
    death: Arc<Death>,
}

impl Deadly {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(DeadlyFile {
            file,
            name: name.to_owned(),
            death: Arc::clone(&self.death),
        })
    }
}

impl ReadAt for DeadlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

impl DiskFile for DeadlyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // A process may die between two halves of what it writes.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.file.write_at(first, offset)?;
        let rest = || self.file.write_at(second, offset + first.len() as u64);
        self.death.around("write", &self.name, rest)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.death
            .around("cut", &self.name, || self.file.set_len(length))
    }

    fn sync(&self) -> io::Result<()> {
        self.death.around("sync", &self.name, || self.file.sync())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Disk for Deadly {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.folder.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self
            .death
            .around("create", name, || self.folder.create(name));
        Ok(self.file(name, file?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.death
            .around("rename", to, || self.folder.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.death
            .around("remove", name, || self.folder.remove(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.death.around("sync", "", || self.folder.sync())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

/// Not a test: the process that is killed. It says how much of the story was acknowledged.
#[test]
#[ignore = "is started by a_process_may_be_killed_within_cut_merge_rollup_and_retention"]
fn child_that_tells_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let disk = Deadly {
        folder: Folder::open(Path::new(&folder)).unwrap(),
        death: Arc::new(Death::parse(&std::env::var(DEATH).unwrap())),
    };
    let clock = ManualClock::new();
    let mut story = Story::resumed(std::env::var(TOLD).unwrap().parse().unwrap());
    let store = SeriesStore::open_on(Arc::new(disk), small(&clock)).unwrap();
    for _ in 0..400 {
        story.tell(&store, &clock);
        println!("acknowledged {}", story.half_hours());
        store.maintain().unwrap();
    }
}

/// Runs a process to its death: how much was acknowledged, and where it died.
fn live(folder: &Path, told: i64, death: &str) -> (i64, Option<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_tells_until_it_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(TOLD, told.to_string())
        .env(DEATH, death)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut acknowledged, mut point) = (told, None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("acknowledged ") {
            acknowledged = number.parse().unwrap();
        }
        if let Some(now) = line.split("dies at ").nth(1) {
            point = Some(now.to_owned());
        }
    }
    let status = child.wait().unwrap();
    let is_as_told = match point {
        Some(_) => status.signal() == Some(9),
        None => status.success(),
    };
    assert!(is_as_told, "{status} at {point:?}");
    (acknowledged, point)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_process_may_be_killed_within_cut_merge_rollup_and_retention() {
    let drawn = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("XIEZHI_SEED").unwrap_or(u64::from(drawn.subsec_nanos()));
    eprintln!("XIEZHI_SEED={seed} repeats this run");
    let usual = match std::env::var_os("XIEZHI_LONG") {
        Some(_) => LONG_ROUNDS,
        None => ROUNDS,
    };
    let rounds = number("XIEZHI_ROUNDS").unwrap_or(usual);
    let mut random = Random(seed | 1);
    let mut deaths: BTreeMap<String, u64> = BTreeMap::new();
    let mut scene = Scene::new();
    for round in 0..rounds {
        // Days of a story make each check longer.
        if scene.told > 600 {
            scene = Scene::new();
        }
        // Each point before and after it, then any operation.
        let (point, count) = match POINTS.get(round as usize / 2) {
            Some(point) => (*point, random.below(3)),
            None => ("", random.below(900)),
        };
        let moment = ["before", "after"][round as usize % 2];
        let death = format!("{point},{count},{moment}");
        if let Some(point) = scene.live_and_die(&death) {
            *deaths.entry(format!("{moment} {point}")).or_default() += 1;
        }
    }
    eprintln!("{deaths:?}");
    let is_met = |point: &&&str| !deaths.keys().any(|met| met.ends_with(**point));
    let missed: Vec<&&str> = POINTS.iter().filter(is_met).collect();
    assert!(
        rounds < ROUNDS || missed.is_empty(),
        "never met: {missed:?}"
    );
}

/// A folder that processes live and die on.
struct Scene {
    folder: tempfile::TempDir,
    told: i64,
}

impl Scene {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            told: 0,
        }
    }

    fn live_and_die(&mut self, death: &str) -> Option<String> {
        let (told, point) = live(self.folder.path(), self.told, death);
        let clock = ManualClock::new();
        let store = SeriesStore::open(self.folder.path(), small(&clock)).unwrap();
        // The agents heard no answer to the last half hour and send it again.
        let mut story = Story::resumed(told);
        story.tell(&store, &clock);
        story.check(&store);
        store.maintain().unwrap();
        story.check(&store);
        assert_eq!(store.verify().unwrap().damaged, [], "{death}");
        assert_eq!(store.stats().damaged, 0, "{death}");
        self.told = story.half_hours();
        point
    }
}
