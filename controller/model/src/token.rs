//! Enrolment tokens and the approvals that some of them ask for.

use crate::{HostId, SiteId};

/// Most hosts that one token may be made for: a court's largest building, and room.
pub const MAX_TOKEN_USES: u32 = 10_000;

/// Longest life of a token, days: a forgotten one must not stay open for years.
pub const MAX_TOKEN_DAYS: u32 = 90;

/// A token as the controller keeps it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Hex identifier; not secret.
    pub id: String,
    /// Digest of the secret, as the identity crate made it.
    pub secret_hash: String,
    /// Site that hosts enrolled with it belong to.
    pub site: SiteId,
    /// How many enrolments it was made for.
    pub uses: u32,
    /// How many are left.
    pub uses_left: u32,
    /// When it ends, Unix milliseconds.
    pub expires_ms: i64,
    /// Whether a person must approve each host.
    pub needs_approval: bool,
    /// Whether hosts enrolled with it are simulated.
    pub simulated: bool,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// Who made it, as [`crate::Actor`] displays.
    pub created_by: String,
    /// When it was withdrawn, Unix milliseconds.
    pub revoked_ms: Option<i64>,
}

/// What a person decided about a host that wants to enrol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody looked yet.
    Pending,
    /// It may enrol.
    Approved,
    /// It may not.
    Refused,
    /// It was approved and has enrolled.
    Enrolled,
}

impl ApprovalState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Refused, Self::Enrolled];

    /// `pending`, `approved`, `refused` or `enrolled`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Enrolled => "enrolled",
        }
    }

    /// The state that [`ApprovalState::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// A host that wants to enrol with a token that asks for approval. It is known by its token and
/// its evidence key, so asking again does not make a second request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its number.
    pub id: i64,
    /// Which token.
    pub token: String,
    /// The token's site.
    pub site: SiteId,
    /// The host's evidence key, hex.
    pub evidence_key: String,
    /// The host's name for itself.
    pub hostname: String,
    /// Digest of its machine-id.
    pub machine: String,
    /// Agent's version.
    pub version: String,
    /// When it first asked, Unix milliseconds.
    pub requested_ms: i64,
    /// What was decided.
    pub state: ApprovalState,
    /// Who decided; empty while pending.
    pub decided_by: String,
    /// When, Unix milliseconds.
    pub decided_ms: Option<i64>,
    /// The host that it became.
    pub host: Option<HostId>,
}
