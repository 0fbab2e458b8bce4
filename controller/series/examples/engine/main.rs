//! Measures the store alone, without network: what samples cost in processor time, on disk and in
//! memory, and how long questions take.
//!
//! ```text
//! engine feed FOLDER [--hosts N] [--series N] [--minutes N] [--templates N]
//!             [--only METRIC]... [--others-minutes N] [--until-now] RECORDING...
//!     stores reports of 15 s as many hosts, then says what that took; the last of them now, if a
//!     controller is to serve them
//! engine ask FOLDER
//!     asks a fed folder, in PromQL
//! engine send PORT/PATH [the same options] RECORDING...
//!     sends the same reports as remote write, to a program to compare with
//! ```
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a tool for people"
)]

mod ask;
mod feed;
mod replay;
mod send;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What the command line says.
pub(crate) struct Arguments {
    pub(crate) folder: PathBuf,
    pub(crate) hosts: i64,
    pub(crate) series: usize,
    pub(crate) minutes: u64,
    pub(crate) templates: usize,
    /// Metrics that are kept; all without one.
    pub(crate) only: Vec<String>,
    /// All hosts but the first report only in the last minutes.
    pub(crate) others_minutes: u64,
    /// When the reports begin, Unix milliseconds.
    pub(crate) start_ms: i64,
    pub(crate) recordings: Vec<PathBuf>,
}

/// When reports begin that nobody serves.
const START_MS: i64 = 1_700_006_400_000;

impl Arguments {
    /// Whether a host reports in this interval: the first always does.
    pub(crate) fn is_active(&self, host: usize, seq: u64, reports: u64) -> bool {
        host == 0 || reports - seq < self.others_minutes.saturating_mul(4)
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let folder = words.next().context("name a folder or a port")?.into();
    let mut arguments = Arguments {
        folder,
        hosts: 1000,
        series: usize::MAX,
        minutes: 60,
        templates: 1000,
        only: Vec::new(),
        others_minutes: u64::MAX,
        start_ms: START_MS,
        recordings: Vec::new(),
    };
    let mut until_now = false;
    while let Some(word) = words.next() {
        let mut number =
            || -> Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
        match word.as_str() {
            "--hosts" => arguments.hosts = number()? as i64,
            "--series" => arguments.series = number()? as usize,
            "--minutes" => arguments.minutes = number()?,
            "--templates" => arguments.templates = number()? as usize,
            "--others-minutes" => arguments.others_minutes = number()?,
            "--only" => arguments
                .only
                .push(words.next().context("a metric is missing")?),
            "--until-now" => until_now = true,
            path => arguments.recordings.push(path.into()),
        }
    }
    if until_now {
        let now_s = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let start_s = now_s - now_s % 15 - arguments.minutes * 60;
        arguments.start_ms = i64::try_from(start_s)? * 1000;
    }
    match command.as_str() {
        "feed" => feed::feed(&arguments),
        "ask" => ask::ask(&arguments),
        "send" => send::send(&arguments),
        other => bail!("unknown command `{other}`"),
    }
}

/// CPU time of all threads of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Resident memory of this process, and the most that it ever was.
pub(crate) fn resident_mib() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes =
            line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok());
        kilobytes.unwrap_or(f64::NAN) / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}
