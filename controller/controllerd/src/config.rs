//! The controller's configuration: a file that people write, parsed once, all problems at once.
//!
//! A value that would let the controller start and then fail (no handshakes, samples deleted as they
//! come) is refused here, where its line is known.

mod cluster;
mod queries;
mod series;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xiezhi_document::{Document, Section};
use xiezhi_identity::PassphraseSource;
use xiezhi_store::Address;

pub(crate) use queries::Queries;
pub(crate) use series::Series;

pub(crate) use self::cluster::Cluster;

/// Where the configuration lies unless the command line says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/xiezhi/controller.yaml";

/// What the controller runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Database, samples and the certificate authority's online folder.
    pub(crate) data_dir: PathBuf,
    /// Address of the state database; SQLite in the data folder unless given.
    pub(crate) database: Option<String>,
    /// File with the password of a database server; otherwise the systemd credential
    /// `database-password`, otherwise what libpq's variables say.
    pub(crate) database_password_file: Option<PathBuf>,
    /// The agents' port.
    pub(crate) agents: SocketAddr,
    /// TLS handshakes that are begun per second.
    pub(crate) handshakes_per_second: u32,
    /// The browsers' port.
    pub(crate) web: Web,
    /// How samples are kept.
    pub(crate) series: Series,
    /// What queries may cost.
    pub(crate) queries: Queries,
    /// A cluster that samples are sent on to.
    pub(crate) cluster: Option<Cluster>,
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
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: BTreeSet<IpAddr>,
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

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/xiezhi-controller"),
            database: None,
            database_password_file: None,
            agents: everywhere(8443),
            handshakes_per_second: 500,
            web: Web {
                listen: everywhere(8444),
                tls: WebTls::Internal(Vec::new()),
                trusted_proxies: BTreeSet::new(),
            },
            series: Series::default(),
            queries: Queries::default(),
            cluster: None,
            passphrase_file: None,
            log: tracing::Level::INFO,
        }
    }
}

/// TLS handshakes per second. Zero would close the agents' port to everybody; more than the largest
/// no machine can do.
const HANDSHAKES: RangeInclusive<u32> = 1..=100_000;

/// Whether the files that the configuration names must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedFiles {
    /// They are looked at: for who runs the controller or asks whether it would run.
    Checked,
    /// They need not be there: most commands do without them, and some make them.
    Ignored,
}

impl Config {
    /// Reads `path`; if it is `None`, the default file if there is one.
    pub(crate) fn load(path: Option<&Path>, files: NamedFiles) -> Result<Self> {
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
        let (config, problems) = document.read(|section| Self::read(section, files));
        problems
            .into_result()
            .context("the configuration cannot be used")?;
        Ok(config)
    }

    fn read(section: &mut Section<'_>, files: NamedFiles) -> Self {
        let default = Self::default();
        let cluster = section.section("cluster", |cluster| Cluster::read(cluster, files));
        let cluster = cluster.flatten();
        let least = cluster.as_ref().map(Cluster::least_retention);
        let config = Self {
            data_dir: data_dir(section).unwrap_or(default.data_dir),
            database: database(section),
            database_password_file: section.text("database_password_file").map(PathBuf::from),
            agents: section
                .parsed("agents", "an address and port such as 0.0.0.0:8443")
                .unwrap_or(default.agents),
            handshakes_per_second: handshakes(section).unwrap_or(default.handshakes_per_second),
            web: section
                .section("web", |web| Web::read(web, files))
                .unwrap_or(default.web),
            series: section
                .section("series", |series| Series::read(series, least))
                .unwrap_or(Series {
                    retention: least.unwrap_or(default.series.retention),
                    ..default.series
                }),
            queries: section
                .section("queries", Queries::read)
                .unwrap_or(default.queries),
            cluster,
            passphrase_file: section.text("passphrase_file").map(PathBuf::from),
            log: section.choice("log", &LEVELS).unwrap_or(default.log),
        };
        if collide(config.agents, config.web.listen) {
            let (agents, web) = (config.agents, config.web.listen);
            let message = format!(
                "`agents` ({agents}) and `web.listen` ({web}) are the same port: give each its own"
            );
            section.problem("agents", message);
        }
        let on_server = config.database.as_deref().is_some_and(is_server);
        if config.database_password_file.is_some() && !on_server {
            let message = "`database_password_file` is for a server: `database` must be \
                           postgres://user@host/database then";
            section.problem("database_password_file", message);
        }
        for (name, path, what) in [
            ("passphrase_file", &config.passphrase_file, "the online key"),
            (
                "database_password_file",
                &config.database_password_file,
                "the database",
            ),
        ] {
            if let (Some(path), NamedFiles::Checked) = (path, files)
                && let Err(why) = check_secret(path, what)
            {
                section.problem(name, why);
            }
        }
        config
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

fn data_dir(section: &mut Section<'_>) -> Option<PathBuf> {
    let path = section.text("data_dir").map(PathBuf::from)?;
    if !path.is_absolute() {
        let message = "`data_dir` must be an absolute path such as /var/lib/xiezhi-controller: \
                       commands are run from other folders than the service";
        section.problem("data_dir", message);
    }
    Some(path)
}

fn database(section: &mut Section<'_>) -> Option<String> {
    let url = section.text("database")?;
    if let Err(why) = Address::parse(&url) {
        section.problem("database", format!("`database` cannot be used: {why}"));
    }
    Some(url)
}

/// Whether a database's address names a server.
fn is_server(address: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
}

fn handshakes(section: &mut Section<'_>) -> Option<u32> {
    let (least, most) = (HANDSHAKES.start(), HANDSHAKES.end());
    let expected = format!("a whole number from {least} to {most}");
    let number = section.parsed("handshakes_per_second", expected.as_str())?;
    if !HANDSHAKES.contains(&number) {
        let message = format!("`handshakes_per_second` must be {expected}, not `{number}`");
        section.problem("handshakes_per_second", message);
    }
    Some(number)
}

/// Whether only one of two listeners would get its port. Port 0 is any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_address
}

/// What is wrong with a file that is named, as far as opening it tells.
fn check_file(path: &Path) -> Result<(), String> {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(found) if found.is_dir() => Err(format!("{} is a folder", path.display())),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn check_secret(path: &Path, what: &str) -> Result<(), String> {
    // A pipe gives its content once, and that is for whoever uses it.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Ok(());
    }
    check_file(path)?;
    let read = PassphraseSource::File(path.to_owned()).read(what);
    read.map(drop).map_err(|error| error.to_string())
}

impl Web {
    fn read(section: &mut Section<'_>, files: NamedFiles) -> Self {
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
        if kind == 1 && files == NamedFiles::Checked {
            for (name, path) in [("certificate", &certificate), ("key", &key)] {
                if let Some(Err(why)) = path.as_deref().map(check_file) {
                    section.problem(name, why);
                }
            }
        }
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
        let trusted_proxies = proxies(section);
        Self {
            listen,
            tls,
            trusted_proxies,
        }
    }
}

fn proxies(section: &mut Section<'_>) -> BTreeSet<IpAddr> {
    let mut proxies = BTreeSet::new();
    for text in section.texts("trusted_proxies").unwrap_or_default() {
        match text.parse::<IpAddr>() {
            Ok(address) => {
                proxies.insert(address.to_canonical());
            }
            Err(_) => section.problem(
                "trusted_proxies",
                format!("`trusted_proxies` must be addresses such as 10.0.0.9, not `{text}`"),
            ),
        }
    }
    proxies
}

const LEVELS: [(&str, tracing::Level); 4] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
];

#[cfg(test)]
mod tests {
    use super::series::days;
    use super::*;

    fn read(text: &str) -> (Config, String) {
        let document = Document::parse("controller.yaml", text);
        let (config, problems) =
            document.read(|section| Config::read(section, NamedFiles::Checked));
        (config, problems.to_string())
    }

    fn places(text: &str) -> Vec<String> {
        let (_, problems) = read(text);
        let place = |line: &str| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        problems.lines().map(place).collect()
    }

    #[test]
    fn every_value_that_cannot_work_is_named_with_its_place() {
        let text = "data_dir: data\ndatabase: mysql://u:secret@h/d\nagents: 0.0.0.0:9000\n\
                    handshakes_per_second: 0\nweb:\n  listen: 127.0.0.1:9000\nseries:\n  \
                    retention: 23h\n  max_bytes: 512MB\n";
        let (_, problems) = read(text);
        assert!(!problems.contains("secret"), "{problems}");
        let expected = ["1:11", "2:11", "3:9", "4:24", "8:14", "9:14"];
        assert_eq!(
            places(text),
            expected.map(|place| format!("controller.yaml:{place}")),
            "{problems}"
        );
    }

    #[test]
    fn values_at_the_edge_of_their_range_are_taken() {
        let text = "handshakes_per_second: 1\ndatabase: postgres://h/d\nagents: 127.0.0.1:0\n\
                    web: {listen: '127.0.0.1:0', tls: off}\n\
                    series: {retention: 1d, max_bytes: 1GiB}\n";
        assert_eq!(read(text).1, "");
        assert_eq!(read("handshakes_per_second: 100000\n").1, "");
        let different = "agents: 10.0.0.1:443\nweb: {listen: '10.0.0.2:443'}\n";
        assert_eq!(read(different).1, "");
        let wrong = "handshakes_per_second: 100001\nseries: {retention: 3651d}\n";
        assert_eq!(places(wrong).len(), 2);
    }

    #[test]
    fn files_that_are_named_and_cannot_be_read_are_told_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("passphrase");
        std::fs::write(&open, "everybody reads this\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&open, mode).unwrap();
        let text = format!(
            "passphrase_file: {}\nweb:\n  tls: files\n  certificate: /nonexistent/c\n  key: {}\n",
            open.display(),
            folder.path().display()
        );
        let (_, problems) = read(&text);
        for expected in ["chmod 600", "/nonexistent/c", "is a folder"] {
            assert!(problems.contains(expected), "{expected}: {problems}");
        }
        let document = Document::parse("controller.yaml", &text);
        let (_, problems) = document.read(|section| Config::read(section, NamedFiles::Ignored));
        assert_eq!(problems.to_string(), "");
    }

    #[test]
    fn a_database_server_is_named_without_its_password_and_proves_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database-password");
        std::fs::write(&file, "geheim\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        let text = format!(
            "database: postgres://xiezhi@db.court/xiezhi\ndatabase_password_file: {}\n",
            file.display()
        );
        assert_eq!(read(&text).1, "");
        for (address, expected) in [
            ("postgres://xiezhi:geheim@db/x", "database_password_file"),
            ("postgres://xiezhi@db/x?sslmode=require", "verify-full"),
        ] {
            let (_, problems) = read(&format!("database: {address}\n"));
            assert!(problems.contains("controller.yaml:1:11"), "{problems}");
            assert!(problems.contains(expected), "{problems}");
            assert!(!problems.contains("geheim"), "{problems}");
        }
        let (_, problems) = read(&format!("database_password_file: {}\n", file.display()));
        assert!(problems.contains("is for a server"), "{problems}");
    }

    #[test]
    fn a_cluster_shortens_what_is_kept_here_but_not_below_what_rules_need() {
        let cluster = "cluster: {write: 'http://127.0.0.1:8428/api/v1/write', spool_age: 2d}\n";
        let (config, problems) = read(cluster);
        assert_eq!((problems.as_str(), config.series.retention), ("", days(3)));
        let with_limit = format!("{cluster}series: {{max_bytes: 2GiB}}\n");
        assert_eq!(read(&with_limit).0.series.retention, days(3));
        let short = format!("{cluster}series: {{retention: 2d}}\n");
        assert_eq!(places(&short), ["controller.yaml:2:21"]);
        let enough = format!("{cluster}series: {{retention: 3d}}\n");
        assert_eq!(read(&enough).1, "");
    }

    #[test]
    fn every_problem_of_a_cluster_is_told_at_once() {
        let text = "cluster:\n  write: http://user:secret@h/w\n  query: ftp://h\n  user: me\n  \
                    ca_file: /nonexistent/ca\n  spool_age: 1m\n  resend: 1s\n  requests: 0\n  \
                    query_bytes: 1B\n  tenant: 'a b'\n  shards: 3\n";
        let (_, problems) = read(text);
        assert!(!problems.contains("secret"), "{problems}");
        for (line, expected) in [
            (2, "password_file"),
            (3, "http://"),
            (4, "needs `password_file`"),
            (5, "/nonexistent/ca"),
            (10, "tenant"),
            (11, "unknown key `shards`"),
        ] {
            let found = problems.lines().any(|problem| {
                problem.starts_with(&format!("controller.yaml:{line}:"))
                    && problem.contains(expected)
            });
            assert!(found, "{line} {expected}: {problems}");
        }
        let text = "cluster: {write: 'http://h/w', spool_age: 1m, resend: 1s, requests: 0}\n";
        assert_eq!(places(text).len(), 3);
        let text = "cluster: {write: 'http://10.0.0.5/w', token_file: /dev/null}\n";
        assert!(read(text).1.contains("in the clear"), "{}", read(text).1);
        assert!(read("cluster: {}\n").1.contains("`write` is missing"));
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
