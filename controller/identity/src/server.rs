//! TLS configurations of the two listeners, and certificates that can be changed while they run.
//!
//! **Why the agent port resumes no sessions.** A resumed TLS session skips the client's certificate:
//! neither its end nor its signature is checked again, so a ticket would outlive both. A full
//! handshake costs about half a millisecond of CPU and agents keep their connection for days; the
//! listener limits admissions per second instead. Tickets, the session cache and early data are all
//! off. The browser port carries no client certificates and keeps resumption.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xiezhi_protocol::ALPN;

use crate::certificate;
use crate::client::HostVerifier;
use crate::error::IdentityError;
use crate::folder;

/// A certificate chain and its private key, ready to serve.
#[derive(Debug, Clone)]
pub struct ServerIdentity(Arc<CertifiedKey>);

/// The certificate that a listener shows now; setting another takes effect with the next handshake.
#[derive(Debug)]
pub struct CertificateSlot(RwLock<Arc<CertifiedKey>>);

impl ServerIdentity {
    /// Reads a chain (leaf first) and a private key from PEM files, as any other authority gives
    /// them.
    ///
    /// # Errors
    /// If a file cannot be read, holds no such thing, or the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let unusable = |path: &Path, detail: String| IdentityError::Certificate {
            what: path.display().to_string(),
            detail,
        };
        let chain = CertificateDer::pem_slice_iter(&folder::read(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(unusable(
                certificate,
                "there is no BEGIN CERTIFICATE in it".to_owned(),
            ));
        }
        let key_der = PrivateKeyDer::from_pem_slice(&folder::read(key)?)
            .map_err(|error| unusable(key, format!("there is no private key in it: {error}")))?;
        Self::new(chain, &key_der).map_err(|error| match error {
            IdentityError::Tls(rustls::Error::InconsistentKeys(_)) => IdentityError::KeyMismatch {
                path: key.to_owned(),
            },
            other => other,
        })
    }

    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, IdentityError> {
        let key = any_supported_type(key).map_err(IdentityError::Tls)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(IdentityError::Tls)?;
        Ok(Self(Arc::new(certified)))
    }

    /// When the certificate ends, Unix seconds.
    #[must_use]
    pub fn not_after_s(&self) -> Option<i64> {
        Some(certificate::validity(self.0.cert.first()?)?.not_after_s)
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }
}

impl CertificateSlot {
    /// A slot that shows this certificate.
    #[must_use]
    pub fn new(identity: ServerIdentity) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identity.0)))
    }

    /// Shows another certificate from the next handshake on; present connections go on.
    pub fn set(&self, identity: ServerIdentity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity.0;
    }
}

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// TLS for browsers: TLS 1.3, HTTP/2 and HTTP/1.1, no client certificates.
///
/// # Errors
/// Never with the built-in provider.
pub fn web_server_config(slot: &Arc<CertificateSlot>) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(slot) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn agent_server_config(
    verifier: Arc<HostVerifier>,
    slot: &Arc<CertificateSlot>,
    clock: Arc<dyn TimeProvider>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(slot) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Always named, never the process default: another crate in the binary must not be able to change
/// which cryptography runs here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}
