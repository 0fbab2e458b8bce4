//! Hosts: machines that run an agent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::SiteId;

/// Number of a host, given by the database and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub i64);

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for HostId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Most characters of the reason for a revocation.
pub const MAX_REVOCATION_REASON: usize = 200;

/// The reason for a revocation without the space around it; `None` if it says nothing or is too
/// long. Whoever finds the host refused a year later has nothing else to go by.
#[must_use]
pub fn revocation_reason(text: &str) -> Option<&str> {
    let reason = text.trim();
    let fits = !reason.is_empty() && reason.chars().count() <= MAX_REVOCATION_REASON;
    fits.then_some(reason)
}

/// A machine that was enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its number.
    pub id: HostId,
    /// The site that its token was bound to.
    pub site: SiteId,
    /// Its own name for itself, as last reported.
    pub hostname: String,
    /// Digest of its machine-id.
    pub machine: String,
    /// When it was enrolled, Unix milliseconds.
    pub enrolled_ms: i64,
    /// When it was revoked, Unix milliseconds; it stays listed.
    pub revoked_ms: Option<i64>,
    /// Public key with which it signs evidence, Ed25519, hex; recorded at enrolment.
    pub evidence_key: String,
    /// Fingerprint of the policy root installed on it; empty means observe-only.
    pub policy_root: String,
    /// Whether it is one of the demo's simulated hosts; shown wherever the host is.
    pub simulated: bool,
    /// Agent's version, as last reported.
    pub version: String,
    /// Epoch under which its batches are counted now.
    pub epoch: u64,
    /// Identifier of the last session that the agent proved to have stored; empty before the first.
    pub session_confirmed: String,
    /// Identifier of the last session that was issued; empty before the first.
    pub session_issued: String,
    /// When it last looked rolled back or cloned, Unix milliseconds; `None` if never, or if a
    /// person has settled it.
    pub identity_conflict_ms: Option<i64>,
    /// When it last reported, Unix milliseconds; 0 before the first report. May lag a minute.
    pub last_seen_ms: i64,
    /// End of its newest certificate, Unix seconds.
    pub certificate_expires_s: i64,
}
