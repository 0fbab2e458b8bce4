//! Enrolment: token, host, certificate and audit entry in one transaction.

use xiezhi_model::{ApprovalState, AuditEntry, CertificateRecord, EnrolmentToken, Host, HostId};
use xiezhi_protocol::enrol::NO_MACHINE;

use crate::hosts::{host_from, select_host};
use crate::row::{self, Write};
use crate::{Store, StoreError, approvals, audit, certificates, hosts, tokens};

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
    /// As many hosts wait for approval with this token as it has uses left.
    #[error(
        "too many hosts wait for approval with this enrolment token: approve or refuse some of \
         them, or use another token, then try again"
    )]
    TooManyPending,
    /// A person refused.
    #[error(
        "an administrator refused this host's enrolment: ask why, then enrol with another token"
    )]
    ApprovalRefused,
    /// The approval served once, for a host that was revoked since.
    #[error("the approval of this host was used before: ask for a new enrolment token")]
    ApprovalUsed,
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

impl From<sqlx::Error> for EnrolError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Whether anything can be written, by a write that changes nothing.
    ///
    /// # Errors
    /// If not, for instance [`StoreError::Full`].
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        row::count_up(&mut write, "hosts", 0).await?;
        write.commit().await?;
        Ok(())
    }

    /// Reserves a host number. Numbers that are never used leave holes, which does no harm.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn reserve_host_id(&self) -> Result<HostId, StoreError> {
        let mut write = self.database.write().await?;
        let id = row::count_up(&mut write, "hosts", 1).await?;
        write.commit().await?;
        Ok(HostId(id))
    }

    /// Looks whether this enrolment would be refused now, before a certificate is made for it.
    ///
    /// # Errors
    /// As [`Store::enrol`].
    pub async fn may_enrol(
        &self,
        token: &str,
        evidence_key: &str,
        hostname: &str,
        machine: &str,
        now_ms: i64,
    ) -> Result<(), EnrolError> {
        // The write lock makes the answer consistent; nothing is written.
        let mut write = self.database.write().await?;
        check(&mut write, token, evidence_key, (hostname, machine), now_ms).await?;
        write.rollback().await?;
        Ok(())
    }

    /// What this token and evidence key have enrolled already: an agent whose answer was lost asks
    /// again and gets the same. The caller compares the public key of the certificate.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn earlier_enrolment(
        &self,
        token: &str,
        evidence_key: &str,
    ) -> Result<Option<(Host, CertificateRecord)>, StoreError> {
        let tail = "WHERE h.token_id = $1 AND h.evidence_key = $2 AND h.revoked_ms IS NULL \
                    ORDER BY h.id DESC LIMIT 1";
        let sql = sqlx::AssertSqlSafe(format!("{}{tail}", select_host!("")));
        let query = sqlx::query(sql).bind(token).bind(evidence_key);
        let Some(row) = query.fetch_optional(self.database.read()).await? else {
            return Ok(None);
        };
        let host = host_from(&row)?;
        let newest = self.certificates_of(host.id).await?.into_iter().next();
        Ok(newest.map(|certificate| (host, certificate)))
    }

    /// Whether a host that is not revoked recorded this evidence key, 64 hex digits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_evidence_key_in_use(&self, evidence_key: &str) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM hosts WHERE evidence_key = $1 AND revoked_ms IS NULL LIMIT 1";
        let query = sqlx::query(sql).bind(evidence_key);
        Ok(query.fetch_optional(self.database.read()).await?.is_some())
    }

    /// Enrols a host: uses the token once, records host and certificate, and chains the audit entry,
    /// all or nothing.
    ///
    /// # Errors
    /// [`EnrolError::Refused`] says why it may not; then nothing has changed.
    pub async fn enrol(
        &self,
        host: &NewHost,
        now_ms: i64,
        audit: AuditEntry,
    ) -> Result<Host, EnrolError> {
        let mut write = self.database.write().await?;
        let names = (host.hostname.as_str(), host.machine.as_str());
        let permit = check(&mut write, &host.token, &host.evidence_key, names, now_ms).await?;
        if !tokens::use_once(&mut write, &host.token).await? {
            return Err(EnrolRefusal::UsedUpToken.into());
        }
        insert_host(&mut write, host, &permit.token, now_ms).await?;
        certificates::insert(&mut write, &host.certificate).await?;
        if let Some(approval) = permit.approval {
            approvals::set_enrolled(&mut write, approval, host.id).await?;
        }
        let audit = audit
            .with("token", &host.token)
            .with("hostname", row::cut(&host.hostname, 256))
            // Chained, so that nobody replaces the key and with it what the host signed.
            .with("evidence_key", row::cut(&host.evidence_key, 256))
            .with("serial", &host.certificate.serial);
        audit::append(&mut write, &audit).await?;
        let made = hosts::find(&mut write, host.id).await?;
        write.commit().await?;
        Ok(made.ok_or_else(|| StoreError::NotFound(format!("host {}", host.id)))?)
    }
}

/// What allows an enrolment.
struct Permit {
    token: EnrolmentToken,
    approval: Option<i64>,
}

async fn check(
    write: &mut Write,
    token: &str,
    evidence_key: &str,
    names: (&str, &str),
    now_ms: i64,
) -> Result<Permit, EnrolError> {
    let token = tokens::find(write, token)
        .await?
        .ok_or(EnrolRefusal::UnknownToken)?;
    if token.revoked_ms.is_some() {
        return Err(EnrolRefusal::RevokedToken.into());
    }
    if token.expires_ms <= now_ms {
        return Err(EnrolRefusal::ExpiredToken.into());
    }
    if token.uses_left == 0 {
        return Err(EnrolRefusal::UsedUpToken.into());
    }
    if let Some(there) = same_machine(write, names).await? {
        return Err(EnrolRefusal::HostExists(there).into());
    }
    let mut approval = None;
    if token.needs_approval {
        let request = approvals::find(write, &token.id, evidence_key).await?;
        let request = request.ok_or(EnrolRefusal::NotApproved)?;
        match request.state {
            ApprovalState::Pending => return Err(EnrolRefusal::NotApproved.into()),
            ApprovalState::Refused => return Err(EnrolRefusal::ApprovalRefused.into()),
            // Its earlier host was revoked, or the check before this one would have found it.
            ApprovalState::Enrolled => return Err(EnrolRefusal::ApprovalUsed.into()),
            ApprovalState::Approved => approval = Some(request.id),
        }
    }
    Ok(Permit { token, approval })
}

/// An unrevoked host with the same name and machine-id; machines without an id are not compared, for
/// many are called localhost.
async fn same_machine(
    write: &mut Write,
    (hostname, machine): (&str, &str),
) -> Result<Option<HostId>, StoreError> {
    if machine.is_empty() || machine == NO_MACHINE {
        return Ok(None);
    }
    let sql = "SELECT id FROM hosts WHERE machine = $1 AND hostname = $2 AND revoked_ms IS NULL \
               LIMIT 1";
    let query = sqlx::query(sql)
        .bind(row::storable(machine))
        .bind(row::storable(hostname));
    let row = query.fetch_optional(&mut **write).await?;
    row.map(|row| row::number(&row, "id").map(HostId))
        .transpose()
}

async fn insert_host(
    write: &mut Write,
    host: &NewHost,
    token: &EnrolmentToken,
    now_ms: i64,
) -> Result<(), StoreError> {
    // The first epoch is 1; 0 on the wire means "none yet".
    let sql = "INSERT INTO hosts (id, site_id, token_id, hostname, machine, enrolled_ms, \
               evidence_key, policy_root, simulated, version, epoch, session_confirmed, \
               session_issued, certificate_expires_s) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, '', '', $11) \
               ON CONFLICT (id) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(host.id.0)
        .bind(token.site.0)
        .bind(&token.id)
        .bind(row::storable(&host.hostname))
        .bind(row::storable(&host.machine))
        .bind(now_ms)
        .bind(&host.evidence_key)
        .bind(row::storable(&host.policy_root))
        .bind(i64::from(token.simulated))
        .bind(row::storable(&host.version))
        .bind(host.certificate.not_after_s)
        .execute(&mut **write)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Exists(format!("host {}", host.id)));
    }
    Ok(())
}
