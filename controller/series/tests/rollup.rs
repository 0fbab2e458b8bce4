//! When samples are gone, their rollups answer, and what they say is true.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, options};
use xiezhi_promql::{Budget, Engine, Limits, Matcher, Select, SelectHint, Storage as _, Value};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{
    Appended, Frame, HostLabels, LabelledHost, Selector, SeriesOptions, SeriesStore,
};

const STEP: i64 = 60_000;
/// An hour and a day begin here.
const START: i64 = 1_700_006_400_000;
const DAY: i64 = 86_400_000;
const FIVE: i64 = 300_000;

struct OneHost;

impl HostLabels for OneHost {
    fn all(&self) -> Arc<[LabelledHost]> {
        Arc::new([LabelledHost {
            host: 1,
            labels: Vec::new(),
        }])
    }
}

/// A counter that is reset every 1,000 reports, and a gauge.
fn values(seq: i64) -> (f64, f64) {
    let grown: i64 = ((seq / 1000 * 1000).max(1)..=seq).map(|one| one % 13).sum();
    (grown as f64, ((seq * 7919) % 1009) as f64 / 4.0)
}

/// Four days of a report per minute; samples are kept for a day.
fn store() -> (SeriesStore, PowerDisk, SeriesOptions) {
    store_for(1)
}

/// Samples are kept for so many days.
fn store_for(days: u64) -> (SeriesStore, PowerDisk, SeriesOptions) {
    let (clock, disk) = (ManualClock::new(), PowerDisk::default());
    let options = SeriesOptions {
        retention: Duration::from_secs(days * 86_400),
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    let mut encoder = Encoder::new(STEP as u32);
    for seq in 1..=4 * DAY / STEP {
        let mut report = Report::new();
        report.start(START + seq * STEP);
        let (counter, gauge) = values(seq);
        report.push("grown_total", &[], counter).unwrap();
        report.push("level", &[], gauge).unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(seq as u64, &report, &mut bytes);
        let key = peek(&bytes).unwrap().key;
        let frame = Frame {
            host: 1,
            epoch: 1,
            batch,
            key,
            bytes: &bytes,
        };
        assert_eq!(store.append(&[frame]).unwrap(), [Appended::Stored]);
        clock.advance(Duration::from_secs(60));
        if seq % 60 == 0 {
            store.maintain().unwrap();
        }
    }
    (store, disk, options)
}

fn ask(
    store: &SeriesStore,
    name: &str,
    function: &str,
    from_ms: i64,
    to_ms: i64,
) -> Vec<(i64, f64)> {
    let rows = weighed(store, name, function, from_ms, to_ms);
    rows.into_iter()
        .map(|(time_ms, value, _)| (time_ms, value))
        .collect()
}

/// Times, values and how many samples each stands for.
fn weighed(
    store: &SeriesStore,
    name: &str,
    function: &str,
    from_ms: i64,
    to_ms: i64,
) -> Vec<(i64, f64, f64)> {
    let request = Select {
        matchers: vec![Matcher::equal("__name__", name)],
        start_ms: from_ms,
        end_ms: to_ms,
        hint: SelectHint {
            function: function.to_owned(),
            ..SelectHint::default()
        },
    };
    let selector = Selector::new(store.clone(), Arc::new(OneHost));
    let found = selector
        .select(&request, &Budget::new(Limits::default()))
        .unwrap();
    assert_eq!(found.len(), 1, "{name}");
    let counts = found[0].coarse.as_ref().map(|coarse| &coarse.counts);
    let count = |place: usize| counts.map_or(1.0, |counts| counts[place]);
    let points = found[0].times.iter().zip(found[0].values.iter());
    points
        .enumerate()
        .map(|(place, (&time_ms, &value))| (time_ms, value, count(place)))
        .collect()
}

/// Values of the reports in the step that ends at `end_ms`.
fn in_step(end_ms: i64) -> Vec<(f64, f64)> {
    let last = (end_ms - START) / STEP;
    (last - FIVE / STEP + 1..=last).map(values).collect()
}

#[test]
fn rollups_answer_when_samples_are_gone() {
    let (store, disk, options) = store();
    let reopened = SeriesStore::open_on(Arc::new(disk.clone()), options).unwrap();
    for store in [&store, &reopened] {
        let stats = store.stats();
        assert!(
            stats.rollups >= 4 && stats.removed_segments + stats.rollups > 0,
            "{stats:?}"
        );
        assert_eq!(store.verify().unwrap().damaged, []);
        assert!(
            store
                .range(1, 0, START + DAY / 2, &|_| true)
                .unwrap()
                .is_empty(),
            "samples are left"
        );
        let (from, to) = (START + DAY / 4, START + DAY / 2);
        for (function, fold) in [
            ("min_over_time", f64::min as fn(f64, f64) -> f64),
            ("max_over_time", f64::max),
        ] {
            let points = ask(store, "level", function, from, to);
            assert_eq!(points.len() as i64, (to - from) / FIVE + 1);
            for (time_ms, value) in points {
                let expected = in_step(time_ms)
                    .into_iter()
                    .map(|pair| pair.1)
                    .reduce(fold)
                    .unwrap();
                assert_eq!(value, expected, "{function} at {time_ms}");
            }
        }
        for (time_ms, mean, count) in weighed(store, "level", "avg_over_time", from, to) {
            let values = in_step(time_ms).into_iter().map(|pair| pair.1);
            assert_eq!(count as usize, values.len());
            assert!((mean * count - values.sum::<f64>()).abs() < 1e-6);
        }
        let last = ask(store, "grown_total", "", from, to);
        assert!(
            last.iter()
                .all(|&(time_ms, value)| in_step(time_ms).last().unwrap().0 == value)
        );
        // Growth over resets and over the border of two days, to the samples of today.
        let now = START + 4 * DAY;
        let grown = ask(store, "grown_total", "increase", START + DAY / 2, now);
        assert!(grown.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let rolled: Vec<_> = grown
            .iter()
            .filter(|(time_ms, _)| *time_ms <= START + 2 * DAY)
            .collect();
        let (first, end) = (rolled[0], rolled[rolled.len() - 1]);
        let reports = (first.0 - START) / STEP + 1..=(end.0 - START) / STEP;
        let expected: i64 = reports.map(|one| one % 13).sum();
        // At each reset the report that begins anew counts with its own value only.
        let difference = (end.1 - first.1) - expected as f64;
        assert!(difference.abs() <= 13.0 * 3.0, "{difference} of {expected}");
    }
}

#[test]
fn a_coarse_question_reads_rollups_although_samples_are_there() {
    let (store, ..) = store();
    let request = |step_ms| Select {
        matchers: vec![Matcher::equal("__name__", "level")],
        start_ms: START + DAY / 2,
        end_ms: START + 4 * DAY,
        hint: SelectHint {
            step_ms,
            range_ms: 2 * 3_600_000,
            function: "max_over_time".to_owned(),
        },
    };
    let selector = Selector::new(store, Arc::new(OneHost));
    let read = |step_ms| {
        let budget = Budget::new(Limits::default());
        selector.select(&request(step_ms), &budget).unwrap();
        budget.samples_used()
    };
    assert!(
        read(2 * 3_600_000) * 2 < read(15_000),
        "{} {}",
        read(7_200_000),
        read(15_000)
    );
}

#[test]
fn steps_are_read_only_for_what_they_keep_of_a_metric() {
    let (store, ..) = store_for(10);
    let selector = Selector::new(store, Arc::new(OneHost));
    let read = |name: &str, function: &str, step_ms| {
        let request = Select {
            matchers: vec![Matcher::equal("__name__", name)],
            start_ms: START,
            end_ms: START + 4 * DAY,
            hint: SelectHint {
                step_ms,
                range_ms: 2 * 3_600_000,
                function: function.to_owned(),
            },
        };
        let budget = Budget::new(Limits::default());
        selector.select(&request, &budget).unwrap();
        budget.samples_used()
    };
    for (name, function, is_coarse) in [
        ("grown_total", "increase", true),
        ("level", "max_over_time", true),
        ("grown_total", "max_over_time", false),
        ("grown_total", "min_over_time", false),
        ("level", "increase", false),
    ] {
        let (coarse, fine) = (
            read(name, function, 7_200_000),
            read(name, function, 60_000),
        );
        assert_eq!(
            coarse < fine,
            is_coarse,
            "{function}({name}): {coarse} {fine}"
        );
    }
}

#[test]
fn growth_is_the_same_where_steps_meet_samples() {
    let (store, ..) = store_for(10);
    let selector = Selector::new(store, Arc::new(OneHost));
    let ask = |from_ms: i64, to_ms: i64, hours: i64| -> Vec<(i64, f64)> {
        let query = format!("increase(grown_total[{hours}h])");
        let budget = Budget::new(Limits::default());
        let step_ms = 2 * 3_600_000;
        let answer = Engine::default().range(&selector, &query, from_ms, to_ms, step_ms, &budget);
        match answer.unwrap().value {
            Value::Matrix(series) => series[0].points.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    for hours in [2, 4] {
        let long = ask(START + DAY / 2, START + 4 * DAY, hours);
        assert_eq!(long.len(), 43);
        for (time_ms, grown) in long {
            let (_, alone) = ask(time_ms, time_ms, hours)[0];
            let distance = (grown - alone).abs() / alone;
            let at_h = (time_ms - START) / 3_600_000;
            // An hour of this counter differs from the next by so much.
            assert!(distance < 0.08, "{hours} h, hour {at_h}: {grown} {alone}");
        }
    }
}
