//! Where the cluster is, and how it knows us.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Which tenant the samples are of, where a cluster has several (Mimir, Cortex, Thanos).
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// How we say who we are. Files are read whenever a connection is made, so secrets may be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer`, from a file.
    Bearer(PathBuf),
    /// `Authorization: Basic`: the name, and a file with the password.
    Basic(String, PathBuf),
}

/// Whom we trust.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Authorities that sign the cluster's certificate, PEM; the system's own otherwise.
    pub ca_file: Option<PathBuf>,
}

/// A cluster's address and our manners towards it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where remote write goes, such as `http://127.0.0.1:8428/api/v1/write`.
    pub write: Uri,
    /// What `/api/v1/query` is appended to, such as `http://127.0.0.1:8428`.
    pub query: Uri,
    /// How we say who we are.
    pub auth: Auth,
    /// The tenant, if the cluster has several.
    pub tenant: Option<String>,
    /// Whom we trust.
    pub tls: Arc<ClientConfig>,
}

/// What a person must mend.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A file that is named in the configuration.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No certificate in the file of authorities, or one that is none.
    #[error("{path} holds no usable PEM certificate: {reason}")]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A secret that no header can carry.
    #[error("{0} does not hold one line of printable text")]
    Secret(PathBuf),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

impl TlsSettings {
    /// The TLS configuration: ring, and the authorities.
    ///
    /// # Errors
    /// If the file of authorities cannot be used.
    pub fn build(&self) -> Result<Arc<ClientConfig>, TargetError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => add_file(&mut roots, path)?,
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TargetError> {
    let authority = |reason: String| TargetError::Authority {
        path: path.to_owned(),
        reason,
    };
    let text = read(path)?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| authority(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| authority(error.to_string()))?;
        found += 1;
    }
    if found == 0 {
        return Err(authority("there is none".to_owned()));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, TargetError> {
    std::fs::read_to_string(path).map_err(|source| TargetError::File {
        path: path.to_owned(),
        source,
    })
}

/// Whether an error came of a certificate that is not accepted, however deep it lies.
pub(super) fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    // What an I/O error wraps is not among its sources.
    let wrapped = error.downcast_ref::<std::io::Error>();
    let wrapped = wrapped.and_then(std::io::Error::get_ref);
    let is_wrapped = wrapped.is_some_and(|inner| is_certificate(inner));
    is_wrapped || error.source().is_some_and(is_certificate)
}

impl Auth {
    /// The header, if there is one.
    ///
    /// # Errors
    /// If the file cannot be used.
    fn header(&self) -> Result<Option<HeaderValue>, TargetError> {
        let (text, path) = match self {
            Self::None => return Ok(None),
            Self::Bearer(path) => (format!("Bearer {}", read(path)?.trim()), path),
            Self::Basic(user, path) => {
                let pair = format!("{user}:{}", read(path)?.trim_end_matches(['\r', '\n']));
                (format!("Basic {}", BASE64.encode(pair.as_bytes())), path)
            }
        };
        let mut value =
            HeaderValue::try_from(text).map_err(|_| TargetError::Secret(path.clone()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Target {
    /// Headers of every request.
    ///
    /// # Errors
    /// If a file with a secret cannot be used.
    pub fn headers(&self) -> Result<HeaderMap, TargetError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.auth.header()? {
            headers.insert(AUTHORIZATION, value);
        }
        let tenant = self.tenant.as_deref();
        if let Some(value) = tenant.and_then(|tenant| HeaderValue::from_str(tenant).ok()) {
            headers.insert(TENANT, value);
        }
        Ok(headers)
    }

    /// Host and port for messages; never a secret.
    #[must_use]
    pub fn shown(uri: &Uri) -> String {
        let host = uri.host().unwrap_or_default();
        match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}
