//! Enrolment: token, host, certificate and audit entry in one transaction.

use xiezhi_model::{AuditEntry, CertificateRecord, Host, HostId};

use crate::{Store, StoreError};

/// A host that enrols. Its number comes from [`Store::reserve_host_id`], because the certificate
/// carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHost {
    /// Reserved number.
    pub id: HostId,
    /// Token that it enrols with; gives the site and whether it is simulated.
    pub token: String,
    /// Its own name for itself.
    pub hostname: String,
    /// Digest of its machine-id.
    pub machine: String,
    /// Public key with which it signs evidence, Ed25519, hex.
    pub evidence_key: String,
    /// Fingerprint of the policy root installed on it; empty means observe-only.
    pub policy_root: String,
    /// Agent's version.
    pub version: String,
    /// The certificate just issued for it.
    pub certificate: CertificateRecord,
}

/// Why a host may not enrol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnrolRefusal {
    /// No token with this identifier.
    #[error("this enrolment token is not known here: it may belong to another controller")]
    UnknownToken,
    /// Its time is over.
    #[error("this enrolment token has expired: ask for a new one")]
    ExpiredToken,
    /// All its uses are used.
    #[error("this enrolment token is used up: ask for a new one")]
    UsedUpToken,
    /// It was withdrawn.
    #[error("this enrolment token was withdrawn: ask for a new one")]
    RevokedToken,
    /// A person must approve first.
    #[error("this host waits for approval")]
    NotApproved,
    /// A person refused.
    #[error("this host's enrolment was refused")]
    ApprovalRefused,
    /// A host with the same name and machine-id is enrolled and not revoked: a token never takes
    /// over an existing host.
    #[error(
        "this machine is already enrolled as host {0}: revoke that host first, \
         or give a cloned machine a machine-id of its own"
    )]
    HostExists(HostId),
}

/// Why an enrolment did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It may not.
    #[error(transparent)]
    Refused(#[from] EnrolRefusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Reserves a host number. Numbers that are never used leave holes, which does no harm.
    pub async fn reserve_host_id(&self) -> Result<HostId, StoreError> {
        Err(StoreError::Unfinished)
    }

    /// Looks whether this enrolment would be refused now, before a certificate is made for it.
    pub async fn may_enrol(&self, token: &str, evidence_key: &str, hostname: &str, machine: &str, now_ms: i64) -> Result<(), EnrolError> {
        let _ = (token, evidence_key, hostname, machine, now_ms);
        Err(StoreError::Unfinished.into())
    }

    /// What this token and evidence key have enrolled already: an agent whose answer was lost asks
    /// again and gets the same. The caller compares the public key of the certificate.
    pub async fn earlier_enrolment(&self, token: &str, evidence_key: &str) -> Result<Option<(Host, CertificateRecord)>, StoreError> {
        let _ = (token, evidence_key);
        Err(StoreError::Unfinished)
    }

    /// Enrols a host: uses the token once, records host and certificate, and chains the audit entry,
    /// all or nothing.
    pub async fn enrol(&self, host: &NewHost, now_ms: i64, audit: AuditEntry) -> Result<Host, EnrolError> {
        let _ = (host, now_ms, audit);
        Err(StoreError::Unfinished.into())
    }
}
