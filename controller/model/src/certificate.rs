//! Host certificates as the controller remembers them.

use crate::HostId;

/// One certificate that was issued to a host. A certificate that is not on record is refused, even
/// if its signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Serial number, lower-case hex as the identity crate writes it.
    pub serial: String,
    /// Whose.
    pub host: HostId,
    /// Begin of validity, Unix seconds.
    pub not_before_s: i64,
    /// End of validity, Unix seconds.
    pub not_after_s: i64,
    /// When it was issued, Unix milliseconds.
    pub issued_ms: i64,
    /// When it was revoked, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// Leaf followed by intermediate, PEM: an agent whose answer was lost gets the same again.
    pub chain_pem: String,
}

/// One line of the list that a running controller polls, so that a revocation closes open sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Number of the change; grows by one with each.
    pub change: i64,
    /// Whose sessions end.
    pub host: HostId,
    /// Which certificate; `None` means all of the host, and the host itself.
    pub serial: Option<String>,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Why, for a person.
    pub reason: String,
}
