//! Random queries on the same data against a real Prometheus, Debian's 2.42: ours read the engine, where
//! the samples lie in a merged block, in blocks, and in the head.
//!
//! The data is made so that what changed between 2.42 and 3 cannot show: no sample lies exactly at
//! the beginning of a window or of the look-back (closed there in 2.x, open since 3.0), and counters
//! begin before every window (the zero point is applied before the threshold in 2.x). Everything else
//! must agree, errors included.
//!
//! `XIEZHI_LONG=1` or `XIEZHI_ROUNDS` asks more than the usual number, `XIEZHI_SEED` other ones.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what cannot be set up or asked should stop the test"
)]

#[path = "../common/mod.rs"]
mod common;
mod data;
mod peer;
mod queries;
mod stored;

use std::collections::BTreeMap;

use data::{BASE_MS, SPAN_MS};
use peer::Peer;
use queries::{Random, query};
use xiezhi_promql::{Budget, Engine, Limits, Storage, Value};

/// Series by their labels, with their points: Unix milliseconds and values.
type Points = BTreeMap<String, Vec<(i64, f64)>>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn random_queries_give_what_prometheus_gives() {
    let usual = if std::env::var_os("XIEZHI_LONG").is_some() {
        5_000
    } else {
        1_000
    };
    let count = number("XIEZHI_ROUNDS", usual);
    let seed = number("XIEZHI_SEED", 1);
    let series = data::series(&mut Random::new(seed));
    let Some(peer) = Peer::start(&data::open_metrics(&series)) else {
        xiezhi_test_skip::skip("prometheus is not installed: apt-get install prometheus");
        return;
    };
    let storage = stored::stored(&series);
    let mut random = Random::new(seed ^ 0x5eed);
    let (mut failures, mut answers, mut refusals) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let text = query(&mut random);
        let start_ms = BASE_MS + 1_800_000 + random.below(1200) as i64 * 1000;
        let step_ms = [15_000, 60_000, 37_000][random.below(3)];
        let end_ms = (start_ms + step_ms * 12).min(BASE_MS + SPAN_MS);
        let ours = ask(&storage, &text, start_ms, end_ms, step_ms);
        let theirs = peer.range(&text, start_ms, end_ms, step_ms);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                answers += usize::from(!ours.is_empty());
                if let Some(difference) = difference(ours, theirs) {
                    failures.push(format!("{text}\n  {start_ms}+{step_ms}: {difference}"));
                }
            }
            (Err(_), Err(_)) => refusals += 1,
            (ours, theirs) => {
                failures.push(format!("{text}\n  ours {ours:?}\n  theirs {theirs:?}"));
            }
        }
    }
    println!("{count} queries, seed {seed}: {answers} with series, {refusals} refused by both");
    assert!(
        answers * 2 > count as usize,
        "most queries should find something"
    );
    let shown = failures
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        failures.is_empty(),
        "{} of {count} differ:\n{shown}",
        failures.len()
    );
}

/// Faults that both versions word alike, each with its place.
const REFUSED: &[&str] = &[
    "1 > 2",
    "1  >  2",
    "foo + bool bar",
    "foo and 1",
    "foo and on(a) group_left bar",
    "foo * on(a) group_left(a) bar",
    "-\"a\"",
    "-foo[5m]",
    "foo[5m] + 1",
    "sum(foo[5m])",
    "topk(foo)",
    "topk(1, 2, foo)",
    "sum()",
    "sum foo",
    "sum by (1) (foo)",
    "sum by (a,,b) (foo)",
    "foo{a}",
    "foo{a=}",
    "foo{a=\"b\" c=\"d\"}",
    "foo{=\"b\"}",
    "foo{a!\"b\"}",
    "foo{a=\"b\"}}",
    "{}",
    "foo offset",
    "foo offset bar",
    "foo offset 5m offset 6m",
    "foo @",
    "foo @ bar",
    "foo @ start",
    "sum(foo) offset 5m",
    "foo offset 5m[5m]",
    "foo @ 5[5m]",
    "(",
    ")",
    "()",
    "(foo",
    "foo)",
    "foo bar",
    "foo 1",
    "rate(foo)",
    "rate()",
    "rate(foo[5m], 1)",
    "rate(foo[5m],)",
    "nope()",
    "time(1)",
    "clamp(foo, 1)",
    "round(foo, 1, 2)",
    "label_replace(foo, \"a\")",
    "absent(1)",
    "scalar(1)",
    "vector(foo)",
    "!foo",
    "foo = bar",
    "foo == == bar",
    "+",
    "foo *",
    "foo * on(a bar",
    "\"abc",
    "`abc",
    "5mm",
    "1.5.2",
    ":foo{",
    "#only",
    "foo{__name__=\"bar\"}",
    "foo\n+\nbar baz",
    "count_values(1, foo)",
    "foo{a=\"b\"",
    "foo[5m",
    "foo[5m][5m]",
];

#[test]
fn faults_are_worded_and_placed_as_prometheus_does() {
    let series = data::series(&mut Random::new(1));
    let Some(peer) = Peer::start(&data::open_metrics(&series)) else {
        xiezhi_test_skip::skip("prometheus is not installed: apt-get install prometheus");
        return;
    };
    let mut failures = Vec::new();
    for text in REFUSED {
        let ours = xiezhi_promql::check_query(text).map_err(|error| error.to_string());
        let theirs = peer.range(text, BASE_MS, BASE_MS, 1000).map(|_| ());
        let prefix = "invalid parameter \"query\": ";
        let theirs = theirs.map_err(|error| error.trim_start_matches(prefix).to_owned());
        if ours != theirs {
            failures.push(format!("{text}\n  ours {ours:?}\n  theirs {theirs:?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn ask(
    storage: &dyn Storage,
    query: &str,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
) -> Result<Points, String> {
    let budget = Budget::new(Limits::default());
    let answer = Engine::default().range(storage, query, start_ms, end_ms, step_ms, &budget);
    let answer = answer.map_err(|error| error.to_string())?;
    let Value::Matrix(series) = answer.value else {
        panic!("a range query gave no matrix")
    };
    Ok(series
        .into_iter()
        .map(|one| (one.labels.to_string(), one.points))
        .collect())
}

fn difference(ours: &Points, theirs: &Points) -> Option<String> {
    let names = |points: &Points| points.keys().cloned().collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        return Some(format!(
            "series\n  ours {:?}\n  theirs {:?}",
            names(ours),
            names(theirs)
        ));
    }
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        let equal = ours.len() == theirs.len()
            && ours
                .iter()
                .zip(theirs)
                .all(|(a, b)| a.0 == b.0 && close(a.1, b.1));
        if !equal {
            return Some(format!("{labels}\n  ours {ours:?}\n  theirs {theirs:?}"));
        }
    }
    None
}

/// Equal but for rounding: 2.42 sums in other ways.
fn close(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() || a.is_infinite() || b.is_infinite() {
        return (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits();
    }
    (a - b).abs() <= 1e-9 + 1e-7 * a.abs().max(b.abs())
}
