//! Who may connect to the agent port: hosts with a certificate of this authority, hosts whose
//! certificate ended not too long ago, and callers with none.
//!
//! What each of them may then do is for the listener to decide from [`crate::peer_of`]: everything,
//! only renewal, only enrolment.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::ring::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::{Certificate, DAY_S};
use crate::error::IdentityError;
use crate::peer::host_named_by;

/// How long after its end a certificate still opens the renewal path, seconds.
pub const EXPIRED_GRACE_S: i64 = 180 * DAY_S;

/// An agent sends two certificates; a chain that is much longer is an attack on our time.
const MAX_CHAIN_CERTIFICATES: usize = 4;
const MAX_CHAIN_BYTES: usize = 16 * 1024;

static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256])],
};

/// Verifies host certificates against the intermediates that this controller knows.
///
/// The intermediates themselves are the anchors: a handshake then costs one signature check less,
/// and an intermediate that the root signed for someone else is not accepted here.
#[derive(Debug)]
pub(crate) struct HostVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    /// First and last second of each anchor, in the same order.
    times: Vec<(i64, i64)>,
}

impl HostVerifier {
    pub(crate) fn new(intermediates: &[Certificate]) -> Result<Arc<Self>, IdentityError> {
        let mut anchors = Vec::new();
        let mut times = Vec::new();
        for intermediate in intermediates {
            let anchor = webpki::anchor_from_trusted_cert(&intermediate.der).map_err(|error| {
                IdentityError::Certificate {
                    what: format!("intermediate {}", intermediate.serial),
                    detail: error.to_string(),
                }
            })?;
            anchors.push(anchor.to_owned());
            times.push((intermediate.not_before_s, intermediate.not_after_s));
        }
        Ok(Arc::new(Self { anchors, times }))
    }

    /// Verifies as of `now`; a certificate that has ended within the grace, as of its last second.
    fn verify(&self, leaf: &EndEntityCert<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        match self.verify_at(leaf, now) {
            Err(webpki::Error::CertExpired { not_after, .. })
                if seconds(now).saturating_sub(seconds(not_after)) <= EXPIRED_GRACE_S =>
            {
                self.verify_at(leaf, not_after)
            }
            result => result,
        }
    }

    fn verify_at(&self, leaf: &EndEntityCert<'_>, time: UnixTime) -> Result<(), webpki::Error> {
        let usage = KeyUsage::client_auth();
        let path =
            leaf.verify_for_usage(ALGORITHMS.all, &self.anchors, &[], time, usage, None, None)?;
        let key = &path.anchor().subject_public_key_info;
        let is_issuer_in_force = self.anchors.iter().zip(&self.times).any(|(anchor, times)| {
            anchor.subject_public_key_info == *key && (times.0..=times.1).contains(&seconds(time))
        });
        if is_issuer_in_force {
            Ok(())
        } else {
            Err(webpki::Error::UnknownIssuer)
        }
    }
}

impl ClientCertVerifier for HostVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Agents have one certificate and send it; naming authorities would only cost bytes.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|one| one.len()).sum::<usize>();
        if intermediates.len() >= MAX_CHAIN_CERTIFICATES || bytes > MAX_CHAIN_BYTES {
            return Err(CertificateError::BadEncoding.into());
        }
        let leaf = EndEntityCert::try_from(end_entity).map_err(refusal)?;
        self.verify(&leaf, now).map_err(refusal)?;
        if host_named_by(&leaf).is_none() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General(
            "TLS 1.2 is not spoken here".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// The refusal as the agent should hear it: TLS has an alert for each of these.
fn refusal(error: webpki::Error) -> rustls::Error {
    use webpki::Error;
    let reason = match error {
        Error::CertExpired { .. } => CertificateError::Expired,
        Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Error::UnknownIssuer => CertificateError::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    };
    reason.into()
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
