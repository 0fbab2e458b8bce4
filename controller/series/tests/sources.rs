//! Samples of many sources in one write: all of them are there, or none is acknowledged; and what one
//! device may have.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use common::foreign::{START, open, points, report, rotate};
use common::power::PowerDisk;
use common::{ManualClock, Reporter, frames};
use xiezhi_series::{
    ForeignSeries, ForeignSource, SeriesError, SeriesRefusal, device_key, device_of,
};

#[test]
fn keys_of_devices_are_those_of_nobody_else() {
    for device in [1, 2, 1 << 40] {
        let key = device_key(device);
        assert!(key < -(1 << 40));
        assert_eq!(device_of(key), Some(device));
    }
    for key in [7, 0, -1, -(1 << 40)] {
        assert_eq!(device_of(key), None, "{key}");
    }
}

#[test]
fn sources_of_one_write_are_all_there_in_the_head_in_blocks_and_after_reopening() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let mut store = open(&disk, &clock);
    let keys: Vec<i64> = (1..=30).map(device_key).chain([-1, -2]).collect();
    let texts = ["up", "ifHCInOctets{ifName=\"eth0\"}"];
    for round in 0..3_i64 {
        let time_ms = START + round * 60_000;
        let values: Vec<[(i64, f64); 1]> = keys
            .iter()
            .map(|key| [(time_ms, (round * 1000 - key % 97) as f64)])
            .collect();
        let series: Vec<[ForeignSeries<'_>; 2]> = values
            .iter()
            .map(|points| texts.map(|text| ForeignSeries { text, points }))
            .collect();
        let sources: Vec<ForeignSource<'_>> = keys
            .iter()
            .zip(&series)
            .map(|(&source, series)| ForeignSource { source, series })
            .collect();
        let reports = store.append_sources(&sources).unwrap();
        assert_eq!(reports, vec![report(2, 0, 0); keys.len()]);
        let again = store.append_sources(&sources).unwrap();
        assert_eq!(
            again,
            vec![report(0, 2, 0); keys.len()],
            "a poll that comes twice"
        );
        if round == 1 {
            drop(store);
            store = open(&disk, &clock);
        }
    }
    for look in ["head", "block"] {
        for key in &keys {
            let expected: Vec<(i64, f64)> = (0..3)
                .map(|round| (START + round * 60_000, (round * 1000 - key % 97) as f64))
                .collect();
            for text in texts {
                assert_eq!(points(&store, *key, text), expected, "{look}: {key} {text}");
            }
        }
        rotate(&store, &clock);
    }
    let twice = ForeignSource {
        source: keys[0],
        series: &[],
    };
    let refused = store.append_sources(&[twice, twice]);
    assert!(
        matches!(refused, Err(SeriesError::NoSource(_))),
        "{refused:?}"
    );
}

#[test]
fn a_device_has_a_bound_of_its_own_and_takes_nothing_from_others() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let store = open(&disk, &clock);
    let texts: Vec<String> = (0..20_010)
        .map(|port| format!("m{{port=\"{port}\"}}"))
        .collect();
    let points = [(START, 1.0)];
    let series: Vec<ForeignSeries<'_>> = texts
        .iter()
        .map(|text| ForeignSeries {
            text,
            points: &points,
        })
        .collect();
    let got = store.append_foreign(device_key(1), &series).unwrap();
    assert_eq!(got.stored, 20_000);
    assert_eq!(got.refused.len(), 10);
    let is_full = |one: &(usize, SeriesRefusal)| one.1 == SeriesRefusal::SourceFull;
    assert!(got.refused.iter().all(is_full));
    let other = store.append_foreign(device_key(2), &series[..100]).unwrap();
    assert_eq!(other, report(100, 0, 0));
    let token = store.append_foreign(-1, &series).unwrap();
    assert_eq!(
        token.stored, 20_010,
        "whoever scrapes for many may have more"
    );
    let mut host = Reporter::new(1);
    store.append(&frames(&[host.report(1)])).unwrap();
    let found = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
    assert_eq!(found.len(), 40);
}
