//! Whether who enrols holds the evidence key that is to be recorded for the host.
//!
//! A key that was recorded unproven would be worth nothing as evidence, and whoever names another
//! host's key could make that host's signatures look like its own. An agent of the first release
//! sends no proof (`docs/adr/007`): it is still enrolled, the audit record says so, and it can name no
//! key that an enrolled host has. A wrong proof is always refused.

use data_encoding::HEXLOWER_PERMISSIVE;
use http::StatusCode;
use xiezhi_evidence::{Hash, PublicKey};
use xiezhi_protocol::enrol::EnrolRequest;

use super::unavailable;
use crate::context::Context;
use crate::problem::Refusal;

/// Whether the proof came; a wrong one is refused.
pub(super) fn check(request: &EnrolRequest) -> Result<bool, Refusal> {
    if request.evidence_proof.is_empty() {
        return Ok(false);
    }
    let statement = request.evidence_statement(&Hash::of(request.csr_pem.as_bytes()).0);
    let key = PublicKey::from_hex(&request.evidence_key.to_ascii_lowercase());
    let signature = HEXLOWER_PERMISSIVE.decode(request.evidence_proof.as_bytes());
    let is_proven = match (key, signature) {
        (Some(key), Ok(signature)) => key.has_signed(statement.as_bytes(), &signature),
        _ => false,
    };
    if is_proven {
        return Ok(true);
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "evidence_key_unproven",
        "the evidence key did not sign this request: on the host, remove evidence.key from the \
         agent's state folder and enrol again",
    ))
}

/// Refuses a key without proof that an enrolled host has.
pub(super) async fn check_unproven(
    context: &Context,
    request: &EnrolRequest,
) -> Result<(), Refusal> {
    let is_taken = context
        .store
        .is_evidence_key_in_use(&request.evidence_key)
        .await
        .map_err(|error| unavailable(&error))?;
    if !is_taken {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::CONFLICT,
        "evidence_key_in_use",
        "another enrolled host has this evidence key, and this agent is too old to prove that it \
         holds it: update the agent, or revoke that host first",
    ))
}

/// What the audit record says about it.
pub(super) fn word(request: &EnrolRequest) -> &'static str {
    if request.evidence_proof.is_empty() {
        "missing"
    } else {
        "good"
    }
}
