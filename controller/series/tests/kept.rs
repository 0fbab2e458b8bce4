//! Folders of earlier releases open for ever. `tests/kept/v1` holds two sealed segments and a log of
//! two hosts, 400 reports each, written by the release before chunks existed. `tests/kept/foreign1` holds
//! a log with samples of a foreign source in the first form of their record.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{ManualClock, options};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Appended, ForeignSeries, Frame, SeriesStore};

const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;
const HOSTS: i64 = 2;
const REPORTS: u64 = 400;

fn values(host: i64, seq: u64) -> Vec<(&'static str, f64)> {
    let mut values = vec![
        ("bytes_total", (seq * 1000 + host as u64) as f64),
        ("constant", 7.0),
        ("load", (seq * 3 % 17) as f64 / 4.0),
    ];
    if !seq.is_multiple_of(5) {
        values.push(("sometimes", seq as f64 * 0.1));
    }
    values
}

fn folder() -> PathBuf {
    kept("v1")
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kept")
        .join(name)
}

/// For a new format: `cargo nextest run -p xiezhi-series --run-ignored only -E 'test(kept_folder)'`.
///
/// What lies there was written by earlier code and cannot be made again: a newer format gets a folder of its own,
/// so change the name here first. This holds for all three.
#[test]
#[ignore = "writes the kept folder anew; the command stands above it"]
fn write_the_kept_folder() {
    let clock = ManualClock::new();
    let store = SeriesStore::open(&folder(), options(&clock)).unwrap();
    let mut encoders: Vec<Encoder> = (0..HOSTS).map(|_| Encoder::new(15_000)).collect();
    for seq in 1..=REPORTS {
        for host in 1..=HOSTS {
            let mut report = Report::new();
            report.start(START + seq as i64 * STEP);
            for (series, value) in values(host, seq) {
                report.push(series, &[], value).unwrap();
            }
            let mut bytes = Vec::new();
            let batch = encoders[host as usize - 1].encode(seq, &report, &mut bytes);
            let key = peek(&bytes).unwrap().key;
            let frame = Frame {
                host,
                epoch: 1,
                batch,
                key,
                bytes: &bytes,
            };
            assert_eq!(store.append(&[frame]).unwrap(), [Appended::Stored]);
        }
        if seq == 200 || seq == 300 {
            clock.advance(Duration::from_secs(3700));
        }
    }
    store.maintain().unwrap();
    drop(store);
    std::fs::remove_file(folder().join("lock")).unwrap();
}

/// Copies the kept folder, because opening it writes.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn check(store: &SeriesStore) {
    for host in 1..=HOSTS {
        let frames = store.frames(host).unwrap();
        let seqs: Vec<u64> = frames.iter().map(|frame| frame.batch.seq).collect();
        assert_eq!(seqs, (1..=REPORTS).collect::<Vec<_>>());
        let report = store
            .range_report(host, i64::MIN, i64::MAX, &|_| true)
            .unwrap();
        assert_eq!((report.undecodable, report.damaged), (0, 0));
        let mut expected: std::collections::BTreeMap<&str, Vec<(i64, f64)>> = Default::default();
        for seq in 1..=REPORTS {
            for (series, value) in values(host, seq) {
                expected
                    .entry(series)
                    .or_default()
                    .push((START + seq as i64 * STEP, value));
            }
        }
        let found: Vec<(&str, Vec<(i64, f64)>)> = report
            .series
            .iter()
            .map(|one| (&*one.series, one.points.clone()))
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(store.latest(host).unwrap().unwrap().seq, REPORTS);
    }
    assert_eq!(store.verify().unwrap().damaged, []);
}

#[test]
fn the_first_format_opens_and_goes_on_as_blocks() {
    let (copy, clock) = (copy(&folder()), ManualClock::new());
    clock.advance(Duration::from_secs(2 * 3700));
    let open = || SeriesStore::open(copy.path(), options(&clock)).unwrap();
    let store = open();
    check(&store);
    assert_eq!(store.stats().sealed_segments, 2);
    // Another report ends the log, which then becomes a block.
    clock.advance(Duration::from_secs(3700));
    let (host, epoch) = (9, 1);
    let mut report = Report::new();
    report.start(START);
    report.push("other", &[], 1.0).unwrap();
    let mut bytes = Vec::new();
    let batch = Encoder::new(15_000).encode(1, &report, &mut bytes);
    let frame = Frame {
        host,
        epoch,
        batch,
        key: true,
        bytes: &bytes,
    };
    store.append(&[frame]).unwrap();
    store.maintain().unwrap();
    assert_eq!(store.stats().sealed_segments, 3);
    check(&store);
    drop(store);
    check(&open());
}

const SOURCE: i64 = -7;

/// Every kind of value, series that come later, and a late sample.
fn foreign_values(step: i64) -> Vec<(&'static str, Vec<(i64, f64)>)> {
    let time_ms = START + step * STEP;
    let mut series = vec![
        ("up{job=\"db\"}", vec![(time_ms, (step % 2) as f64)]),
        (
            "bytes_total{x=\"张\"}",
            vec![(time_ms, (step * 4096) as f64)],
        ),
        ("load", vec![(time_ms, step as f64 * 0.25)]),
        ("odd", vec![(time_ms, 1.0 / (step + 3) as f64)]),
    ];
    if step > 10 {
        let late = (START - step, f64::INFINITY);
        series.push(("up{job=\"web\"}", vec![late, (time_ms, 1.0)]));
    }
    series
}

/// As above: `-E 'test(kept_foreign)'`.
#[test]
#[ignore = "writes the kept folder anew; the command stands above it"]
fn write_the_kept_foreign_log() {
    let store = SeriesStore::open(&kept("foreign1"), options(&ManualClock::new())).unwrap();
    for step in 0..20 {
        let values = foreign_values(step);
        let series: Vec<ForeignSeries<'_>> = values
            .iter()
            .map(|(text, points)| ForeignSeries { text, points })
            .collect();
        store.append_foreign(SOURCE, &series).unwrap();
    }
    drop(store);
    std::fs::remove_file(kept("foreign1").join("lock")).unwrap();
}

#[test]
fn foreign_samples_in_their_first_form_are_read() {
    let copy = copy(&kept("foreign1"));
    let store = SeriesStore::open(copy.path(), options(&ManualClock::new())).unwrap();
    let mut expected = std::collections::BTreeMap::<&str, Vec<(i64, f64)>>::new();
    for step in 0..20 {
        for (text, points) in foreign_values(step) {
            expected.entry(text).or_default().extend(points);
        }
    }
    let found = store.range(SOURCE, i64::MIN, i64::MAX, &|_| true).unwrap();
    assert_eq!(found.len(), expected.len());
    for one in found {
        let points = expected.get_mut(&*one.series).unwrap();
        points.sort_by_key(|point| point.0);
        assert_eq!(one.points, *points, "{}", one.series);
    }
    assert_eq!(store.verify().unwrap().damaged, []);
}

/// Half hours in the kept folder of blocks: a day, which has steps, and a few of the next.
const HALF_HOURS: u64 = 56;
/// Reports of each.
const OF_HALF_HOUR: u64 = 3;

/// As above: `-E 'test(kept_blocks)'`.
#[test]
#[ignore = "writes the kept folder anew; the command stands above it"]
fn write_the_kept_blocks() {
    let clock = ManualClock::new();
    let store = SeriesStore::open(&kept("blocks1"), options(&clock)).unwrap();
    let mut encoders: Vec<Encoder> = (0..HOSTS).map(|_| Encoder::new(15_000)).collect();
    for half_hour in 0..HALF_HOURS {
        clock.advance(Duration::from_secs(1800));
        for seq in half_hour * OF_HALF_HOUR + 1..=(half_hour + 1) * OF_HALF_HOUR {
            for host in 1..=HOSTS {
                append(
                    &store,
                    &mut encoders[host as usize - 1],
                    host,
                    seq,
                    block_time(seq),
                );
            }
            let point = [(block_time(seq), seq as f64)];
            let series = [ForeignSeries {
                text: "up{job=\"db\"}",
                points: &point,
            }];
            store.append_foreign(SOURCE, &series).unwrap();
        }
        // The first is behind a report that no store has: kept as it is.
        let mut lost = Encoder::new(15_000);
        lost.encode(1, &a_report(1, 1, START), &mut Vec::new());
        append(&store, &mut lost, 9, half_hour + 2, block_time(half_hour));
        store.maintain().unwrap();
    }
    assert!(store.stats().rollups > 0);
    drop(store);
    std::fs::remove_file(kept("blocks1").join("lock")).unwrap();
}

fn block_time(seq: u64) -> i64 {
    START + seq as i64 * 600_000
}

fn a_report(host: i64, seq: u64, time_ms: i64) -> Report {
    let mut report = Report::new();
    report.start(time_ms);
    for (series, value) in values(host, seq) {
        report.push(series, &[], value).unwrap();
    }
    report
}

fn append(store: &SeriesStore, encoder: &mut Encoder, host: i64, seq: u64, time_ms: i64) {
    let mut bytes = Vec::new();
    let batch = encoder.encode(seq, &a_report(host, seq, time_ms), &mut bytes);
    let key = peek(&bytes).unwrap().key;
    let frame = Frame {
        host,
        epoch: 1,
        batch,
        key,
        bytes: &bytes,
    };
    assert_eq!(store.append(&[frame]).unwrap(), [Appended::Stored]);
}

fn check_blocks(store: &SeriesStore) {
    let last = HALF_HOURS * OF_HALF_HOUR;
    for host in 1..=HOSTS {
        let mut expected: std::collections::BTreeMap<&str, Vec<(i64, f64)>> = Default::default();
        for seq in 1..=last {
            for (series, value) in values(host, seq) {
                let points = expected.entry(series).or_default();
                points.push((block_time(seq), value));
            }
        }
        let report = store
            .range_report(host, i64::MIN, i64::MAX, &|_| true)
            .unwrap();
        assert_eq!((report.undecodable, report.damaged), (0, 0));
        let found: Vec<(&str, Vec<(i64, f64)>)> = report
            .series
            .iter()
            .map(|one| (&*one.series, one.points.clone()))
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        let seqs = store.frames(host).unwrap().into_iter();
        let seqs: Vec<u64> = seqs.map(|frame| frame.batch.seq).collect();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    }
    let found = store.range(SOURCE, i64::MIN, i64::MAX, &|_| true).unwrap();
    let expected: Vec<(i64, f64)> = (1..=last)
        .map(|seq| (block_time(seq), seq as f64))
        .collect();
    assert_eq!(found[0].points, expected);
    let report = store.verify().unwrap();
    assert_eq!(report.damaged, []);
    assert_eq!(report.undecoded_frames, 1);
}

/// `tests/kept/blocks1` holds blocks, rollups and a log of the first form of their heads, in which both
/// copies of what describes a file lie next to each other.
#[test]
fn blocks_in_their_first_form_open_and_go_on() {
    let (copy, clock) = (copy(&kept("blocks1")), ManualClock::new());
    clock.advance(Duration::from_secs(HALF_HOURS * 1800));
    let open = || SeriesStore::open(copy.path(), options(&clock)).unwrap();
    let store = open();
    let (rollups, blocks) = (store.stats().rollups, store.stats().sealed_segments);
    assert!(rollups > 0 && blocks > 1, "{rollups} {blocks}");
    check_blocks(&store);
    // The next half hours end the log and merge what is of the old form into the new one.
    for number in 0..12 {
        clock.advance(Duration::from_secs(1900));
        append(
            &store,
            &mut Encoder::new(15_000),
            5,
            number + 1,
            block_time(number),
        );
        store.maintain().unwrap();
    }
    check_blocks(&store);
    drop(store);
    check_blocks(&open());
}
