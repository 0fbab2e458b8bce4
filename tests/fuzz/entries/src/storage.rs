//! Readers of what lies on a disk: spool, samples, configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xiezhi_document::{Document, Section};
use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_series::{Appended, Clock, ForeignSeries, Frame, Sealing, SeriesOptions, SeriesStore};
use xiezhi_spool::{Limits, Spool};

use crate::disk::Memory;

/// A spool folder whose only segment holds these bytes: it opens, what is intact is read in order,
/// and it takes new batches.
pub fn spool(bytes: &[u8]) {
    let (stream, bytes) = match bytes.split_first() {
        Some((number, rest)) => (
            Stream::from_number(number % 4).unwrap_or(Stream::Events),
            rest,
        ),
        None => (Stream::Events, bytes),
    };
    let folder = memory_folder();
    let name = format!("{}-{:020}.seg", stream.name(), 1);
    std::fs::write(folder.path().join(name), bytes).expect("a folder of our own");
    // A damaged file is set aside or skipped; it never keeps the agent from starting.
    let mut spool =
        Spool::open(folder.path(), Limits::default(), 0).expect("a spool opens over any bytes");
    let mut cursor = spool.cursor(stream, 1);
    let (mut payload, mut last) = (Vec::new(), 0);
    while let Some(record) = spool.read(&mut cursor, &mut payload) {
        assert!(record.info.seq > last, "numbers go up");
        last = record.info.seq;
        payload.clear();
    }
    let next = spool.next_seq(stream);
    assert!(next > last, "a number is never used twice");
    if next < u64::MAX {
        let info = BatchInfo {
            seq: next,
            time_ms: 1,
            checksum: 2,
        };
        spool
            .append(stream, info, true, b"payload")
            .expect("a spool takes a new batch");
    }
}

/// Shared memory where there is some: a fuzzer must not wear out a disk.
fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary folder")
}

/// These bytes as a log, as a sealed segment and as a checkpoint of the sample store.
pub fn log(bytes: &[u8]) {
    let _records = xiezhi_series::fuzz::records(bytes, 0);
    let _checkpoint = xiezhi_series::fuzz::checkpoint(bytes);
    for name in [
        "wal-0000000001.log",
        "segment-0000000001.xzs",
        "block-0000000001-0000000001.xzb",
        "dedup.checkpoint",
    ] {
        let disk = Memory::default();
        disk.put(name, bytes);
        check_opens(&disk);
    }
}

/// These bytes as a chunk of samples, and as values of one.
pub fn chunks(bytes: &[u8]) {
    let _points = xiezhi_series::fuzz::chunks(bytes);
}

/// These bytes as the pieces of a block of samples.
pub fn pieces(bytes: &[u8]) {
    let _entries = xiezhi_series::fuzz::pieces(bytes);
}

fn check_opens(disk: &Memory) {
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options())
        .expect("a store opens over any bytes");
    for host in store.hosts().into_iter().take(4) {
        let _frames = store.frames(host).expect("memory does not fail");
        let _answer = store.range_report(host, i64::MIN, i64::MAX, &|_| true);
        let _latest = store.latest(host);
    }
    let _report = store.verify().expect("memory does not fail");
    let batch = BatchInfo {
        seq: 1,
        time_ms: 1,
        checksum: 1,
    };
    let frame = Frame {
        host: 1 << 40,
        epoch: 1,
        batch,
        key: true,
        bytes: b"frame",
    };
    assert_eq!(
        store
            .append(&[frame])
            .expect("a store takes a new frame")
            .len(),
        1
    );
    store.maintain().expect("memory does not fail");
}

fn options() -> SeriesOptions {
    SeriesOptions {
        segment_bytes: 600,
        sealing: Sealing::Manual,
        seal_bytes_per_s: u64::MAX,
        clock: Clock::new(|| 1_700_000_000_000),
        ..SeriesOptions::default()
    }
}

/// A story of appends, seals, restarts and damaged bytes. Without damage everything stored is
/// there once; with damage nothing panics and nothing is invented.
pub fn store(story: &[u8]) {
    let disk = Memory::default();
    let open = || SeriesStore::open_on(Arc::new(disk.clone()), options()).expect("a store opens");
    let mut store = open();
    let mut model = Model::new();
    let mut ever = BTreeSet::new();
    let mut foreign = Foreign::default();
    let mut damaged = false;
    for chapter in story.chunks_exact(4).take(200) {
        let &[action, first, second, third] = chapter else {
            break;
        };
        match action % 8 {
            0..=3 => {
                let host = i64::from(action / 8 % 3);
                let (epoch, seq) = (u64::from(first % 2), u64::from(second));
                let checksum = u32::from(third % 4);
                let batch = BatchInfo {
                    seq,
                    time_ms: i64::from(second),
                    checksum,
                };
                let bytes = [first, second, third].repeat(usize::from(third));
                let frame = Frame {
                    host,
                    epoch,
                    batch,
                    key: third == 0,
                    bytes: &bytes,
                };
                let verdict = *store
                    .append(&[frame])
                    .expect("memory")
                    .first()
                    .expect("a verdict");
                let known = model.get(&(host, epoch, seq)).copied();
                if !damaged {
                    let expected = match known {
                        None => Appended::Stored,
                        Some(known) if known == checksum => Appended::Replay,
                        Some(_) => Appended::Conflict,
                    };
                    assert_eq!(verdict, expected);
                }
                if verdict == Appended::Stored {
                    model.insert((host, epoch, seq), checksum);
                    ever.insert(((host, epoch, seq), checksum));
                }
            }
            4 => foreign.append(&store, chapter, damaged),
            5 => store.maintain().expect("memory"),
            6 => store = open(),
            _ => {
                damaged = true;
                damage(&disk, first, u16::from_le_bytes([second, third]));
            }
        }
    }
    for store in [&store, &open()] {
        foreign.check(store, damaged);
        let found = stored(store);
        if damaged {
            assert!(
                found.into_iter().all(|frame| ever.contains(&frame)),
                "a frame was invented"
            );
        } else {
            assert_eq!(found, model);
        }
    }
}

/// What sources sent, by source, series and time; and all that they ever sent.
#[derive(Default)]
struct Foreign {
    model: BTreeMap<(i64, &'static str, i64), u8>,
    ever: BTreeSet<(i64, &'static str, i64, u8)>,
}

impl Foreign {
    const TEXTS: [&str; 3] = ["a", "b{x=\"1\"}", "b{x=\"2\"}"];

    /// Two samples of one series, 20 apart.
    fn append(&mut self, store: &SeriesStore, chapter: &[u8], damaged: bool) {
        let &[action, first, second, third] = chapter else {
            return;
        };
        let source = -1 - i64::from(action / 8 % 2);
        let place = usize::from(first) % Self::TEXTS.len();
        let text = *Self::TEXTS.get(place).expect("a text");
        let times = [i64::from(second), i64::from(second) + 20];
        let points = times.map(|time_ms| (time_ms, f64::from(third % 4)));
        let series = ForeignSeries {
            text,
            points: &points,
        };
        let report = store.append_foreign(source, &[series]).expect("memory");
        let known = |time_ms: &i64| self.model.get(&(source, text, *time_ms)).copied();
        let count = |is: &dyn Fn(Option<u8>) -> bool| {
            times.iter().filter(|time_ms| is(known(time_ms))).count() as u64
        };
        if !damaged {
            assert_eq!(report.stored, count(&|known| known.is_none()));
            assert_eq!(report.repeated, count(&|known| known == Some(third % 4)));
            let other = |known: Option<u8>| known.is_some_and(|known| known != third % 4);
            assert_eq!(report.contradicted, count(&other));
        }
        for time_ms in times {
            self.ever.insert((source, text, time_ms, third % 4));
            let key = (source, text, time_ms);
            self.model.entry(key).or_insert(third % 4);
        }
    }

    fn check(&self, store: &SeriesStore, damaged: bool) {
        let mut found = 0;
        for source in [-2, -1] {
            let Ok(series) = store.range(source, i64::MIN, i64::MAX, &|_| true) else {
                assert!(damaged, "memory does not fail");
                continue;
            };
            for one in series {
                let text = Self::TEXTS.into_iter().find(|text| **text == *one.series);
                let text = text.expect("a series was sent");
                for (time_ms, value) in one.points {
                    found += 1;
                    let sent = (source, text, time_ms, value as u8);
                    assert!(self.ever.contains(&sent), "a sample was invented");
                    if !damaged {
                        let kept = self.model.get(&(source, text, time_ms));
                        assert_eq!(kept, Some(&(value as u8)));
                    }
                }
            }
        }
        assert!(damaged || found == self.model.len(), "a sample is lost");
    }
}

type Model = BTreeMap<(i64, u64, u64), u32>;

fn damage(disk: &Memory, which: u8, place: u16) {
    let names = disk.names();
    let Some(name) = names.get(usize::from(which) % names.len().max(1)) else {
        return;
    };
    let mut bytes = disk.get(name);
    let place = usize::from(place) % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (which % 8);
    }
    disk.put(name, &bytes);
}

fn stored(store: &SeriesStore) -> Model {
    let mut found = Model::new();
    for host in 0..3 {
        for frame in store.frames(host).expect("memory does not fail") {
            let key = (host, frame.epoch, frame.batch.seq);
            assert!(
                found.insert(key, frame.batch.checksum).is_none(),
                "a frame is there twice"
            );
        }
    }
    found
}

/// A configuration file, taken apart with every kind of value under every key.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let document = Document::parse("fuzz.yaml", &text);
    let ((), problems) = document.read(|section| take(section, 0));
    // YAML ends a line at a lone carriage return too, and the end of the file may count as one.
    let lines = 2 + text.matches(['\n', '\r']).count();
    for problem in problems.list() {
        assert!(problem.line <= lines, "a place beyond the file");
    }
    assert_eq!(problems.is_empty(), problems.list().is_empty());
    let _text = problems.to_string();
}

fn take(section: &mut Section<'_>, depth: u32) {
    let _text = section.text("text");
    let _required = section.required_text("required", "a text");
    let _flag = section.boolean("flag");
    let _number = section.parsed::<u16>("number", "a number");
    let _span = section.duration("span");
    let _size = section.size("size");
    let _choice = section.choice("choice", &[("one", 1), ("two", 2)]);
    let _texts = section.texts("texts");
    if depth < 4 {
        let _inner = section.section("inner", |inner| take(inner, depth + 1));
        let _list = section.sections("list", |inner| take(inner, depth + 1));
    }
}
