//! Samples of sources that are no hosts: each rule about time, value and number of series holds, and
//! what is late costs a bounded read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::foreign::{Row, START, append, open, points, report, rotate};
use common::power::PowerDisk;
use common::{ManualClock, Reporter, frames, options};
use xiezhi_series::{
    ForeignSeries, SeriesError, SeriesLimits, SeriesOptions, SeriesRefusal, SeriesStore,
};

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

#[test]
fn each_rule_holds_in_the_log_in_the_block_and_after_reopening() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let text = "up{job=\"a\"}";
    let mut store = open(&disk, &clock);
    let rows = vec![(START, 1.0), (START + 30, 3.0)];
    assert_eq!(
        append(&store, -1, &[(text, rows.clone())]).unwrap(),
        report(2, 0, 0)
    );
    let mut expected = BTreeMap::from_iter(rows.iter().copied());
    for round in 1..=4 {
        assert_eq!(
            append(&store, -1, &[(text, rows.clone())]).unwrap(),
            report(0, 2, 0)
        );
        let other = vec![(START, 2.0), (START + 30, f64::NAN)];
        assert_eq!(
            append(&store, -1, &[(text, other)]).unwrap(),
            report(0, 0, 2)
        );
        let late = START + round;
        assert_eq!(
            append(&store, -1, &[(text, vec![(late, 9.5)])]).unwrap(),
            report(1, 0, 0)
        );
        assert_eq!(
            append(&store, -1, &[(text, vec![(late, 9.5)])]).unwrap(),
            report(0, 1, 0)
        );
        expected.insert(late, 9.5);
        assert_eq!(
            points(&store, -1, text),
            Vec::from_iter(expected.clone()),
            "round {round}"
        );
        assert_eq!(points(&store, -2, text), []);
        assert_eq!(points(&store, 1, text), []);
        match round {
            1 => rotate(&store, &clock),
            2 => store = open(&disk, &clock),
            _ => {
                rotate(&store, &clock);
                store = open(&disk, &clock);
            }
        }
    }
    assert_eq!(store.verify().unwrap().damaged, []);
    assert_eq!(store.stats().damaged, 0);
}

/// Only late samples are in the log, and those after them in a block: what memory knows after
/// opening is not the newest.
#[test]
fn a_sample_newer_than_the_log_but_not_than_the_blocks_is_known_after_reopening() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let store = open(&disk, &clock);
    append(&store, -1, &[("a", vec![(START + 100, 1.0)])]).unwrap();
    rotate(&store, &clock);
    append(&store, -1, &[("a", vec![(START + 50, 2.0)])]).unwrap();
    drop(store);
    let store = open(&disk, &clock);
    let again = append(&store, -1, &[("a", vec![(START + 100, 1.0)])]).unwrap();
    assert_eq!(again, report(0, 1, 0));
    let more = append(&store, -1, &[("a", vec![(START + 101, 1.0)])]).unwrap();
    assert_eq!(more, report(1, 0, 0));
}

/// What the disk refused must not be remembered as the newest of its series.
#[test]
fn a_request_that_fails_while_its_series_are_new_to_the_process_makes_nothing_old_new() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let store = open(&disk, &clock);
    append(&store, -1, &[("a", vec![(START + 50, 1.0)])]).unwrap();
    rotate(&store, &clock);
    rotate(&store, &clock);
    drop(store);
    let store = open(&disk, &clock);
    disk.set_capacity(Some(0));
    let refused = append(&store, -1, &[("a", vec![(START + 100, 2.0)])]);
    assert!(refused.is_err_and(|error| error.is_full()));
    disk.set_capacity(None);
    let old = append(&store, -1, &[("a", vec![(START + 50, 1.0)])]).unwrap();
    assert_eq!(old, report(0, 1, 0));
    let new = append(&store, -1, &[("a", vec![(START + 100, 2.0)])]).unwrap();
    assert_eq!(new, report(1, 0, 0));
}

const HOUR: i64 = 3_600_000;
/// A full hour.
const BEGIN: i64 = 1_700_002_800_000;
const MANY: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

/// Six series with a sample every 36 s for ten hours, in blocks; opened again with this bound.
fn with_ten_hours(clock: &ManualClock, lookup_points: u64) -> SeriesStore {
    let disk = PowerDisk::default();
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options(clock)).unwrap();
    for hour in 0..10 {
        let points: Vec<(i64, f64)> = (0..100)
            .map(|step| (BEGIN + hour * HOUR + step * 36_000, step as f64))
            .collect();
        let rows: Vec<Row> = MANY.iter().map(|text| (*text, points.clone())).collect();
        assert_eq!(append(&store, -1, &rows).unwrap(), report(600, 0, 0));
    }
    rotate(&store, clock);
    drop(store);
    let options = SeriesOptions {
        lookup_points,
        ..options(clock)
    };
    SeriesStore::open_on(Arc::new(disk), options).unwrap()
}

#[test]
fn of_a_series_that_is_new_to_the_process_only_the_hour_of_a_late_sample_is_read() {
    let clock = ManualClock::new();
    // An hour of two series, and not two; all ten would be two thousand.
    let store = with_ten_hours(&clock, 250);
    let late = [(BEGIN + 1, 9.5), (BEGIN + 99 * 36_000 + 1, 9.5)];
    let rows = [("m0", late.to_vec()), ("m1", late.to_vec())];
    assert_eq!(append(&store, -1, &rows).unwrap(), report(4, 0, 0));
    assert_eq!(append(&store, -1, &rows).unwrap(), report(0, 4, 0));
    // From now on it is known when they end: nothing is read for what is newer.
    let newer: Vec<(i64, f64)> = (0..5000).map(|at| (BEGIN + 10 * HOUR + at, 1.0)).collect();
    let rows = [("m0", newer.clone()), ("m1", newer)];
    assert_eq!(append(&store, -1, &rows).unwrap(), report(10_000, 0, 0));
    let found = points(&store, -1, "m0");
    assert_eq!(found.len(), 2 + 1000 + 5000);
}

#[test]
fn a_request_that_would_read_too_much_comes_to_its_end_when_it_is_sent_again() {
    let clock = ManualClock::new();
    let store = with_ten_hours(&clock, 250);
    // One that is there, one that is new, one that contradicts, in each hour.
    let points_of = |hour: i64| {
        let start = BEGIN + hour * HOUR;
        [(start, 0.0), (start + 1, 2.0), (start + 99 * 36_000, -1.0)]
    };
    let of_all: Vec<(i64, f64)> = (0..10).flat_map(points_of).collect();
    let rows: Vec<Row> = MANY.iter().map(|text| (*text, of_all.clone())).collect();
    let (mut stored, mut left, mut times) = (0, u64::MAX, 0);
    while left > 0 {
        let got = append(&store, -1, &rows).unwrap();
        assert!(got.postponed < left, "it came no further: {got:?}");
        stored += got.stored;
        left = got.postponed;
        times += 1;
        let told = got.stored + got.repeated + got.contradicted + got.postponed;
        assert_eq!(told, 6 * 30, "{got:?}");
    }
    assert!(times > 5, "{times} times: what was read was not bounded");
    assert_eq!(stored, 6 * 10);
    for text in MANY {
        let found = points(&store, -1, text);
        assert_eq!(found.len(), 1010, "{text}");
        assert!(found.iter().all(|point| point.1 != -1.0));
    }
}

#[test]
fn after_a_sample_from_the_future_the_present_is_still_stored_once() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let mut store = open(&disk, &clock);
    let ahead = append(&store, -1, &[("a", vec![(START + 600_000, 1.0)])]).unwrap();
    assert_eq!(ahead, report(1, 0, 0));
    for step in 0..40 {
        let row = [("a", vec![(START + step * 15_000, step as f64)])];
        // The fortieth is at the time of the first.
        let expected = if step == 40 { (0, 1) } else { (1, 0) };
        let got = append(&store, -1, &row).unwrap();
        assert_eq!((got.stored, got.contradicted), expected, "step {step}");
        assert_eq!(append(&store, -1, &row).unwrap(), report(0, 1, 0));
        match step % 10 {
            3 => rotate(&store, &clock),
            7 => store = open(&disk, &clock),
            _ => {}
        }
    }
    assert_eq!(points(&store, -1, "a").len(), 41);
}

#[test]
fn a_request_that_repeats_itself_stores_each_time_once() {
    let clock = ManualClock::new();
    let store = open(&PowerDisk::default(), &clock);
    let rows = [
        ("a", vec![(START + 5, 1.0), (START, 0.5)]),
        ("b", vec![(START, 7.0)]),
        ("a", vec![(START + 5, 1.0), (START, 0.25), (START + 6, 2.0)]),
    ];
    assert_eq!(append(&store, -1, &rows).unwrap(), report(4, 1, 1));
    let expected = [(START, 0.5), (START + 5, 1.0), (START + 6, 2.0)];
    assert_eq!(points(&store, -1, "a"), expected);
}

#[test]
fn values_that_are_no_numbers_are_kept() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let odd = f64::from_bits(0x7ff0_0000_0000_00ab);
    let values = [
        f64::NAN,
        odd,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        5e-324,
    ];
    let rows: Vec<(i64, f64)> = (START..).zip(values).collect();
    let store = open(&disk, &clock);
    assert_eq!(
        append(&store, -1, &[("a", rows.clone())]).unwrap(),
        report(6, 0, 0)
    );
    let stale = vec![(START + 50, STALE)];
    assert_eq!(
        append(&store, -1, &[("a", stale.clone())]).unwrap(),
        report(1, 0, 0)
    );
    drop(store);
    let store = open(&disk, &clock);
    rotate(&store, &clock);
    assert_eq!(append(&store, -1, &[("a", rows)]).unwrap(), report(0, 6, 0));
    assert_eq!(
        append(&store, -1, &[("a", stale)]).unwrap(),
        report(0, 1, 0)
    );
    let back = points(&store, -1, "a");
    assert_eq!(back.len(), 6, "the marker is no value: {back:?}");
    assert!(back[0].1.is_nan() && back[1].1.is_nan());
    assert!(
        back[2..]
            .iter()
            .zip(&values[2..])
            .all(|(a, b)| a.1.to_bits() == b.to_bits())
    );
}

#[test]
fn series_beyond_a_limit_are_refused_one_by_one_and_hosts_keep_their_half() {
    let clock = ManualClock::new();
    let limits = SeriesLimits {
        labels_per_series: 2,
        series_per_source: 3,
        texts: 1000,
        new_texts_per_hour: 100,
        ..SeriesLimits::default()
    };
    let options = SeriesOptions {
        series: limits,
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
    let point = || vec![(START, 1.0)];
    let rows = [
        ("a", point()),
        ("b{x=\"1\",y=\"2\",z=\"3\"}", point()),
        ("no name", point()),
        ("b{x=\"=\",y=\"2\"}", point()),
        ("c", point()),
        ("d", point()),
    ];
    let got = append(&store, -1, &rows).unwrap();
    assert_eq!(got.stored, 3);
    let refused = [
        (1, SeriesRefusal::TooManyLabels),
        (2, SeriesRefusal::BadText),
        (5, SeriesRefusal::SourceFull),
    ];
    assert_eq!(got.refused, refused);
    assert_eq!(store.stats().refused_series, 3);
    let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let mut stored = 0;
    for (source, names) in names.chunks(3).enumerate() {
        let points = point();
        let series: Vec<ForeignSeries<'_>> = names
            .iter()
            .map(|text| ForeignSeries {
                text,
                points: &points,
            })
            .collect();
        let got = store.append_foreign(-10 - source as i64, &series).unwrap();
        stored += got.stored;
        let too_new = |one: &(usize, SeriesRefusal)| one.1 == SeriesRefusal::TooManyNew;
        assert!(got.refused.iter().all(too_new));
    }
    assert_eq!(stored, 50 - 3, "a half of what may be new, and no more");
    let mut host = Reporter::new(1);
    store.append(&frames(&[host.report(1)])).unwrap();
    let found = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
    assert_eq!(found.len(), 40, "a host's series have their room");
    assert!(matches!(
        store.append_foreign(1, &[]),
        Err(SeriesError::NoSource(1))
    ));
}

#[test]
fn texts_are_bounded_in_bytes_for_one_source_and_for_all_and_room_comes_back() {
    let clock = ManualClock::new();
    let limits = SeriesLimits {
        text_bytes: 1000,
        text_bytes_per_source: 300,
        ..SeriesLimits::default()
    };
    let options = SeriesOptions {
        series: limits,
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
    let texts: Vec<String> = (0..20).map(|at| format!("{:x<99}{at:02}", "m")).collect();
    let take = |source: i64, texts: &[String]| {
        let points = [(clock.clock().now_ms(), 1.0)];
        let series: Vec<ForeignSeries<'_>> = texts
            .iter()
            .map(|text| ForeignSeries {
                text,
                points: &points,
            })
            .collect();
        let got = store.append_foreign(source, &series).unwrap();
        let reasons = got.refused.iter().map(|one| one.1);
        (got.stored, reasons.collect::<Vec<_>>())
    };
    // 101 bytes each: two for a source, and four for all of them.
    let refused = SeriesRefusal::SourceTexts;
    assert_eq!(take(-1, &texts[..4]), (2, vec![refused, refused]));
    let refused = SeriesRefusal::TextsFull;
    assert_eq!(take(-2, &texts[2..4]), (2, vec![]));
    assert_eq!(take(-3, &texts[4..6]), (0, vec![refused, refused]));
    // What others have already costs nothing more of the whole.
    assert_eq!(take(-3, &texts[..1]), (1, vec![]));
    // A series that was not heard of for an hour is forgotten, and its text.
    for at in 0..3 {
        clock.advance(Duration::from_secs(3700));
        append(&store, -99, &[("r", vec![(START + at, 1.0)])]).unwrap();
        store.maintain().unwrap();
    }
    assert_eq!(take(-1, &texts[6..8]), (2, vec![]));
    assert_eq!(
        take(-2, &texts[8..11]),
        (2, vec![SeriesRefusal::SourceTexts])
    );
    assert_eq!(take(-3, &texts[12..13]), (0, vec![refused]));
    // The hosts' half is theirs.
    let mut host = Reporter::new(1);
    store.append(&frames(&[host.report(1)])).unwrap();
    let found = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
    assert!(found.len() > 10, "{}", found.len());
}
