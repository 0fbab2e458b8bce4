//! Prometheus's own test files, and ours in the same language, against the evaluator.

use xiezhi_promql::Engine;
use xiezhi_promql::testing::{MemoryStorage, Report, run_script};

/// Prometheus's files, unchanged, as of its test format of 3.x.
const CORPUS: &[(&str, &str)] = &[
    ("aggregators.test", include_str!("corpus/aggregators.test")),
    ("functions.test", include_str!("corpus/functions.test")),
    ("operators.test", include_str!("corpus/operators.test")),
    ("selectors.test", include_str!("corpus/selectors.test")),
];

/// Ours, for what those four do not cover.
const OURS: &[(&str, &str)] = &[
    ("at_modifier.test", include_str!("ours/at_modifier.test")),
    (
        "classic_histograms.test",
        include_str!("ours/classic_histograms.test"),
    ),
    ("literals.test", include_str!("ours/literals.test")),
    ("matching.test", include_str!("ours/matching.test")),
    ("names.test", include_str!("ours/names.test")),
    (
        "ranges_and_limits.test",
        include_str!("ours/ranges_and_limits.test"),
    ),
    ("staleness.test", include_str!("ours/staleness.test")),
    ("subqueries.test", include_str!("ours/subqueries.test")),
];

#[expect(
    clippy::expect_used,
    reason = "a script that cannot be read is a fault of the test"
)]
fn run(name: &str, script: &str) -> Report {
    let mut storage = MemoryStorage::default();
    run_script(script, &Engine::default(), &mut storage).expect(name)
}

fn failures(name: &str, report: &Report) -> Vec<String> {
    let failed = report.failed();
    failed
        .map(|(case, why)| format!("{name}:{}: {}\n  {why}", case.line, case.query))
        .collect()
}

#[test]
fn every_case_of_prometheus_that_needs_no_native_histogram_passes() {
    let mut failed = Vec::new();
    for (name, script) in CORPUS {
        let report = run(name, script);
        for (case, reason) in report.waiting() {
            println!("{name}:{}: waits for {reason}: {}", case.line, case.query);
        }
        let (passed, all) = (report.passed(), report.cases.len());
        println!(
            "{name}: {passed} of {all} cases, {} waiting",
            report.waiting().count()
        );
        failed.extend(failures(name, &report));
    }
    assert!(
        failed.is_empty(),
        "{} cases differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn every_case_of_ours_passes_and_none_waits() {
    let mut failed = Vec::new();
    for (name, script) in OURS {
        let report = run(name, script);
        assert!(!report.cases.is_empty(), "{name} holds no case");
        assert_eq!(report.waiting().count(), 0, "{name}");
        failed.extend(failures(name, &report));
    }
    assert!(
        failed.is_empty(),
        "{} cases differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let load = "load 1m\n  a{x=\"1\"} 1 2\n\n";
    for wrong in [
        "eval instant at 0 a\n  a{x=\"1\"} 2",
        "eval instant at 0 a",
        "eval instant at 0 a\n  a{x=\"2\"} 1",
        "eval instant at 0 a\n  a{x=\"1\"} 1\n  b 1",
        "eval range from 0 to 1m step 1m a\n  a{x=\"1\"} 1 _",
        "eval instant at 0 a\n  expect fail",
        "eval instant at 0 a\n  expect warn\n  a{x=\"1\"} 1",
        "eval instant at 0 a +\n",
        "eval instant at 0 a +\n  expect fail msg: something else",
        "eval instant at 0 5\n  6",
    ] {
        let report = run("wrong", &format!("{load}{wrong}\n"));
        assert_eq!(report.failed().count(), 1, "{wrong}");
    }
}
