//! Runs the collectors at their cadence and fills a report.
//!
//! A fast collector runs for every report. A slow one runs every minute; between its runs its last
//! samples are repeated, so a report always holds every series. Each collector's success is a
//! sample of its own, and its error is logged when it changes, never at every report.

use tracing::{info, warn};
use xiezhi_protocol::report::Report;

use crate::error::CollectError;
use crate::files::Files;
use crate::host::{self, Cadence, Collector};
use crate::readings::Readings;
use crate::root::HostRoot;

/// What to run, and how often the slow ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Names of collectors that shall not run; see [`host::names`].
    pub disabled: Vec<String>,
    /// Milliseconds between two runs of a slow collector.
    pub slow_every_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            disabled: Vec::new(),
            slow_every_ms: 60_000,
        }
    }
}

/// The sum of one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Collectors that are enabled.
    pub collectors: usize,
    /// Of these, how many lack some or all of their data.
    pub failed: usize,
    /// Samples in the report.
    pub samples: usize,
    /// Samples that the report refused.
    pub refused: u64,
}

/// The enabled collectors of one host and what they share.
pub struct Collectors {
    host: HostRoot,
    options: Options,
    files: Files,
    name: String,
    running: Vec<Running>,
}

struct Running {
    collector: Box<dyn Collector>,
    last_run_ms: Option<i64>,
    kept: Kept,
    error: Option<CollectError>,
    /// The chain that was logged last; empty when all was well.
    logged: String,
}

/// The samples of a slow collector's last run.
#[derive(Debug, Default)]
struct Kept {
    text: String,
    ends: Vec<(u32, f64)>,
}

impl Collectors {
    /// Prepares the enabled collectors; nothing is read yet.
    #[must_use]
    pub fn new(host: HostRoot, options: Options) -> Self {
        let running = host::all()
            .into_iter()
            .filter(|collector| !options.disabled.iter().any(|name| name == collector.name()))
            .map(Running::new)
            .collect();
        Self {
            files: Files::open(&host),
            host,
            options,
            name: String::new(),
            running,
        }
    }

    /// Empties `report`, sets its time and fills it. `now_ms` is in Unix milliseconds; a clock that
    /// steps back makes slow collectors run at once.
    pub fn collect(&mut self, now_ms: i64, report: &mut Report) -> Outcomes {
        report.start(now_ms);
        self.files.start_pass();
        let mut failed = 0;
        for running in &mut self.running {
            if running.is_due(now_ms, self.options.slow_every_ms) {
                let first = report.len();
                let mut readings = Readings::new(&mut self.files, report, &mut self.name);
                let outcome = running.collector.collect(&self.host, &mut readings);
                let refusals = readings.samples.refusals();
                running.finish(now_ms, outcome.and(refusals));
                running.keep(report, first);
            } else {
                running.repeat(report);
            }
        }
        for running in &self.running {
            let success = if running.error.is_none() { 1.0 } else { 0.0 };
            failed += usize::from(running.error.is_some());
            let labels = [("collector", running.collector.name())];
            // The name and label are ours; a refusal can only mean a full report and is counted.
            if report
                .push("node_scrape_collector_success", &labels, success)
                .is_err()
            {
                break;
            }
        }
        Outcomes {
            collectors: self.running.len(),
            failed,
            samples: report.len(),
            refused: report.refused(),
        }
    }

    /// The collectors that lack data, and why, as of their last run.
    pub fn problems(&self) -> impl Iterator<Item = (&'static str, &CollectError)> {
        self.running
            .iter()
            .filter_map(|running| Some((running.collector.name(), running.error.as_ref()?)))
    }
}

impl Running {
    fn new(collector: Box<dyn Collector>) -> Self {
        let kept = Kept::default();
        Self {
            collector,
            last_run_ms: None,
            kept,
            error: None,
            logged: String::new(),
        }
    }

    fn is_due(&self, now_ms: i64, slow_every_ms: i64) -> bool {
        match (self.collector.cadence(), self.last_run_ms) {
            (Cadence::Every, _) | (_, None) => true,
            (Cadence::Slow, Some(last)) => {
                now_ms < last || now_ms.saturating_sub(last) >= slow_every_ms
            }
        }
    }

    fn finish(&mut self, now_ms: i64, outcome: Result<(), CollectError>) {
        self.last_run_ms = Some(now_ms);
        self.error = outcome.err();
        match &self.error {
            None if self.logged.is_empty() => {}
            None => {
                info!(
                    collector = self.collector.name(),
                    "collector is complete again"
                );
                self.logged.clear();
            }
            Some(error) => {
                let chain = error.chain();
                if chain != self.logged {
                    log_trouble(self.collector.name(), error, &chain);
                    self.logged = chain;
                }
            }
        }
    }

    /// Remembers what a slow collector just pushed: the samples from `first` on.
    fn keep(&mut self, report: &Report, first: usize) {
        if self.collector.cadence() == Cadence::Every {
            return;
        }
        self.kept.text.clear();
        self.kept.ends.clear();
        for (series, value) in report.iter().skip(first) {
            self.kept.text.push_str(series);
            let Ok(end) = u32::try_from(self.kept.text.len()) else {
                break;
            };
            self.kept.ends.push((end, value));
        }
        self.kept.text.shrink_to_fit();
        self.kept.ends.shrink_to_fit();
    }

    fn repeat(&self, report: &mut Report) {
        let mut start = 0;
        for (end, value) in &self.kept.ends {
            let end = *end as usize;
            let series = self.kept.text.get(start..end).unwrap_or_default();
            start = end;
            // Refused only if the report is full; the report counts it.
            if report.push_series(series, *value).is_err() {
                return;
            }
        }
    }
}

fn log_trouble(collector: &'static str, error: &CollectError, chain: &str) {
    if error.is_no_data() {
        info!(
            collector,
            loss = chain,
            "collector has nothing to read on this host"
        );
    } else {
        warn!(collector, error = chain, "collector is incomplete");
    }
}
