//! Is this our controller? Judged by root, name and trusted time; never by address or local clock.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use xiezhi_protocol::{ALPN, CONTROLLER_NAME};

use super::files::Credentials;
use super::time::TrustedTime;

/// Whom to believe.
#[derive(Debug, Clone)]
pub(crate) enum Anchor {
    /// This root.
    Root(CertificateDer<'static>),
    /// The root with this SHA-256, which must come along in the handshake: at enrolment nothing
    /// else is known.
    Fingerprint([u8; 32]),
}

/// A TLS 1.3 client that believes only chains up to `anchor`, and shows `credentials` if any.
pub(crate) fn tls_config(
    anchor: Anchor,
    time: Arc<TrustedTime>,
    credentials: Option<Credentials>,
) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(ControllerVerifier {
        anchor,
        time,
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3 is not available")?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(Credentials { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .context("certificate and key do not belong together")?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Resumption would keep tickets in memory for a connection that lasts for days.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct ControllerVerifier {
    anchor: Anchor,
    time: Arc<TrustedTime>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ControllerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        _ocsp: &[u8],
        _local_clock: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = match &self.anchor {
            Anchor::Root(root) => root.clone(),
            Anchor::Fingerprint(wanted) => with_fingerprint(others, wanted)?,
        };
        let verified = verify_at(&root, leaf, others, self.time.now_s(), &self.provider)?;
        let leaf = leaf.clone().into_owned();
        let others: Vec<_> = others
            .iter()
            .map(|other| other.clone().into_owned())
            .collect();
        let provider = Arc::clone(&self.provider);
        self.time.verified(Box::new(move |time_s| {
            verify_at(&root, &leaf, &others, time_s, &provider).is_ok()
        }));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn with_fingerprint(
    certificates: &[CertificateDer<'_>],
    wanted: &[u8; 32],
) -> Result<CertificateDer<'static>, Error> {
    certificates
        .iter()
        .find(|certificate| fingerprint(certificate) == *wanted)
        .map(|certificate| certificate.clone().into_owned())
        .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// Verifies a chain at a time that is a *lower bound* of now.
///
/// What has ended by then has ended. What has not begun by then may well have begun in truth, so it
/// is judged again at its own beginning.
fn verify_at(
    root: &CertificateDer<'static>,
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now_s: i64,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerCertVerified, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
    let name =
        ServerName::try_from(CONTROLLER_NAME).map_err(|error| Error::General(error.to_string()))?;
    let mut time = UnixTime::since_unix_epoch(Duration::from_secs(now_s.unsigned_abs()));
    // Leaf and intermediate may each have begun later: two steps forward at most.
    for _ in 0..3 {
        match verifier.verify_server_cert(leaf, others, &name, &[], time) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => {
                time = not_before;
            }
            outcome => return outcome,
        }
    }
    Err(Error::InvalidCertificate(CertificateError::NotValidYet))
}

/// SHA-256 over a certificate's DER.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate.as_ref());
    digest.as_ref().try_into().unwrap_or_default()
}

/// Whether `certificate` is the one with this fingerprint.
pub(crate) fn anchored(certificate: &CertificateDer<'_>, wanted: &[u8; 32]) -> bool {
    fingerprint(certificate) == *wanted
}
