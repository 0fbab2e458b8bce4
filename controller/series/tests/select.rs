//! Series by label, against the plain list of what was reported.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, Owned, Reporter, frames, options};
use xiezhi_promql::{
    Budget, Engine, Exhausted, Label, Labels, Limits, MatchOp, Matcher, Select, SelectHint,
    Storage, StorageError,
};
use xiezhi_series::{HostLabels, LabelledHost, Selector, SeriesStore};

const START: i64 = 1_700_000_010_000;

struct Hosts(Vec<LabelledHost>);

impl HostLabels for Hosts {
    fn all(&self) -> Arc<[LabelledHost]> {
        self.0.clone().into()
    }
}

fn host(host: i64, labels: &[(&str, &str)]) -> LabelledHost {
    let label = |&(name, value): &(&str, &str)| Label {
        name: name.into(),
        value: value.into(),
    };
    LabelledHost {
        host,
        labels: labels.iter().map(label).collect(),
    }
}

/// Four hosts and 300 reports: blocks, a log that waits, and one that is being written.
fn store() -> SeriesStore {
    let clock = ManualClock::new();
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options(&clock)).unwrap();
    let mut reporters: Vec<Reporter> = (1..=4).map(Reporter::new).collect();
    for seq in 1..=300 {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        store.append(&frames(&group)).unwrap();
        if seq % 70 == 0 {
            clock.advance(Duration::from_secs(3700));
        }
        if seq == 200 {
            store.maintain().unwrap();
        }
    }
    assert!(store.stats().sealed_segments >= 2 && store.stats().log_segments >= 2);
    store
}

/// The fourth host is not in the inventory.
fn hosts() -> Vec<LabelledHost> {
    vec![
        host(1, &[("host", "one"), ("site", "north")]),
        host(2, &[("host", "two"), ("site", "south")]),
        // A label of the host hides one of the text.
        host(3, &[("host", "three"), ("n", "own"), ("site", "south")]),
    ]
}

fn selector(store: &SeriesStore) -> Selector {
    Selector::new(store.clone(), Arc::new(Hosts(hosts())))
}

fn request(matchers: &[(&str, MatchOp, &str)], from: i64, to: i64) -> Select {
    let matcher =
        |&(name, op, value): &(&str, MatchOp, &str)| Matcher::new(name, op, value).unwrap();
    Select {
        matchers: matchers.iter().map(matcher).collect(),
        start_ms: START + from * 15_000,
        end_ms: START + to * 15_000,
        hint: SelectHint::default(),
    }
}

fn budget() -> Budget {
    Budget::new(Limits::default())
}

/// What a list of all samples would answer.
fn expected(request: &Select) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let mut all = Vec::new();
    for labelled in hosts() {
        let series = Reporter::values(labelled.host, 1).len();
        for index in 0..series {
            let (text, _) = &Reporter::values(labelled.host, 1)[index];
            let (name, pairs) = xiezhi_protocol::report::parse_series(text).unwrap();
            let mut builder = Labels::new([("__name__", name)]).to_builder();
            pairs
                .iter()
                .for_each(|(name, value)| builder.set(*name, value.as_str()));
            labelled
                .labels
                .iter()
                .for_each(|label| builder.set(&*label.name, &*label.value));
            let labels = builder.build();
            let is_wanted =
                |matcher: &Matcher| matcher.matches(labels.get(&matcher.name).unwrap_or(""));
            if !request.matchers.iter().all(is_wanted) {
                continue;
            }
            let points: Vec<(i64, f64)> = (1..=300)
                .map(|seq| {
                    (
                        START + seq * 15_000,
                        Reporter::values(labelled.host, seq as u64)[index].1,
                    )
                })
                .filter(|(time_ms, _)| (request.start_ms..=request.end_ms).contains(time_ms))
                .collect();
            if !points.is_empty() {
                all.push((labels, points));
            }
        }
    }
    all.sort_by(|left, right| left.0.cmp(&right.0));
    // A host's label that hides the texts' own leaves one series of them, the first.
    all.dedup_by(|later, first| later.0 == first.0);
    all
}

#[test]
fn matchers_on_names_texts_and_hosts_give_what_a_list_gives() {
    let store = store();
    let selector = selector(&store);
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let cases: [&[(&str, MatchOp, &str)]; 9] = [
        &[("__name__", Equal, "metric_3_total")],
        &[
            ("__name__", Equal, "metric_1_total"),
            ("site", Equal, "south"),
        ],
        &[
            ("__name__", Regex, "metric_1_total|metric_7_total"),
            ("n", Equal, "2"),
        ],
        &[("__name__", Regex, "metric_[12]_.*"), ("n", NotEqual, "2")],
        &[("n", Equal, "own")],
        &[("host", NotRegex, "t.*"), ("n", Regex, "[01]")],
        &[("site", Equal, "")],
        &[("__name__", Equal, "nothing")],
        &[("host", Equal, "two"), ("unknown", Equal, "")],
    ];
    for matchers in cases {
        for (from, to) in [(0, 400), (40, 90), (199, 201), (290, 300), (500, 600)] {
            let request = request(matchers, from, to);
            let mut found: Vec<(Labels, Vec<(i64, f64)>)> = selector
                .select(&request, &budget())
                .unwrap()
                .into_iter()
                .map(|one| {
                    (
                        one.labels,
                        one.times
                            .iter()
                            .copied()
                            .zip(one.values.iter().copied())
                            .collect(),
                    )
                })
                .collect();
            found.sort_by(|left, right| left.0.cmp(&right.0));
            let expected = expected(&request);
            assert!(
                found == expected,
                "{matchers:?} {from}..{to}: {}",
                found.len()
            );
        }
    }
}

#[test]
fn names_and_values_of_labels_are_listed_once() {
    let store = store();
    let selector = selector(&store);
    let all = request(&[], 0, 400);
    assert_eq!(
        selector.label_names(&all, &budget()).unwrap(),
        ["__name__", "host", "n", "site"]
    );
    assert_eq!(
        selector.label_values("site", &all, &budget()).unwrap(),
        ["north", "south"]
    );
    let one = request(
        &[
            ("__name__", MatchOp::Equal, "metric_0_total"),
            ("host", MatchOp::Equal, "one"),
        ],
        0,
        400,
    );
    assert_eq!(
        selector.label_values("n", &one, &budget()).unwrap(),
        ["0", "1", "2", "3"]
    );
    assert_eq!(selector.series(&one, &budget()).unwrap().len(), 4);
    let later = request(&[("__name__", MatchOp::Equal, "metric_0_total")], 900, 1000);
    assert_eq!(selector.series(&later, &budget()).unwrap().len(), 0);
}

#[test]
fn a_query_stops_when_its_budget_says_so() {
    let store = store();
    let selector = selector(&store);
    let request = request(&[("__name__", MatchOp::Equal, "metric_3_total")], 0, 400);
    let few = Budget::new(Limits {
        samples: 100,
        ..Limits::default()
    });
    let stopped = selector.select(&request, &few).unwrap_err();
    assert!(matches!(
        stopped,
        StorageError::Stopped(Exhausted::TooManySamples)
    ));
    let canceled = budget();
    canceled.flag().store(true, Ordering::Relaxed);
    let stopped = selector.select(&request, &canceled).unwrap_err();
    assert!(matches!(
        stopped,
        StorageError::Stopped(Exhausted::Canceled)
    ));
}

#[test]
fn a_series_that_ends_while_its_host_reports_is_marked_stale() {
    let clock = ManualClock::new();
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options(&clock)).unwrap();
    let mut encoder = xiezhi_protocol::codec::Encoder::new(15_000);
    for seq in 1..=500u64 {
        let mut report = xiezhi_protocol::report::Report::new();
        report.start(START + seq as i64 * 15_000);
        report.push("always", &[], seq as f64).unwrap();
        if seq <= 7 || (10..12).contains(&seq) {
            report.push("sometimes", &[], seq as f64).unwrap();
        }
        // The chain's second key frame comes at 241: what ends exactly there is marked too.
        if seq <= 240 {
            report.push("until_the_key", &[], 1.0).unwrap();
        }
        let mut bytes = Vec::new();
        let batch = encoder.encode(seq, &report, &mut bytes);
        let key = xiezhi_protocol::codec::peek(&bytes).unwrap().key;
        let frame = xiezhi_series::Frame {
            host: 1,
            epoch: 1,
            batch,
            key,
            bytes: &bytes,
        };
        store.append(&[frame]).unwrap();
    }
    clock.advance(Duration::from_secs(3700));
    let selector = selector(&store);
    let check = || {
        let times = |name: &str| -> Vec<(i64, bool)> {
            let request = request(&[("__name__", MatchOp::Equal, name)], 0, 600);
            let found = selector.select(&request, &budget()).unwrap();
            let points = found[0].times.iter().zip(found[0].values.iter());
            points
                .map(|(time, value)| ((time - START) / 15_000, xiezhi_promql::is_stale(*value)))
                .collect()
        };
        let expected: Vec<(i64, bool)> = (1..=8)
            .map(|seq| (seq, seq == 8))
            .chain([(10, false), (11, false), (12, true)])
            .collect();
        assert_eq!(times("sometimes"), expected);
        assert_eq!(times("until_the_key").last(), Some(&(241, true)));
        assert_eq!(times("until_the_key").len(), 241);
        assert!(times("always").iter().all(|(_, stale)| !stale));
        assert_eq!(
            store
                .range(1, 0, i64::MAX, &|name| name == "sometimes")
                .unwrap()[0]
                .points
                .len(),
            9
        );
    };
    check();
    store.append(&[Owned::opaque(2, 1, 1, 0).frame()]).unwrap();
    store.maintain().unwrap();
    assert_eq!(store.stats().sealed_segments, 1);
    check();
}

#[test]
fn an_answer_without_a_damaged_page_says_so() {
    let (disk, clock) = (PowerDisk::default(), ManualClock::new());
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options(&clock)).unwrap();
    let mut reporter = Reporter::new(1);
    for seq in 1..=50 {
        store.append(&frames(&[reporter.report(seq)])).unwrap();
    }
    clock.advance(Duration::from_secs(3700));
    store.append(&[Owned::opaque(2, 1, 1, 0).frame()]).unwrap();
    store.maintain().unwrap();
    let warnings = || {
        let query = "last_over_time({host=\"one\"}[1h])";
        let (selector, budget) = (selector(&store), budget());
        let time_ms = START + 51 * 15_000;
        let answer = Engine::default().instant(&selector, query, time_ms, &budget);
        answer.unwrap().warnings()
    };
    assert_eq!(warnings(), [""; 0]);
    let names = disk.names();
    let block = names.iter().find(|name| name.starts_with("block-"));
    disk.flip(block.unwrap(), 200);
    // Each answer by itself, however often it is asked.
    for _ in 0..2 {
        let told = warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("1 damaged page was left out"), "{told:?}");
        assert!(told[0].contains("series verify"), "{told:?}");
    }
}
