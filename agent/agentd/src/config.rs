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

use crate::devices;
use crate::privilege::{self, AskerOptions};

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
    /// How devices are asked.
    pub(crate) devices: AskerOptions,
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
            devices: devices::default_options(),
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
        let (config, problems) =
            document.read(|section| Self::read(section, &privilege::user_refusal));
        problems
            .into_result()
            .context("the configuration cannot be used")?;
        Ok(config)
    }

    /// `user_refusal` says why a user cannot be the worker's.
    fn read(section: &mut Section<'_>, user_refusal: &dyn Fn(&str) -> Option<String>) -> Self {
        let default = Self::default();
        let interval = section.duration("interval").unwrap_or(default.interval);
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
            section.problem("interval", "`interval` must be between 1s and 1h");
        } else if interval.subsec_nanos() != 0 {
            section.problem("interval", "`interval` must be whole seconds, such as 15s");
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
            state_dir: read_state_dir(section).unwrap_or(default.state_dir),
            interval,
            spool: section
                .section("spool", read_spool)
                .unwrap_or(default.spool),
            metrics,
            disabled,
            security: section
                .boolean("security_events")
                .unwrap_or(default.security),
            user: read_user(section, user_refusal).unwrap_or(default.user),
            devices: section
                .section("devices", |section| {
                    devices::read_options(section, &|path| privilege::state_dir_refusal(path))
                })
                .unwrap_or(default.devices),
            log: section.choice("log", &LEVELS).unwrap_or(default.log),
            reconnect_within: read_reconnect_within(section).unwrap_or(default.reconnect_within),
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

const LEVELS: [(&str, tracing::Level); 4] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
];

fn read_state_dir(section: &mut Section<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(section.text("state_dir")?);
    if let Some(refusal) = privilege::state_dir_refusal(&path) {
        section.problem("state_dir", refusal);
    }
    Some(path)
}

/// A user that is named must be there; the default one may come with the installation later.
fn read_user(
    section: &mut Section<'_>,
    refusal: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let user = section.text("user")?;
    if let Some(refusal) = refusal(&user) {
        section.problem("user", refusal);
    }
    Some(user)
}

fn read_reconnect_within(section: &mut Section<'_>) -> Option<Duration> {
    let within = section.duration("reconnect_within")?;
    if !(Duration::from_millis(100)..=DAY).contains(&within) {
        section.problem(
            "reconnect_within",
            "`reconnect_within` must be between 100ms and 1d: less is a rush after every restart of \
             the controller, more leaves the host unseen; 30s is right for most",
        );
    }
    Some(within)
}

fn read_max_age(section: &mut Section<'_>) -> Option<i64> {
    let age = section.duration("max_age")?;
    if !(Duration::from_secs(3600)..=DAY * 366).contains(&age) {
        section.problem(
            "max_age",
            "`max_age` must be between 1h and 366d: what is older is given up, so less would lose \
             reports whenever the line is down; 7d is the default",
        );
    }
    i64::try_from(age.as_millis()).ok()
}

fn read_spool(section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let max_bytes = section.size("max_bytes").unwrap_or(default.max_bytes);
    if max_bytes < 1 << 20 {
        section.problem(
            "max_bytes",
            "`max_bytes` must be at least 1MiB: less would not survive an hour",
        );
    }
    Limits {
        max_bytes,
        max_age_ms: read_max_age(section).unwrap_or(default.max_age_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, String) {
        let document = Document::parse("agent.yaml", text);
        let known = |user: &str| (user != "xiezhi-agent").then(|| format!("no user `{user}`"));
        let (config, problems) = document.read(|section| Config::read(section, &known));
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

    #[test]
    fn values_that_no_host_can_run_with_are_refused_at_their_place() {
        for (text, place, word) in [
            ("reconnect_within: 2d", "1:19", "between 100ms and 1d"),
            ("reconnect_within: 0s", "1:19", "between 100ms and 1d"),
            ("spool: {max_age: 0s}", "1:18", "between 1h and 366d"),
            ("spool: {max_age: 9000d}", "1:18", "between 1h and 366d"),
            ("interval: 1500ms", "1:11", "whole seconds"),
            ("interval: 0s", "1:11", "between 1s and 1h"),
            ("user: nobody-here", "1:7", "no user `nobody-here`"),
            ("state_dir: /etc", "1:12", "a folder of the system"),
            ("state_dir: state", "1:12", "an absolute path"),
        ] {
            let (_, problems) = read(text);
            let start = format!("agent.yaml:{place}: ");
            assert!(
                problems.starts_with(&start) && problems.contains(word),
                "{text}: {problems}"
            );
        }
        let most = "reconnect_within: 1d\ninterval: 1h\nspool: {max_age: 366d}";
        assert_eq!(read(most).1, "");
    }
}
