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
