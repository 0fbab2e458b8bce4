//! Agents' sessions and epochs: how a rolled-back or cloned host is noticed.
//!
//! Each session gets an identifier that the agent stores before it sends anything. An agent that
//! comes back with neither the last identifier that it proved to have stored nor the last that was
//! issued shares its identity with another machine, or its disk is older than the controller's
//! memory. And each numbering of batches belongs to an epoch: when numbers come again with other
//! content, a new epoch begins and nothing is lost.

use xiezhi_model::{AuditEntry, HostId};

use crate::{Store, StoreError};

/// An agent's wish to begin a session; most of it is from its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// Which host, from its certificate.
    pub host: HostId,
    /// Identifier of the new session, fresh and random.
    pub session: String,
    /// Identifier that the agent remembers; empty for a fresh spool.
    pub previous_session: String,
    /// Epoch that the agent's spool believes in; 0 for a fresh spool.
    pub spool_epoch: u64,
    /// Host name.
    pub hostname: String,
    /// Agent's version.
    pub version: String,
    /// Fingerprint of the policy root on the host; empty means observe-only.
    pub policy_root: String,
    /// The controller's clock, Unix milliseconds.
    pub now_ms: i64,
}

/// Why a host was marked "rolled back or cloned".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityConflict {
    /// The agent remembers a session that is neither the last confirmed nor the last issued.
    Session,
    /// Batches came again with other content.
    Content,
}

impl IdentityConflict {
    /// The word under which it is audited: `session` or `content`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Content => "content",
        }
    }
}

/// What became of a session request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// It may begin.
    Started {
        /// Epoch that the agent shall adopt.
        epoch: u64,
        /// Set if the host was marked just now.
        conflict: Option<IdentityConflict>,
    },
    /// The host was revoked.
    Revoked,
    /// There is no such host.
    UnknownHost,
}

impl Store {
    /// Begins sessions, all in one transaction; outcomes are in the order of the requests.
    ///
    /// The previous session is compared with the last confirmed and the last issued; on a mismatch
    /// the host is marked and audited, and the session begins all the same. A fresh spool on a host
    /// that had sessions before, and a spool with a higher epoch than the controller remembers (its
    /// database was restored), get a new epoch, so that their numbers cannot collide.
    pub async fn start_sessions(&self, requests: &[SessionRequest]) -> Result<Vec<SessionOutcome>, StoreError> {
        let _ = requests;
        Err(StoreError::Unfinished)
    }

    /// Notes that agents have proved to have stored these sessions' identifiers, by sending
    /// something after the welcome. Identifiers that are not the last issued are ignored.
    pub async fn confirm_sessions(&self, sessions: &[(HostId, String)]) -> Result<(), StoreError> {
        let _ = sessions;
        Err(StoreError::Unfinished)
    }

    /// Opens a new epoch after batches of `epoch` came again with other content, marks the host and
    /// audits it; returns the epoch to count in. If another stream has already opened one after
    /// `epoch`, returns that and changes nothing.
    pub async fn open_epoch(&self, host: HostId, epoch: u64, audit: AuditEntry) -> Result<u64, StoreError> {
        let _ = (host, epoch, audit);
        Err(StoreError::Unfinished)
    }
}
