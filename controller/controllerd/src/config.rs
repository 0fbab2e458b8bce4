//! The controller's configuration: a file that people write, parsed once, all problems at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use xiezhi_document::{Document, Section};

/// Where the configuration lies unless the command line says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/xiezhi/controller.yaml";

/// What the controller runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Database, samples and the certificate authority's online folder.
    pub(crate) data_dir: PathBuf,
    /// Address of the state database; SQLite in the data folder unless given.
    pub(crate) database: Option<String>,
    /// The agents' port.
    pub(crate) agents: SocketAddr,
    /// TLS handshakes that are begun per second.
    pub(crate) handshakes_per_second: u32,
    /// The browsers' port.
    pub(crate) web: Web,
    /// How samples are kept.
    pub(crate) series: Series,
    /// File with the passphrase of the online key; otherwise the systemd credential
    /// `ca-passphrase`, otherwise the terminal.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Least severe log line that is written.
    pub(crate) log: tracing::Level,
}

/// The browsers' port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Web {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Whose certificate it shows.
    pub(crate) tls: WebTls,
}

/// Whose certificate a browser sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebTls {
    /// None: allowed on loopback only.
    Off,
    /// One of the controller's own authority, for these names.
    Internal(Vec<String>),
    /// One from files, as any authority gives it.
    Files {
        /// Chain, PEM, leaf first.
        certificate: PathBuf,
        /// Private key, PEM.
        key: PathBuf,
    },
}

/// How samples are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// How long.
    pub(crate) retention: Duration,
    /// How many bytes at most.
    pub(crate) max_bytes: Option<u64>,
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/xiezhi-controller"),
            database: None,
            agents: everywhere(8443),
            handshakes_per_second: 500,
            web: Web {
                listen: everywhere(8444),
                tls: WebTls::Internal(Vec::new()),
            },
            series: Series {
                retention: Duration::from_secs(15 * 86_400),
                max_bytes: None,
            },
            passphrase_file: None,
            log: tracing::Level::INFO,
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
        let address = "an address and port such as 0.0.0.0:8443";
        Self {
            data_dir: section
                .text("data_dir")
                .map_or(default.data_dir, PathBuf::from),
            database: section.text("database"),
            agents: section.parsed("agents", address).unwrap_or(default.agents),
            handshakes_per_second: section
                .parsed("handshakes_per_second", "a whole number")
                .unwrap_or(default.handshakes_per_second),
            web: section.section("web", Web::read).unwrap_or(default.web),
            series: section
                .section("series", Series::read)
                .unwrap_or(default.series),
            passphrase_file: section.text("passphrase_file").map(PathBuf::from),
            log: section.choice("log", &LEVELS).unwrap_or(default.log),
        }
    }

    /// The state database's address.
    pub(crate) fn database_url(&self) -> String {
        let file = self.data_dir.join("state.db");
        self.database
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", file.display()))
    }

    /// Folder of the samples.
    pub(crate) fn series_dir(&self) -> PathBuf {
        self.data_dir.join("series")
    }

    /// The certificate authority's online folder.
    pub(crate) fn authority_dir(&self) -> PathBuf {
        self.data_dir.join("authority")
    }
}

impl Web {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Config::default().web;
        let listen: SocketAddr = section
            .parsed("listen", "an address and port such as 0.0.0.0:8444")
            .unwrap_or(default.listen);
        let names = section.texts("names").unwrap_or_default();
        let certificate = section.text("certificate").map(PathBuf::from);
        let key = section.text("key").map(PathBuf::from);
        let kind = section
            .choice("tls", &[("internal", 0), ("files", 1), ("off", 2)])
            .unwrap_or(0);
        let tls = match (kind, certificate, key) {
            (1, Some(certificate), Some(key)) => WebTls::Files { certificate, key },
            (1, ..) => {
                section.problem(
                    "tls",
                    "`tls: files` needs `certificate` and `key`: paths of PEM files",
                );
                WebTls::Off
            }
            (2, ..) if !listen.ip().is_loopback() => {
                section.problem("tls", "`tls: off` is allowed on a loopback address only");
                WebTls::Off
            }
            (2, ..) => WebTls::Off,
            _ => WebTls::Internal(names),
        };
        Self { listen, tls }
    }
}

impl Series {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Config::default().series;
        let retention = section.duration("retention").unwrap_or(default.retention);
        if retention < Duration::from_secs(86_400) {
            section.problem("retention", "`retention` must be at least 1d");
        }
        Self {
            retention,
            max_bytes: section.size("max_bytes"),
        }
    }
}

const LEVELS: [(&str, tracing::Level); 4] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, String) {
        let (config, problems) = Document::parse("controller.yaml", text).read(Config::read);
        (config, problems.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read(""), (Config::default(), String::new()));
    }

    #[test]
    fn the_shipped_file_is_the_default_spelt_out() {
        let (config, problems) = read(include_str!("../packaging/controller.yaml"));
        assert_eq!(problems, "");
        assert_eq!(config, Config::default());
    }

    #[test]
    fn a_browser_port_without_tls_stays_on_loopback() {
        let (_, problems) = read("web: {listen: 0.0.0.0:80, tls: off}\n");
        assert!(problems.contains("loopback"), "{problems}");
        let (config, problems) = read("web: {listen: 127.0.0.1:0, tls: off}\n");
        assert_eq!((config.web.tls, problems.as_str()), (WebTls::Off, ""));
    }
}
