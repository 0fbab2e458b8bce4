//! The agent's configuration: a file that people write, parsed once into what the agent needs.
//!
//! Every key has a default that is right for a court host; an absent file is an empty one. All
//! problems of a file are reported together, with their places.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use xiezhi_document::{Document, Section};
use xiezhi_spool::Limits;

/// Where the configuration lies unless the command line says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/xiezhi/agent.yaml";

/// What the agent runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Identity, spool and positions; only the agent may read it.
    pub(crate) state_dir: PathBuf,
    /// Time between two reports.
    pub(crate) interval: Duration,
    /// Bounds of the spool.
    pub(crate) spool: Limits,
    /// Loopback address on which samples and self-metrics can be scraped.
    pub(crate) metrics: Option<SocketAddr>,
    /// Collectors that do not run.
    pub(crate) disabled: Vec<String>,
    /// Whether security events are collected.
    pub(crate) security: bool,
    /// User that the unprivileged part runs as.
    pub(crate) user: String,
    /// Least severe log line that is written.
    pub(crate) log: tracing::Level,
    /// Widest spread of the first connection and of a reconnect.
    pub(crate) reconnect_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/xiezhi-agent"),
            interval: Duration::from_secs(15),
            spool: Limits::default(),
            metrics: None,
            disabled: Vec::new(),
            security: true,
            user: "xiezhi-agent".to_owned(),
            log: tracing::Level::INFO,
            reconnect_within: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads `path`; if it is `None`, the default file if there is one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let given = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(given) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                String::new()
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("reading configuration {}", given.display()));
            }
        };
        let document = Document::parse(&given.display().to_string(), &text);
        let (config, problems) = document.read(Self::read);
        problems
            .into_result()
            .context("the configuration cannot be used")?;
        Ok(config)
    }

    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let interval = section.duration("interval").unwrap_or(default.interval);
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
            section.problem("interval", "`interval` must be between 1s and 1h");
        }
        let metrics: Option<SocketAddr> =
            section.parsed("metrics", "an address such as 127.0.0.1:9101");
        if metrics.is_some_and(|address| !address.ip().is_loopback()) {
            section.problem(
                "metrics",
                "`metrics` must be a loopback address: it has no access control",
            );
        }
        let disabled = section.texts("disabled_collectors").unwrap_or_default();
        let known = xiezhi_collect::host::names();
        for name in disabled
            .iter()
            .filter(|name| !known.contains(&name.as_str()))
        {
            let message = format!(
                "there is no collector `{name}`; there are {}",
                known.join(", ")
            );
            section.problem("disabled_collectors", message);
        }
        Self {
            state_dir: section
                .text("state_dir")
                .map_or(default.state_dir, PathBuf::from),
            interval,
            spool: section
                .section("spool", read_spool)
                .unwrap_or(default.spool),
            metrics,
            disabled,
            security: section
                .boolean("security_events")
                .unwrap_or(default.security),
            user: section.text("user").unwrap_or(default.user),
            log: section.choice("log", &LEVELS).unwrap_or(default.log),
            reconnect_within: section
                .duration("reconnect_within")
                .unwrap_or(default.reconnect_within),
        }
    }
}

const LEVELS: [(&str, tracing::Level); 4] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
];

fn read_spool(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let max_bytes = section.size("max_bytes").unwrap_or(default.max_bytes);
    if max_bytes < 1 << 20 {
        section.problem(
            "max_bytes",
            "`max_bytes` must be at least 1MiB: less would not survive an hour",
        );
    }
    let age = section
        .duration("max_age")
        .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    Limits {
        max_bytes,
        max_age_ms: age.unwrap_or(default.max_age_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, String) {
        let (config, problems) = Document::parse("agent.yaml", text).read(Config::read);
        (config, problems.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read(""), (Config::default(), String::new()));
    }

    #[test]
    fn the_shipped_file_is_the_default_spelt_out() {
        let (config, problems) = read(include_str!("../packaging/agent.yaml"));
        assert_eq!(problems, "");
        assert_eq!(config, Config::default());
    }

    #[test]
    fn all_problems_come_at_once() {
        let (_, problems) = read(
            "interval: 5h\nmetrics: 0.0.0.0:9101\nspool: {max_bytes: 1kB}\n\
                                  disabled_collectors: [cpuu]\nlogg: info\n",
        );
        let places: Vec<&str> = problems
            .lines()
            .filter_map(|line| line.split(": ").next())
            .collect();
        assert_eq!(
            places,
            [
                "agent.yaml:1:11",
                "agent.yaml:2:10",
                "agent.yaml:3:20",
                "agent.yaml:4:22",
                "agent.yaml:5:1"
            ],
            "{problems}"
        );
    }
}
