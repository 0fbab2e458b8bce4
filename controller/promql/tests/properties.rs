//! Expressions at random: none panics, none goes beyond its budget, and what a range query shows at
//! a time is what an instant query shows then. (Not `sort` and `limitk`: an instant query may pick
//! in another order.)
#![expect(
    clippy::expect_used,
    reason = "what is set up here is right, or the test is wrong"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;
use xiezhi_promql::testing::MemoryStorage;
use xiezhi_promql::{
    Budget, Engine, Exhausted, Labels, Limits, QueryError, RangeSeries, Sample, Select, Series,
    Storage, StorageError, Value,
};

const DATA: &str = "load 20s
  a{x=\"1\", y=\"p\"} 0+3x20 0+1x40
  a{x=\"2\", y=\"p\"} 5 _ 7 stale 9 _x5 1 2 3 NaN 4x30
  a{x=\"3\", y=\"q\"} 1e3-7x60
  b_total{x=\"1\"} 0+2x60
  b_total{x=\"2\"} 10+5x30 0+5x30
  h_bucket{x=\"1\", le=\"1\"} 0+1x60
  h_bucket{x=\"1\", le=\"+Inf\"} 0+3x60
";

fn storage() -> MemoryStorage {
    MemoryStorage::from_text(DATA).expect("the data is right")
}

/// Instant vectors and scalars, nested up to a few levels.
fn vector() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec![
        "a",
        "b_total",
        "h_bucket",
        "a{x=\"1\"}",
        "a{x=~\"1|2\"}",
        "b_total{x!=\"1\"}",
        "nothing",
        "topk by (y) (1, a)",
        "bottomk(2, a)",
        "count_values(\"v\", a)",
    ]);
    let moment = prop::sample::select(vec![
        "",
        "",
        "",
        " offset 1m",
        " offset -30s",
        " @ 300",
        " @ end()",
    ]);
    let leaf = (selector, moment).prop_map(|(selector, moment)| match selector.contains('(') {
        // Ranked where it stands: of computed values, equal ones may come in another order.
        true => selector.to_owned(),
        false => format!("{selector}{moment}"),
    });
    leaf.prop_recursive(3, 24, 2, |inner| {
        let ranged = prop::sample::select(vec![
            "rate",
            "increase",
            "delta",
            "irate",
            "sum_over_time",
            "avg_over_time",
            "changes",
            "resets",
            "deriv",
            "stddev_over_time",
            "min_over_time",
            "last_over_time",
            "count_over_time",
            "present_over_time",
            "absent_over_time",
        ]);
        let plain = prop::sample::select(vec![
            "abs",
            "ceil",
            "sgn",
            "exp",
            "ln",
            "absent",
            "timestamp",
            "-",
            "year",
        ]);
        let grouped = prop::sample::select(vec![
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "sum by (x)",
            "avg without (x)",
            "count by (x, le)",
            "quantile by (x) (0.4, ",
            "limit_ratio(0.5, ",
        ]);
        let operator = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "atan2",
            "==",
            "!= bool",
            "> bool",
            "<",
            ">=",
            "and",
            "or",
            "unless",
            "* on (x)",
            "/ ignoring (y, le)",
            "and on (x)",
            "or on ()",
            "- on (x) group_left ()",
            "> ignoring (le, y) group_right ()",
        ]);
        let scalar =
            prop::sample::select(vec!["2", "-0.5", "NaN", "time()", "scalar(b_total)", "Inf"]);
        prop_oneof![
            (
                ranged.clone(),
                prop::sample::select(vec!["a", "b_total", "h_bucket"])
            )
                .prop_map(|(f, s)| format!("{f}({s}[2m])")),
            (ranged, inner.clone()).prop_map(|(f, e)| format!("{f}(({e})[3m:40s])")),
            (plain, inner.clone()).prop_map(|(f, e)| format!("{f}({e})")),
            (grouped, inner.clone()).prop_map(|(f, e)| match f.strip_suffix(", ") {
                Some(_) => format!("{f}{e})"),
                None => format!("{f}({e})"),
            }),
            (inner.clone(), operator.clone(), inner.clone())
                .prop_map(|(l, o, r)| format!("({l}) {o} ({r})")),
            (inner.clone(), scalar.clone()).prop_map(|(l, r)| format!("({l}) * {r}")),
            (scalar, inner).prop_map(|(l, r)| format!("{l} < bool ({r})")),
        ]
    })
}

fn at(series: &[RangeSeries], time_ms: i64) -> Vec<(Labels, f64)> {
    let point = |one: &RangeSeries| {
        let found = one.points.iter().find(|(time, _)| *time == time_ms)?;
        Some((one.labels.clone(), found.1))
    };
    series.iter().filter_map(point).collect()
}

fn now(samples: &[Sample]) -> Vec<(Labels, f64)> {
    let mut all: Vec<_> = samples
        .iter()
        .map(|s| (s.labels.clone(), s.value))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The same but for rounding: an instant query adds up in the order of ranks.
fn same(a: &[(Labels, f64)], b: &[(Labels, f64)]) -> bool {
    let close = |a: f64, b: f64| {
        a.to_bits() == b.to_bits()
            || (a.is_nan() && b.is_nan())
            || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn each_step_of_a_range_query_is_the_instant_query_at_that_time(query in vector()) {
        // The end of an instant query is its time: `@ end()` is another one there.
        prop_assume!(!query.contains("@ end()"));
        let (engine, storage) = (Engine::default(), storage());
        let budget = || Budget::new(Limits::default());
        let ranged = engine.range(&storage, &query, 100_000, 400_000, 50_000, &budget());
        let times = (0..7).map(|step| 100_000 + step * 50_000);
        let instants: Vec<_> =
            times.map(|time| (time, engine.instant(&storage, &query, time, &budget()))).collect();
        match ranged {
            Ok(answer) => {
                let Value::Matrix(series) = &answer.value else { panic!("no range vector") };
                for (time, instant) in instants {
                    match instant.map(|answer| answer.value) {
                        Ok(Value::Vector(samples)) => {
                            let (instant, ranged) = (now(&samples), at(series, time));
                            prop_assert!(same(&instant, &ranged), "{query} at {time}: {instant:?} {ranged:?}");
                        }
                        other => prop_assert!(false, "{}: {:?}", query, other),
                    }
                }
            }
            Err(QueryError::Execution(_)) => {}
            Err(other) => prop_assert!(false, "{}: {other:?}", query),
        }
    }

    #[test]
    fn a_budget_is_honoured_whatever_the_query(query in vector(), samples in 0..400_u64, kilobytes in 0..20_u64) {
        let limits = Limits { samples, memory_bytes: kilobytes << 10, ..Limits::default() };
        let budget = Budget::new(limits);
        let outcome = Engine::default().range(&storage(), &query, 0, 1_200_000, 10_000, &budget);
        match outcome {
            Ok(_) => prop_assert!(budget.samples_used() <= samples),
            Err(QueryError::Stopped(why)) => {
                prop_assert!(!matches!(why, Exhausted::Canceled | Exhausted::TimedOut));
            }
            Err(error) => prop_assert_eq!(error.kind(), "execution", "{}", query),
        }
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9_{}()\\[\\]\"'=~!<>@:., +*/^%-]{0,60}") {
        let budget = Budget::new(Limits::default());
        if let Err(QueryError::Parse(error)) = Engine::default().instant(&storage(), &text, 0, &budget) {
            prop_assert!(error.line == 1 && error.column <= text.len() + 1);
        }
    }
}

#[test]
fn deep_nesting_and_long_chains_are_refused_not_overflowed() {
    let budget = || Budget::new(Limits::default());
    for text in [
        format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{}1", "-".repeat(60_000)),
        format!("1{}", "+1".repeat(20_000)),
        format!("{}a{}", "abs(".repeat(9_000), ")".repeat(9_000)),
        format!("a{}", "[1m:1m]".repeat(5_000)),
        format!("1{}", "^1".repeat(20_000)),
    ] {
        let outcome = Engine::default().instant(&storage(), &text, 0, &budget());
        assert!(matches!(outcome, Err(QueryError::Parse(_))), "{outcome:?}");
    }
    let chain = vec!["a"; 200].join(" or ");
    assert!(
        Engine::default()
            .instant(&storage(), &chain, 0, &budget())
            .is_ok()
    );
}

#[test]
fn labels_that_double_with_every_call_are_refused() {
    let budget = Budget::new(Limits::default());
    let mut replace = "a{x=\"1\"}".to_owned();
    let mut join = replace.clone();
    for _ in 0..60 {
        replace = format!("label_replace({replace}, \"x\", \"$1$1\", \"x\", \"(.*)\")");
        join = format!("label_join({join}, \"x\", \"\", \"x\", \"x\")");
    }
    for query in [replace, join] {
        let outcome = Engine::default().instant(&storage(), &query, 0, &budget);
        assert!(
            matches!(outcome, Err(QueryError::Execution(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn absurd_times_are_refused_or_give_nothing() {
    let engine = Engine::default();
    let budget = Budget::new(Limits::default());
    for time in [i64::MIN, i64::MAX, i64::MAX / 1000, -i64::MAX / 1000] {
        for query in [
            "a",
            "rate(a[292y])",
            "a offset 292y",
            "a offset -292y",
            "a @ 9e15",
            "sum_over_time(a[1h:1m])",
        ] {
            let outcome = engine.instant(&storage(), query, time, &budget);
            assert!(
                matches!(outcome, Ok(_) | Err(QueryError::BadData(_))),
                "{query}: {outcome:?}"
            );
        }
    }
    let years = engine.instant(&storage(), "sum_over_time(vector(1)[100y:1ms])", 0, &budget);
    assert!(matches!(years, Err(QueryError::Stopped(_))), "{years:?}");
}

#[test]
fn range_parameters_are_refused_in_prometheus_words() {
    let engine = Engine::default();
    let ask = |start, end, step| {
        let budget = Budget::new(Limits::default());
        engine
            .range(&storage(), "a", start, end, step, &budget)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(ask(0, 11_000_000, 1000), Ok(()));
    let refused = [
        (
            0,
            11_001_000,
            1000,
            "exceeded maximum resolution of 11,000 points per timeseries",
        ),
        (0, 1000, 0, "zero or negative query resolution step widths"),
        (1, 0, 1000, "end timestamp must not be before start time"),
    ];
    for (start, end, step, words) in refused {
        let error = ask(start, end, step).expect_err(words);
        assert!(error.starts_with(words), "{error}");
    }
}

/// Sets the query's flag as soon as it is asked for samples.
struct Interrupted {
    inner: MemoryStorage,
    flag: Arc<AtomicBool>,
    asked: AtomicUsize,
}

impl Storage for Interrupted {
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.flag.store(true, Ordering::Relaxed);
        self.inner
            .select(request, &Budget::new(budget.limits().clone()))
    }

    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError> {
        self.inner.series(request, budget)
    }

    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError> {
        self.inner.label_names(request, budget)
    }

    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError> {
        self.inner.label_values(name, request, budget)
    }
}

#[test]
fn a_cancelled_query_stops_before_it_asks_again() {
    let flag = Arc::new(AtomicBool::new(false));
    let asked = AtomicUsize::new(0);
    let storage = Interrupted {
        inner: storage(),
        flag: Arc::clone(&flag),
        asked,
    };
    let budget = Budget::new(Limits::default()).with_flag(flag);
    let outcome = Engine::default().instant(&storage, "a + b_total", 0, &budget);
    assert!(
        matches!(outcome, Err(QueryError::Stopped(Exhausted::Canceled))),
        "{outcome:?}"
    );
    assert_eq!(storage.asked.load(Ordering::Relaxed), 1);
}
