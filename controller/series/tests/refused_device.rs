//! A real device that refuses: a file system with checksums on a loop device, of which a byte was
//! changed below, so that the kernel answers EIO where a block or a log is read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{ManualClock, Owned, Reporter, frames, options};
use xiezhi_series::{Appended, SeriesOptions, SeriesStore, check_backup};

const HOSTS: i64 = 12;
const SECTOR: u64 = 4096;
/// The least that btrfs takes is half of it. Almost all of it is a hole.
const IMAGE_BYTES: u64 = 256 << 20;

/// A btrfs in a file, mounted while it is not broken into.
struct Device {
    folder: tempfile::TempDir,
    mounted: bool,
    /// Places of the image that were changed, and what was there.
    broken: Vec<(u64, u8)>,
}

impl Device {
    /// None if this machine cannot have one.
    fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = fs::File::create(&image).unwrap();
        file.set_len(IMAGE_BYTES).unwrap();
        fs::create_dir(folder.path().join("mount")).unwrap();
        let made = Command::new("mkfs.btrfs")
            .args(["-q", "-d", "single", "-m", "single"])
            .arg(&image)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status();
        let mut device = Self {
            folder,
            mounted: false,
            broken: Vec::new(),
        };
        (made.is_ok_and(|status| status.success()) && device.mount()).then_some(device)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn mount(&mut self) -> bool {
        let mounted = Command::new("mount")
            .args(["-t", "btrfs", "-o", "loop,noatime,compress=no"])
            .args([self.image(), self.path()])
            .stderr(Stdio::null())
            .status();
        self.mounted = mounted.is_ok_and(|status| status.success());
        self.mounted
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let status = Command::new("umount").arg(self.path()).status();
            assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
        }
    }

    /// Makes the sector of a file around `offset` unreadable.
    fn refuse(&mut self, file: &Path, offset: u64) {
        let mut content = [0; 48];
        let mut opened = fs::File::open(file).unwrap();
        opened.seek(SeekFrom::Start(offset)).unwrap();
        opened.read_exact(&mut content).unwrap();
        opened.sync_all().unwrap();
        drop(opened);
        self.unmount();
        let mut image = fs::File::options()
            .read(true)
            .write(true)
            .open(self.image())
            .unwrap();
        // Earlier copies too: what is written over is written elsewhere there.
        let places = find(&mut image, &content);
        assert!(!places.is_empty());
        for place in places {
            image.seek(SeekFrom::Start(place)).unwrap();
            image.write_all(&[content[0] ^ 0x10]).unwrap();
            self.broken.push((place, content[0]));
        }
        image.sync_all().unwrap();
        drop(image);
        assert!(self.mount(), "it does not mount again");
        let error = fs::read(file).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{}: {error}", file.display());
    }
}

impl Device {
    /// Makes all sectors readable.
    fn heal(&mut self) {
        self.unmount();
        let mut image = fs::File::options().write(true).open(self.image()).unwrap();
        for (place, byte) in self.broken.drain(..) {
            image.seek(SeekFrom::Start(place)).unwrap();
            image.write_all(&[byte]).unwrap();
        }
        image.sync_all().unwrap();
        drop(image);
        assert!(self.mount(), "it does not mount again");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// The sectors of a large file that begin with `wanted`.
fn find(file: &mut fs::File, wanted: &[u8]) -> Vec<u64> {
    let mut sector = [0; SECTOR as usize];
    let (mut at, mut found) = (0, Vec::new());
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
    while reader.read_exact(&mut sector).is_ok() {
        if sector.starts_with(wanted) {
            found.push(at);
        }
        at += SECTOR;
    }
    found
}

fn tell(store: &SeriesStore, reporters: &mut [Reporter], seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        let verdicts = store.append(&frames(&group)).unwrap();
        assert!(verdicts.iter().all(|one| *one == Appended::Stored));
    }
}

fn points(store: &SeriesStore) -> (usize, u64) {
    let (mut points, mut damaged) = (0, 0);
    for host in 1..=HOSTS {
        let report = store.range_report(host, i64::MIN, i64::MAX, &|_| true);
        let report = report.unwrap();
        points += report
            .series
            .iter()
            .map(|one| one.points.len())
            .sum::<usize>();
        damaged += report.damaged;
    }
    (points, damaged)
}

#[test]
fn samples_on_a_device_with_bad_sectors_are_served_but_for_what_lies_in_those() {
    let Some(mut device) = Device::make() else {
        xiezhi_test_skip::skip("a btrfs on a loop device needs root and btrfs-progs");
        return;
    };
    let clock = ManualClock::new();
    let options = SeriesOptions {
        retention: Duration::from_secs(30 * 86_400),
        ..options(&clock)
    };
    let folder = device.path().join("series");
    let mut reporters: Vec<Reporter> = (1..=HOSTS).map(Reporter::new).collect();
    let store = SeriesStore::open(&folder, options.clone()).unwrap();
    tell(&store, &mut reporters, 1..=60);
    clock.advance(Duration::from_secs(1900));
    tell(&store, &mut reporters, 61..=120);
    store.maintain().unwrap();
    let (all, _) = points(&store);
    drop(store);

    let (block, log) = ("block-0000000001-0000000001.xzb", "wal-0000000002.log");
    for (name, sector) in [(block, 1), (log, 2)] {
        device.refuse(&folder.join(name), sector * SECTOR);
        let store = SeriesStore::open(&folder, options.clone()).unwrap();
        let (left, damaged) = points(&store);
        assert!(left < all && left * 10 > all * 2, "{name}: {left} of {all}");
        assert!(damaged > 0, "{name}: an answer says what it lacks");
        assert!(store.stats().damaged > 0, "{name}");
        let report = store.verify().unwrap();
        let is_named = |line: &String| line.contains(name);
        assert!(report.lines().iter().any(is_named), "{report:?}");
        let target = device.path().join(format!("backup-{name}"));
        let backup = store.backup(&target).unwrap();
        assert!(backup.found.lines().iter().any(is_named), "{name}");
        // A backup can be read to its end and moved elsewhere, whatever the original is.
        for entry in fs::read_dir(&target).unwrap() {
            fs::read(entry.unwrap().path()).unwrap();
        }
        let checked = check_backup(&target).unwrap();
        assert!(
            !checked.is_whole() && checked.changed.is_empty(),
            "{checked:?}"
        );
    }

    // It takes reports, cuts what can be read of the log, and starts again.
    let store = SeriesStore::open(&folder, options.clone()).unwrap();
    clock.advance(Duration::from_secs(1900));
    let mut others: Vec<Reporter> = (101..=105).map(Reporter::new).collect();
    tell(&store, &mut others, 1..=5);
    for _ in 0..3 {
        drop(store.maintain());
    }
    store.maintain().unwrap();
    drop(store);
    let store = SeriesStore::open(&folder, options.clone()).unwrap();
    let report = store.verify().unwrap();
    assert_eq!(report.set_aside, Vec::<String>::new());
    assert_eq!(report.refused, [log], "it stays under its own name");
    let (left, _) = points(&store);
    assert!(left * 10 > all * 2, "{left} of {all}");
    drop(store);

    // The device gives it again, and nobody has to rename anything.
    device.heal();
    let store = SeriesStore::open(&folder, options).unwrap();
    assert_eq!(points(&store), (all, 0));
    assert!(store.verify().unwrap().is_whole());
}
