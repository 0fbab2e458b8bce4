//! Enrolment and renewal: who gets a certificate, and who does not.
//!
//! Everything that an anonymous caller says is bounded in size and rate before the store is asked.
//! The certificate leaves only after the store has recorded it together with the use of the token.

mod proof;

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tracing::{info, warn};
use webpki::EndEntityCert;
use xiezhi_identity::tokens::{SecretHash, hash_token_secret};
use xiezhi_identity::{IdentityError, IssuedCertificate};
use xiezhi_model::{Actor, ApprovalState, AuditEntry, CertificateRecord, Host, HostId};
use xiezhi_protocol::enrol::{EnrolRequest, EnrolResponse, Issued, RenewRequest};
use xiezhi_store::{ApprovalRequest, EnrolError, EnrolRefusal, NewHost, StoreError};

use crate::context::Context;
use crate::problem::Refusal;

/// Seconds after which a host that waits for approval asks again.
const ASK_AGAIN_S: u32 = 30;

/// Handles a request to enrol.
pub(crate) async fn enrol(
    context: &Context,
    address: IpAddr,
    body: &[u8],
) -> Result<EnrolResponse, Refusal> {
    context
        .limits
        .address(address)
        .map_err(Refusal::rate_limited)?;
    let request: EnrolRequest = serde_json::from_slice(body)
        .map_err(|error| Refusal::malformed(format!("the request is not readable: {error}")))?;
    check_lengths(&request)?;
    let outcome = match check_secret(context, &request).await {
        Ok(()) => {
            let may = context.limits.token(&request.token_id);
            may.map_err(Refusal::rate_limited)?;
            enrol_checked(context, address, &request).await
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &outcome
        && refusal.status.is_client_error()
    {
        audit_refusal(context, address, &request, refusal).await;
    }
    outcome
}

/// Enrols whoever showed the token's secret, if the token and the host allow it.
async fn enrol_checked(
    context: &Context,
    address: IpAddr,
    request: &EnrolRequest,
) -> Result<EnrolResponse, Refusal> {
    let store = &context.store;
    let proven = proof::check(request)?;
    let earlier = store
        .earlier_enrolment(&request.token_id, &request.evidence_key)
        .await
        .map_err(|error| unavailable(&error))?;
    if let Some((host, certificate)) = earlier
        && host.revoked_ms.is_none()
        && certificate.revoked_ms.is_none()
        && has_key_of(context, &certificate.chain_pem, &request.csr_pem, host.id).await?
    {
        // The answer was lost on its way; the same agent gets the same again.
        let issued = issued(context, &host, &certificate).await?;
        return Ok(EnrolResponse::Issued(issued));
    }
    if !proven {
        proof::check_unproven(context, request).await?;
    }
    let may = store
        .may_enrol(
            &request.token_id,
            &request.evidence_key,
            &request.hostname,
            &request.machine,
            context.now_ms(),
        )
        .await;
    match may {
        Ok(()) => {}
        Err(EnrolError::Refused(EnrolRefusal::NotApproved)) => {
            return ask_for_approval(context, address, request).await;
        }
        Err(error) => return Err(explain(&error)),
    }
    let host = record(context, address, request).await?;
    Ok(EnrolResponse::Issued(host))
}

/// Whether the secret is the token's. An unknown token and a wrong secret look the same.
async fn check_secret(context: &Context, request: &EnrolRequest) -> Result<(), Refusal> {
    let unknown = || explain(&EnrolError::Refused(EnrolRefusal::UnknownToken));
    let token = context
        .store
        .token(&request.token_id)
        .await
        .map_err(|error| unavailable(&error))?;
    let token = token.ok_or_else(unknown)?;
    let given = hash_token_secret(&request.token_secret).ok_or_else(unknown)?;
    let stored: SecretHash = token.secret_hash.parse().map_err(|_| unknown())?;
    if given == stored {
        Ok(())
    } else {
        Err(unknown())
    }
}

async fn ask_for_approval(
    context: &Context,
    address: IpAddr,
    request: &EnrolRequest,
) -> Result<EnrolResponse, Refusal> {
    let wish = ApprovalRequest {
        token: request.token_id.clone(),
        evidence_key: request.evidence_key.clone(),
        hostname: request.hostname.clone(),
        machine: request.machine.clone(),
        version: request.version.clone(),
    };
    let audit = entry(context, address, "host.approval_requested", request);
    let approval = context
        .store
        .request_approval(&wish, audit)
        .await
        .map_err(|error| explain(&error))?;
    match approval.state {
        ApprovalState::Refused => Err(explain(&EnrolError::Refused(EnrolRefusal::ApprovalRefused))),
        // Approved between the two questions: the next one succeeds.
        _ => Ok(EnrolResponse::Pending {
            retry_after_s: ASK_AGAIN_S,
        }),
    }
}

/// Makes the certificate and records the host; what the store refuses is never handed out.
async fn record(
    context: &Context,
    address: IpAddr,
    request: &EnrolRequest,
) -> Result<Issued, Refusal> {
    let store = &context.store;
    let id = store
        .reserve_host_id()
        .await
        .map_err(|error| unavailable(&error))?;
    let certificate = issue(context, &request.csr_pem, id).await?;
    let host = NewHost {
        id,
        token: request.token_id.clone(),
        hostname: request.hostname.clone(),
        machine: request.machine.clone(),
        evidence_key: request.evidence_key.clone(),
        policy_root: request.policy_root.clone(),
        version: request.version.clone(),
        certificate: certificate.clone(),
    };
    let audit = AuditEntry {
        subject: format!("host:{id}"),
        ..entry(context, address, "host.enrolled", request)
            .with("token", &request.token_id)
            .with("serial", &certificate.serial)
            .with("evidence_proof", proof::word(request))
    };
    let host = store
        .enrol(&host, context.now_ms(), audit)
        .await
        .map_err(|error| explain(&error))?;
    context.fleet.refresh(&host);
    info!(host = %id, hostname = request.hostname, %address, "host enrolled");
    issued(context, &host, &certificate).await
}

/// Handles a request to renew of a host that showed the certificate `serial`.
pub(crate) async fn renew(
    context: &Context,
    host: HostId,
    serial: &str,
    body: &[u8],
) -> Result<Issued, Refusal> {
    check_certificate(context, host, serial).await?;
    context.limits.host(host).map_err(Refusal::rate_limited)?;
    let request: RenewRequest = serde_json::from_slice(body)
        .map_err(|error| Refusal::malformed(format!("the request is not readable: {error}")))?;
    let known = context
        .store
        .host(host)
        .await
        .map_err(|error| unavailable(&error))?;
    let known = known
        .filter(|known| known.revoked_ms.is_none())
        .ok_or_else(revoked)?;
    let certificate = issue(context, &request.csr_pem, host).await?;
    let (now_ms, subject) = (context.now_ms(), format!("host:{host}"));
    let audit = AuditEntry::new(
        now_ms,
        Actor::Host(host),
        "host.certificate_renewed",
        subject,
    )
    .with("serial", &certificate.serial)
    .with("before", serial);
    let added = context.store.add_certificate(&certificate, audit).await;
    added.map_err(|error| unavailable(&error))?;
    issued(context, &known, &certificate).await
}

/// Whether the certificate is on record, belongs to the host and was not revoked.
pub(crate) async fn check_certificate(
    context: &Context,
    host: HostId,
    serial: &str,
) -> Result<(), Refusal> {
    let certificate = context
        .store
        .certificate(serial)
        .await
        .map_err(|error| unavailable(&error))?;
    match certificate {
        Some(certificate) if certificate.revoked_ms.is_some() => Err(revoked()),
        Some(certificate) if certificate.host == host => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "certificate_unknown",
            "this certificate is not on record here: enrol the host again",
        )),
    }
}

pub(crate) fn revoked() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "revoked",
        "this host's identity was revoked: enrol it again with a new token if it belongs here",
    )
}

fn check_lengths(request: &EnrolRequest) -> Result<(), Refusal> {
    let bounded = [
        ("hostname", request.hostname.len(), 1, 253),
        ("machine", request.machine.len(), 1, 128),
        ("version", request.version.len(), 1, 64),
        ("token_id", request.token_id.len(), 16, 16),
        ("policy_root", request.policy_root.len(), 0, 128),
        ("evidence_proof", request.evidence_proof.len(), 0, 128),
    ];
    for (field, length, least, most) in bounded {
        if !(least..=most).contains(&length) {
            let detail = format!("{field} has {length} bytes, {least} to {most} are expected");
            return Err(Refusal::malformed(detail));
        }
    }
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex(&request.evidence_key) || request.evidence_key.len() != 64 {
        return Err(Refusal::malformed(
            "evidence_key is not an Ed25519 public key in hex",
        ));
    }
    if !hex(&request.token_id) || !hex(&request.policy_root) {
        return Err(Refusal::malformed(
            "token_id and policy_root are written in hex",
        ));
    }
    let texts = [&request.hostname, &request.machine, &request.version];
    if texts
        .into_iter()
        .any(|text| text.chars().any(char::is_control))
    {
        return Err(Refusal::malformed(
            "hostname, machine or version holds control characters",
        ));
    }
    Ok(())
}

/// In a thread of its own: a key in a hardware token may take seconds to sign.
async fn issue(
    context: &Context,
    csr_pem: &str,
    host: HostId,
) -> Result<CertificateRecord, Refusal> {
    let (authority, csr_pem) = (Arc::clone(&context.authority), csr_pem.to_owned());
    let now_s = context.now_s();
    let work = move || authority.issue_host(&csr_pem, host, now_s);
    let issued = tokio::task::spawn_blocking(work).await;
    let issued = issued.map_err(|error| unavailable(&error))?;
    let IssuedCertificate {
        chain_pem,
        serial,
        not_before_s,
        not_after_s,
    } = issued.map_err(|error| match error {
        IdentityError::Request(_) => Refusal::malformed(error.to_string()),
        error => unavailable(&error),
    })?;
    let issued_ms = context.now_ms();
    let revoked_ms = None;
    Ok(CertificateRecord {
        serial,
        host,
        not_before_s,
        not_after_s,
        issued_ms,
        revoked_ms,
        chain_pem,
    })
}

/// Whether the certificate on record was made for the key of this request. Compared by making a
/// certificate of the request; it is on no record, so it opens nothing.
async fn has_key_of(
    context: &Context,
    chain_pem: &str,
    csr_pem: &str,
    host: HostId,
) -> Result<bool, Refusal> {
    let trial = issue(context, csr_pem, host).await?;
    let (known, asked) = (public_key(chain_pem), public_key(&trial.chain_pem));
    Ok(known.is_some() && known == asked)
}

fn public_key(chain_pem: &str) -> Option<Vec<u8>> {
    let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes()).ok()?;
    let leaf = EndEntityCert::try_from(&leaf).ok()?;
    Some(leaf.subject_public_key_info().to_vec())
}

async fn issued(
    context: &Context,
    host: &Host,
    certificate: &CertificateRecord,
) -> Result<Issued, Refusal> {
    let site = context
        .store
        .site(host.site)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(Issued {
        host: host.id.to_string(),
        site: site.map(|site| site.name).unwrap_or_default(),
        chain_pem: certificate.chain_pem.clone(),
        root_pem: context.authority.root_pem(),
        time_ms: context.now_ms(),
        not_before_s: certificate.not_before_s,
        not_after_s: certificate.not_after_s,
    })
}

fn explain(error: &EnrolError) -> Refusal {
    let refusal = match error {
        EnrolError::Refused(refusal) => refusal,
        EnrolError::Store(error) => return unavailable(error),
    };
    let (status, code) = match refusal {
        EnrolRefusal::UnknownToken => (StatusCode::FORBIDDEN, "token_unknown"),
        EnrolRefusal::ExpiredToken => (StatusCode::FORBIDDEN, "token_expired"),
        EnrolRefusal::UsedUpToken => (StatusCode::FORBIDDEN, "token_used_up"),
        EnrolRefusal::RevokedToken => (StatusCode::FORBIDDEN, "token_revoked"),
        EnrolRefusal::NotApproved => (StatusCode::FORBIDDEN, "not_approved"),
        EnrolRefusal::ApprovalRefused => (StatusCode::FORBIDDEN, "approval_refused"),
        EnrolRefusal::ApprovalUsed => (StatusCode::FORBIDDEN, "approval_used"),
        EnrolRefusal::HostExists(_) => (StatusCode::CONFLICT, "host_exists"),
        EnrolRefusal::TooManyPending => (StatusCode::TOO_MANY_REQUESTS, "too_many_pending"),
    };
    Refusal::new(status, code, refusal.to_string())
}

/// The cause is for the controller's log, not for a stranger.
pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Refusal {
    warn!(error, "a request cannot be served");
    Refusal::unavailable()
}

fn entry(context: &Context, address: IpAddr, action: &str, request: &EnrolRequest) -> AuditEntry {
    let subject = format!("token:{}", request.token_id);
    AuditEntry::new(
        context.now_ms(),
        Actor::Address(address.to_string()),
        action,
        subject,
    )
    .with("hostname", &request.hostname)
    .with("machine", &request.machine)
    .with("version", &request.version)
}

async fn audit_refusal(
    context: &Context,
    address: IpAddr,
    request: &EnrolRequest,
    refusal: &Refusal,
) {
    if !context.limits.audit() {
        return;
    }
    let entry =
        entry(context, address, "host.enrolment_refused", request).with("code", refusal.code);
    let written: Result<i64, StoreError> = context.store.append_audit(entry).await;
    if let Err(failure) = written {
        let error: &dyn std::error::Error = &failure;
        warn!(error, %address, code = refusal.code, "a refused enrolment could not be audited");
    }
}
