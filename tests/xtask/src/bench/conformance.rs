//! How much of Prometheus's own test files the query engine answers as they expect.

use anyhow::{Context as _, Result};
use xiezhi_promql::Engine;
use xiezhi_promql::testing::{MemoryStorage, run_script};

use super::verdict;
use crate::process::root;

/// Prometheus's files, kept beside the evaluator.
const FILES: &[&str] = &["aggregators", "functions", "operators", "selectors"];

/// Runs the four files; cases that need native histograms are named and left out of the count.
pub(super) fn promql() -> Result<()> {
    let folder = root().join("controller/promql/tests/corpus");
    let (mut passed, mut waiting, mut all) = (0, 0, 0);
    for file in FILES {
        let path = folder.join(format!("{file}.test"));
        let script = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let report = run_script(&script, &Engine::default(), &mut MemoryStorage::default())?;
        for (case, reason) in report.waiting() {
            println!(
                "{file}.test:{}: waits for {reason}: {}",
                case.line, case.query
            );
        }
        for (case, difference) in report.failed() {
            println!(
                "{file}.test:{}: differs: {}\n  {difference}",
                case.line, case.query
            );
        }
        passed += report.passed();
        waiting += report.waiting().count();
        all += report.cases.len();
    }
    let run = all - waiting;
    verdict(
        "promql-conformance",
        &format!("{passed} of {run} cases ({waiting} waiting: native histograms)"),
        &format!("{all} of {all} (Prometheus, whose files they are)"),
        "100 %",
        passed == run && run > 0,
    );
    Ok(())
}
