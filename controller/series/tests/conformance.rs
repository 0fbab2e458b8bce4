//! Prometheus's own test files through the engine's storage: what the evaluator is judged by over a
//! plain map must hold over the head, and over blocks, alike.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics has found something; what waits is printed"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, options};
use xiezhi_promql::testing::{Backend, Report, run_script};
use xiezhi_promql::{Engine, Labels, METRIC_NAME, Storage};
use xiezhi_series::{ForeignSeries, HostKey, HostLabels, LabelledHost, Selector, SeriesStore};

const SCRIPTS: &[(&str, &str)] = &[
    (
        "aggregators.test",
        include_str!("../../promql/tests/corpus/aggregators.test"),
    ),
    (
        "functions.test",
        include_str!("../../promql/tests/corpus/functions.test"),
    ),
    (
        "operators.test",
        include_str!("../../promql/tests/corpus/operators.test"),
    ),
    (
        "selectors.test",
        include_str!("../../promql/tests/corpus/selectors.test"),
    ),
    (
        "at_modifier.test",
        include_str!("../../promql/tests/ours/at_modifier.test"),
    ),
    (
        "classic_histograms.test",
        include_str!("../../promql/tests/ours/classic_histograms.test"),
    ),
    (
        "matching.test",
        include_str!("../../promql/tests/ours/matching.test"),
    ),
    (
        "ranges_and_limits.test",
        include_str!("../../promql/tests/ours/ranges_and_limits.test"),
    ),
    (
        "staleness.test",
        include_str!("../../promql/tests/ours/staleness.test"),
    ),
    (
        "subqueries.test",
        include_str!("../../promql/tests/ours/subqueries.test"),
    ),
];

/// The source that all samples come from.
const SOURCE: HostKey = -1;

/// The source without labels of its own, which the scripts know nothing of.
#[derive(Debug)]
struct OneSource;

impl HostLabels for OneSource {
    fn all(&self) -> Arc<[LabelledHost]> {
        Arc::new([LabelledHost {
            host: SOURCE,
            labels: Vec::new(),
        }])
    }
}

/// The engine as scripts fill it.
struct Filled {
    clock: ManualClock,
    store: SeriesStore,
    selector: Selector,
    in_blocks: bool,
    /// Blocks that there were at most.
    most_blocks: u64,
    /// Series that the engine's names do not allow, left out.
    unnameable: u64,
}

impl Filled {
    fn new(in_blocks: bool) -> Self {
        let clock = ManualClock::new();
        let (store, selector) = fresh(&clock);
        Self {
            clock,
            store,
            selector,
            in_blocks,
            most_blocks: 0,
            unnameable: 0,
        }
    }
}

fn fresh(clock: &ManualClock) -> (SeriesStore, Selector) {
    let mut options = options(clock);
    // The scripts' samples are from 1970.
    options.retention = Duration::from_secs(200 * 365 * 86_400);
    options.retention_5m = options.retention;
    options.retention_1h = options.retention;
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
    let selector = Selector::new(store.clone(), Arc::new(OneSource));
    (store, selector)
}

impl Backend for Filled {
    fn clear(&mut self) {
        (self.store, self.selector) = fresh(&self.clock);
    }

    fn append(&mut self, labels: &Labels, points: &[(i64, f64)]) -> Result<(), String> {
        let text = text_of(labels);
        let series = [ForeignSeries {
            text: &text,
            points,
        }];
        let report = self.store.append_foreign(SOURCE, &series);
        let report = report.map_err(|error| error.to_string())?;
        self.unnameable += report.refused.len() as u64;
        if self.in_blocks {
            self.clock.advance(Duration::from_secs(3700));
            self.store.maintain().map_err(|error| error.to_string())?;
            self.most_blocks = self.most_blocks.max(self.store.stats().sealed_segments);
        }
        Ok(())
    }

    fn storage(&self) -> &dyn Storage {
        &self.selector
    }
}

fn text_of(labels: &Labels) -> String {
    let others = labels.iter().filter(|label| &*label.name != METRIC_NAME);
    let pairs: Vec<String> = others
        .map(|label| {
            let value = label.value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{}=\"{}\"", label.name, value.replace('\n', "\\n"))
        })
        .collect();
    match pairs.is_empty() {
        true => labels.metric_name().to_owned(),
        false => format!("{}{{{}}}", labels.metric_name(), pairs.join(",")),
    }
}

fn run(name: &str, script: &str, in_blocks: bool) -> (Report, Filled) {
    let mut filled = Filled::new(in_blocks);
    let report = run_script(script, &Engine::default(), &mut filled);
    (
        report.unwrap_or_else(|error| panic!("{name}: {error}")),
        filled,
    )
}

fn judge(in_blocks: bool) {
    let (mut failed, mut passed) = (Vec::new(), 0);
    for (name, script) in SCRIPTS {
        let (report, filled) = run(name, script, in_blocks);
        passed += report.passed();
        println!(
            "{name}: {} of {} cases, {} waiting, {} series with names that the engine refuses",
            report.passed(),
            report.cases.len(),
            report.waiting().count(),
            filled.unnameable
        );
        for (case, why) in report.failed() {
            failed.push(format!("{name}:{}: {}\n  {why}", case.line, case.query));
        }
        assert_eq!(filled.most_blocks > 0, in_blocks, "{name}");
    }
    assert!(
        failed.is_empty(),
        "{} cases differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(passed > 700, "only {passed} cases ran");
}

#[test]
fn prometheus_s_cases_pass_on_samples_in_the_head() {
    judge(false);
}

#[test]
fn prometheus_s_cases_pass_on_samples_in_blocks() {
    judge(true);
}
