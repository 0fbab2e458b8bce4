//! The section `queries`: what PromQL queries may cost this machine.
//!
//! More than one of these bounds at once is memory: `threads` queries may each hold `memory`.

use std::ops::RangeInclusive;
use std::time::Duration;

use xiezhi_document::Section;
use xiezhi_metrics::Settings;

use super::series::bounded;

/// What queries may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queries {
    /// That run at one time.
    pub(crate) threads: usize,
    /// That wait for one of these.
    pub(crate) waiting: usize,
    /// Longest time of one, its wait included.
    pub(crate) timeout: Duration,
    /// Samples that one may read or make.
    pub(crate) samples: u64,
    /// Bytes that one may hold.
    pub(crate) memory: u64,
}

/// Without a thread nothing is answered; with very many, ingest gets no core.
const THREADS: RangeInclusive<usize> = 1..=64;
const WAITING: RangeInclusive<usize> = 0..=1_000;
/// Grafana's own patience ends at five minutes or before.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// Below, a panel of one host and day is refused.
const SAMPLES: RangeInclusive<u64> = 100_000..=100_000_000_000;
const MEMORY: RangeInclusive<u64> = 16 << 20..=1 << 40;

impl Default for Queries {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            threads: settings.threads,
            waiting: settings.waiting,
            timeout: settings.timeout,
            samples: settings.limits.samples,
            memory: settings.limits.memory_bytes,
        }
    }
}

impl Queries {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let timeout = section.duration("timeout").unwrap_or(default.timeout);
        if !TIMEOUT.contains(&timeout) {
            let message = "`timeout` must be from 1s to 5m: who asks has given up by then";
            section.problem("timeout", message);
        }
        let memory = section.size("memory").unwrap_or(default.memory);
        let queries = Self {
            threads: bounded(section, "threads", THREADS, default.threads),
            waiting: bounded(section, "waiting", WAITING, default.waiting),
            timeout,
            samples: bounded(section, "samples", SAMPLES, default.samples),
            memory,
        };
        if !MEMORY.contains(&memory) {
            let message = "`memory` must be from 16MiB to 1TiB: what one query may hold";
            section.problem("memory", message);
        } else if let Some(most) = machine_bytes()
            && memory.saturating_mul(queries.threads as u64) > most
            && queries != default
        {
            let message = format!(
                "`memory` for each of {} `threads` is more than the {} MiB that this machine has: \
                 lower one of them",
                queries.threads,
                most >> 20
            );
            section.problem("memory", message);
        }
        queries
    }

    /// What queries run with.
    pub(crate) fn settings(&self) -> Settings {
        let mut limits = Settings::default().limits;
        limits.samples = self.samples;
        limits.memory_bytes = self.memory;
        Settings {
            threads: self.threads,
            waiting: self.waiting,
            timeout: self.timeout,
            limits,
            ..Settings::default()
        }
    }
}

/// The machine's memory; `None` if it is not told. Source: `/proc/meminfo` (proc(5)).
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_document::Document;

    fn read(text: &str) -> (Queries, String) {
        let document = Document::parse("controller.yaml", text);
        let (queries, problems) = document.read(Queries::read);
        (queries, problems.to_string())
    }

    #[test]
    fn what_an_operator_sets_is_what_queries_run_with() {
        let text = "threads: 3\nwaiting: 0\ntimeout: 90s\nsamples: 200000\nmemory: 32MiB\n";
        let (queries, problems) = read(text);
        assert_eq!(problems, "");
        let settings = queries.settings();
        assert_eq!((settings.threads, settings.waiting), (3, 0));
        assert_eq!(settings.timeout, Duration::from_secs(90));
        let limits = settings.limits;
        assert_eq!((limits.samples, limits.memory_bytes), (200_000, 32 << 20));
        assert_eq!(read("{}").0, Queries::default());
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        for (text, expected) in [
            (
                "threads: 0",
                "1:10: `threads` must be a whole number from 1",
            ),
            ("waiting: -1", "1:10: `waiting`"),
            ("timeout: 10ms", "1:10: `timeout` must be from 1s to 5m"),
            ("timeout: 1h", "who asks has given up by then"),
            (
                "samples: 5",
                "1:10: `samples` must be a whole number from 100000",
            ),
            ("memory: 1KiB", "1:9: `memory` must be from 16MiB"),
            (
                "{threads: 64, memory: 1TiB}",
                "that this machine has: lower one",
            ),
            ("memory_bytes: 3", "unknown key"),
        ] {
            let (_, problems) = read(text);
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
