//! What a finished handshake says about the caller.
//!
//! Only the connection's verifier decides whether a certificate is genuine; this reads what is in
//! one that passed. It never says whether the host is still wanted: ask the store for the serial.

use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use xiezhi_model::HostId;

use crate::certificate;

/// Scheme and authority of the name inside a host's certificate.
const HOST_URI: &str = "xiezhi://host/";

/// Who is at the other end of a connection to the agent port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Nobody known: only enrolment is open.
    Anonymous,
    /// The holder of a certificate that this authority issued.
    Host {
        /// The host that it was issued to.
        host: HostId,
        /// The certificate's serial number, lower-case hex; the store knows whose it is.
        serial: String,
        /// When it ends, Unix seconds.
        not_after_s: i64,
        /// Whether that is over: only renewal is open.
        expired: bool,
    },
}

/// A certificate that passed verification and yet names no host; this cannot happen with
/// certificates that the verifier accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate names no host")]
pub struct PeerError;

/// Reads the caller from `connection.peer_certificates()` of a connection that was accepted with
/// [`crate::Authority::server_config`]; `now_s` tells whether the certificate is expired.
///
/// # Errors
/// If the certificate names no host.
pub fn peer_of(certificates: Option<&[CertificateDer<'_>]>, now_s: i64) -> Result<Peer, PeerError> {
    let Some(leaf) = certificates.and_then(<[_]>::first) else {
        return Ok(Peer::Anonymous);
    };
    let parsed = EndEntityCert::try_from(leaf).map_err(|_| PeerError)?;
    let host = host_named_by(&parsed).ok_or(PeerError)?;
    let serial = HEXLOWER.encode(parsed.serial());
    let not_after_s = certificate::validity(leaf).ok_or(PeerError)?.not_after_s;
    Ok(Peer::Host {
        host,
        serial,
        not_after_s,
        expired: now_s > not_after_s,
    })
}

/// The name inside the certificate of this host.
#[must_use]
pub fn host_uri(host: HostId) -> String {
    format!("{HOST_URI}{host}")
}

/// The host that a certificate names; `None` unless it names exactly one, in the form in which
/// [`host_uri`] writes it.
pub(crate) fn host_named_by(certificate: &EndEntityCert<'_>) -> Option<HostId> {
    let mut names = certificate.valid_uri_names();
    let name = names.next()?;
    if names.next().is_some() {
        return None;
    }
    let host = HostId(name.strip_prefix(HOST_URI)?.parse().ok()?);
    (host.0 > 0 && host_uri(host) == name).then_some(host)
}
