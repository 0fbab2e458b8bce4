//! `cluster:`: where samples are sent on to, and where queries are answered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use xiezhi_document::Section;
use xiezhi_metrics::cluster::{Auth, TlsSettings};

use super::series::days;
use super::{NamedFiles, check_file};

/// A Prometheus-compatible cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Address of remote write.
    pub(crate) write: Uri,
    /// What `/api/v1/query` is appended to; without it queries are answered here.
    pub(crate) query: Option<Uri>,
    /// How the controller says who it is.
    pub(crate) auth: Auth,
    /// The tenant, where there are several.
    pub(crate) tenant: Option<String>,
    /// Whose certificate the cluster may show.
    pub(crate) tls: TlsSettings,
    /// The longest time that agents keep samples: `spool.max_age` of their configuration.
    pub(crate) spool_age: Duration,
    /// What is sent again after a lost connection.
    pub(crate) resend: Duration,
    /// Requests at one time.
    pub(crate) requests: usize,
    /// Longest query that the cluster takes.
    pub(crate) query_bytes: usize,
}

/// As the agents'.
const SPOOL_AGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(3600)..=days(366);
const RESEND: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(15)..=Duration::from_secs(3600);
const REQUESTS: std::ops::RangeInclusive<usize> = 1..=32;
const QUERY_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=16 << 20;

impl Cluster {
    /// How long the local engine must keep samples, and keeps what is not sent: alert rules judge
    /// late samples here, whatever the backend.
    pub(crate) fn least_retention(&self) -> Duration {
        self.spool_age + days(1)
    }

    pub(super) fn read(section: &mut Section<'_>, files: NamedFiles) -> Option<Self> {
        let write = address(section, "write");
        if write.is_none() && section.text("write").is_none() {
            section.problem(
                "write",
                "`write` is missing: the address of remote write, such as \
                 http://10.0.0.5:8428/api/v1/write",
            );
        }
        let query = address(section, "query");
        let ca_file = section.text("ca_file").map(PathBuf::from);
        let tls = TlsSettings { ca_file };
        if tls.ca_file.is_some()
            && files == NamedFiles::Checked
            && let Err(error) = tls.build()
        {
            section.problem("ca_file", chain(&error));
        }
        let auth = auth(section, files, [write.as_ref(), query.as_ref()]);
        let tenant = section.text("tenant");
        let is_header = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !tenant.as_ref().is_none_or(is_header) {
            section.problem(
                "tenant",
                "`tenant` must be letters, digits and signs of ASCII",
            );
        }
        let cluster = Self {
            write: write?,
            query,
            auth,
            tenant,
            tls,
            spool_age: section.duration("spool_age").unwrap_or(days(7)),
            resend: section
                .duration("resend")
                .unwrap_or(Duration::from_secs(60)),
            requests: section
                .parsed("requests", "a whole number from 1 to 32")
                .unwrap_or(4),
            query_bytes: query_bytes(section),
        };
        cluster.check(section);
        Some(cluster)
    }

    fn check(&self, section: &mut Section<'_>) {
        if !SPOOL_AGE.contains(&self.spool_age) {
            let message = "`spool_age` must be between 1h and 366d: the longest `spool.max_age` of \
                           your agents";
            section.problem("spool_age", message);
        }
        if !RESEND.contains(&self.resend) {
            let message = "`resend` must be between 15s and 1h: a cluster may lose what it took \
                           within its last seconds";
            section.problem("resend", message);
        }
        if !REQUESTS.contains(&self.requests) {
            section.problem("requests", "`requests` must be a whole number from 1 to 32");
        }
    }
}

fn query_bytes(section: &mut Section<'_>) -> usize {
    let bytes = section.size("query_bytes").unwrap_or(16 << 10);
    if !QUERY_BYTES.contains(&bytes) {
        section.problem(
            "query_bytes",
            "`query_bytes` must be between 1KiB and 16MiB",
        );
    }
    usize::try_from(bytes).unwrap_or(16 << 10)
}

fn address(section: &mut Section<'_>, key: &str) -> Option<Uri> {
    let text = section.text(key)?;
    let wrong = match text.parse::<Uri>() {
        Err(_) => Some("must be an address such as http://10.0.0.5:8428 or https://metrics.court"),
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                Some("must hold no name or password: use `user` and `password_file`")
            }
            (Some("http" | "https"), Some(_)) if uri.query().is_some() => {
                Some("must have no question mark")
            }
            (Some("http" | "https"), Some(_)) => return Some(uri),
            _ => Some("must begin with http:// or https:// and a host"),
        },
    };
    // The text itself may hold a password.
    section.problem(key, format!("`{key}` {}", wrong.unwrap_or_default()));
    None
}

fn auth(section: &mut Section<'_>, files: NamedFiles, addresses: [Option<&Uri>; 2]) -> Auth {
    let token = section.text("token_file").map(PathBuf::from);
    let user = section.text("user");
    let password = section.text("password_file").map(PathBuf::from);
    let named = [("token_file", &token), ("password_file", &password)];
    for (key, path) in named {
        let Some(path) = path else { continue };
        if files == NamedFiles::Checked
            && let Err(why) = check_secret(path)
        {
            section.problem(key, why);
        }
        if addresses.iter().flatten().any(|uri| is_open(uri)) {
            let message = "a secret must not travel in the clear: use https://, or http:// on this \
                           machine only";
            section.problem(key, message);
        }
    }
    match (token, user, password) {
        (Some(token), None, None) => Auth::Bearer(token),
        (None, Some(user), Some(password)) => Auth::Basic(user, password),
        (None, None, None) => Auth::None,
        (Some(_), ..) => {
            let message = "give either `token_file` or `user` with `password_file`";
            section.problem("token_file", message);
            Auth::None
        }
        (None, Some(_), None) => {
            section.problem("user", "`user` needs `password_file`");
            Auth::None
        }
        (None, None, Some(_)) => {
            section.problem("password_file", "`password_file` needs `user`");
            Auth::None
        }
    }
}

/// Whether what is sent there can be read on the way.
fn is_open(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("http") && !is_here
}

fn check_secret(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    check_file(path)?;
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        return Err(format!(
            "{} can be read by others: chmod 600 {}",
            path.display(),
            path.display()
        ));
    }
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(
        || error.to_string(),
        |source| format!("{error}: {}", chain(source)),
    )
}
