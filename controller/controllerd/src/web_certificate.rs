//! The browsers' port's certificate: whose it is, and how it changes while the controller runs.
//!
//! One of the controller's own authority is renewed with the controller's own. One from files is read
//! again when a file changed and when the service is reloaded (SIGHUP). What cannot be used never
//! replaces what is in use: it is told in the log, at `/readyz` and on every page, and tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tracing::{info, warn};
use xiezhi_api::{Certificate, Certificates};
use xiezhi_identity::{Authority, CertificateSlot, ServerIdentity, web_server_config};

use crate::clock::{now_ms, now_s};
use crate::config::{Config, WebTls};

/// The certificate in use.
pub(crate) struct WebCertificate {
    source: Source,
    slot: Arc<CertificateSlot>,
    shown: Certificates,
}

enum Source {
    /// The controller's own authority, for these names.
    Internal(Vec<String>),
    Files(Files),
}

/// Where it comes from, and what was read there last, good or bad.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: Option<[Vec<u8>; 2]>,
}

impl WebCertificate {
    /// Opens the configured certificate; `None` if the port is without TLS. Its end is told to
    /// `shown` from now on.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub(crate) fn open(
        config: &Config,
        authority: &Authority,
        shown: &Certificates,
    ) -> Result<Option<Self>> {
        let (source, identity) = match &config.web.tls {
            WebTls::Off => return Ok(None),
            WebTls::Internal(names) => {
                let names = permitted(names, authority);
                let identity = authority.issue_web(&names, now_s())?;
                (Source::Internal(names), identity)
            }
            WebTls::Files { certificate, key } => {
                let files = Files {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    seen: read_both(certificate, key),
                };
                let identity = ServerIdentity::from_pem_files(certificate, key)?;
                (Source::Files(files), identity)
            }
        };
        shown.ends(Certificate::Web, identity.not_after_s());
        Ok(Some(Self {
            source,
            slot: CertificateSlot::new(identity),
            shown: shown.clone(),
        }))
    }

    /// TLS for the port; it shows each later certificate from the next handshake on.
    ///
    /// # Errors
    /// Never with the built-in provider.
    pub(crate) fn server_config(&self) -> Result<Arc<rustls::ServerConfig>> {
        Ok(web_server_config(&self.slot)?)
    }

    /// Makes a new certificate of the controller's own authority; one from files is not touched.
    ///
    /// # Errors
    /// It cannot be made now; the old one stays.
    pub(crate) fn renew(&self, authority: &Authority) -> Result<()> {
        if let Source::Internal(names) = &self.source {
            self.show(authority.issue_web(names, now_s())?);
        }
        Ok(())
    }

    /// Reads the files again if they changed since the last look. A pair that cannot be used leaves
    /// the old one in place.
    pub(crate) fn look(&mut self) {
        let Source::Files(files) = &mut self.source else {
            return;
        };
        let found = read_both(&files.certificate, &files.key);
        if found == files.seen {
            return;
        }
        files.seen = found;
        let read = ServerIdentity::from_pem_files(&files.certificate, &files.key);
        match read.context("reading the browsers' certificate again") {
            Ok(identity) => {
                info!("the browsers' port shows the new certificate");
                self.show(identity);
            }
            Err(error) => {
                let error = format!("{error:#}");
                warn!(
                    error,
                    "the new browsers' certificate cannot be used and the old one stays: put a \
                     certificate and its key into the files of `web` in the configuration"
                );
                self.shown.unusable(Certificate::Web, now_ms(), error);
            }
        }
    }

    fn show(&self, identity: ServerIdentity) {
        self.shown.ends(Certificate::Web, identity.not_after_s());
        self.slot.set(identity);
    }
}

/// What both files hold; `None` if one cannot be read.
fn read_both(certificate: &Path, key: &Path) -> Option<[Vec<u8>; 2]> {
    Some([std::fs::read(certificate).ok()?, std::fs::read(key).ok()?])
}

/// Names for a certificate of the controller's own authority: the configured ones, or this machine's.
pub(crate) fn names(config: &Config) -> Vec<String> {
    match &config.web.tls {
        WebTls::Internal(names) => or_own(names),
        WebTls::Off | WebTls::Files { .. } => or_own(&[]),
    }
}

fn or_own(names: &[String]) -> Vec<String> {
    if !names.is_empty() {
        return names.to_vec();
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    // Linux allows host names that are no DNS names.
    let is_name = |name: &String| rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
    names.extend(Some(own.trim().to_owned()).filter(is_name));
    names
}

/// Those of the names that the authority may sign. A name that was added to the configuration later
/// must not keep the controller from starting.
fn permitted(names: &[String], authority: &Authority) -> Vec<String> {
    let names = or_own(names);
    let (permitted, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| authority.permits(name));
    if !others.is_empty() {
        warn!(
            names = others.join(", "),
            "the browsers' certificate leaves out names that the authority may not sign: run \
             `xiezhi-controller ca rotate` with the root key at hand, which permits `web.names`"
        );
    }
    permitted
}
