//! Agents' sessions and epochs: how a rolled-back or cloned host is noticed.
//!
//! Each session gets an identifier that the agent stores before it sends anything. An agent that
//! comes back with neither the last identifier that it proved to have stored nor the last that was
//! issued shares its identity with another machine, or its disk is older than the controller's
//! memory. And each numbering of batches belongs to an epoch: when numbers come again with other
//! content, a new epoch begins and nothing is lost.

use xiezhi_model::{Actor, AuditEntry, Host, HostId};

use crate::repeats::{self, HOUR_MS};
use crate::row::{self, Write};
use crate::{Store, StoreError, hosts};

/// A spool that claims a higher epoch than this is not believed.
const HIGHEST_BELIEVED_EPOCH: u64 = 1 << 40;

/// Epochs whose received numbers are kept beside the current one. Only a controller that crashed
/// between a new epoch and its acknowledgement needs the one before.
const EPOCHS_KEPT: i64 = 8;

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
    /// The agent remembers a session that is neither the last confirmed nor the last issued,
    /// although this host has confirmed one.
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
    ///
    /// # Errors
    /// If the database fails; then none has begun.
    pub async fn start_sessions(
        &self,
        requests: &[SessionRequest],
    ) -> Result<Vec<SessionOutcome>, StoreError> {
        let mut write = self.database.write().await?;
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            outcomes.push(start(&mut write, request).await?);
        }
        write.commit().await?;
        Ok(outcomes)
    }

    /// Notes that agents have proved to have stored these sessions' identifiers, by sending
    /// something after the welcome. Identifiers that are not the last issued are ignored.
    ///
    /// # Errors
    /// If the database fails; then none is noted.
    pub async fn confirm_sessions(&self, sessions: &[(HostId, String)]) -> Result<(), StoreError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut write = self.database.write().await?;
        for (host, session) in sessions {
            let sql = "UPDATE hosts SET session_confirmed = session_issued \
                       WHERE id = $1 AND session_issued = $2 AND session_confirmed <> $2";
            sqlx::query(sql)
                .bind(host.0)
                .bind(session)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Opens a new epoch after batches of `epoch` came again with other content, marks the host and
    /// audits it; returns the epoch to count in. If another stream has already opened one after
    /// `epoch`, returns that and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such host.
    pub async fn open_epoch(
        &self,
        host: HostId,
        epoch: u64,
        audit: AuditEntry,
    ) -> Result<u64, StoreError> {
        let mut write = self.database.write().await?;
        let there = hosts::find(&mut write, host).await?;
        let there = there.ok_or_else(|| StoreError::NotFound(format!("host {host}")))?;
        if there.epoch > epoch {
            return Ok(there.epoch);
        }
        let next = there.epoch.saturating_add(1);
        let sql = "UPDATE hosts SET epoch = $2, identity_conflict_ms = $3 WHERE id = $1";
        let query = sqlx::query(sql)
            .bind(host.0)
            .bind(row::signed(next))
            .bind(audit.time_ms);
        query.execute(&mut *write).await?;
        forget_old_epochs(&mut write, host, next).await?;
        let audit = audit
            .with("reason", IdentityConflict::Content.word())
            .with("epoch", next.to_string());
        let reason = IdentityConflict::Content.word();
        repeats::append(&mut write, &audit, reason, HOUR_MS).await?;
        write.commit().await?;
        Ok(next)
    }
}

async fn start(write: &mut Write, request: &SessionRequest) -> Result<SessionOutcome, StoreError> {
    let Some(host) = hosts::find(write, request.host).await? else {
        return Ok(SessionOutcome::UnknownHost);
    };
    if host.revoked_ms.is_some() {
        return Ok(SessionOutcome::Revoked);
    }
    let decision = decide(&host, &request.previous_session, request.spool_epoch);
    let confirmed = if request.previous_session == host.session_issued {
        &host.session_issued
    } else {
        &host.session_confirmed
    };
    let conflict_ms = decision
        .conflict
        .map_or(host.identity_conflict_ms, |_| Some(request.now_ms));
    let sql = "UPDATE hosts SET epoch = $2, session_confirmed = $3, session_issued = $4, \
               identity_conflict_ms = $5, hostname = $6, version = $7, policy_root = $8 \
               WHERE id = $1";
    sqlx::query(sql)
        .bind(host.id.0)
        .bind(row::signed(decision.epoch))
        .bind(confirmed)
        .bind(&request.session)
        .bind(conflict_ms)
        .bind(row::storable(&request.hostname))
        .bind(row::storable(&request.version))
        .bind(row::storable(&request.policy_root))
        .execute(&mut **write)
        .await?;
    if decision.epoch != host.epoch {
        forget_old_epochs(write, host.id, decision.epoch).await?;
    }
    if let Some(conflict) = decision.conflict {
        // Two clones meet one conflict with each reconnection.
        let entry = conflict_entry(request, conflict, decision.epoch);
        repeats::append(write, &entry, conflict.word(), HOUR_MS).await?;
    }
    Ok(SessionOutcome::Started {
        epoch: decision.epoch,
        conflict: decision.conflict,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Decision {
    epoch: u64,
    conflict: Option<IdentityConflict>,
}

/// Which epoch applies, and whether the agent remembers what it should.
fn decide(host: &Host, previous_session: &str, spool_epoch: u64) -> Decision {
    let remembered = [
        host.session_confirmed.as_str(),
        host.session_issued.as_str(),
    ];
    // Until the host has proved to have stored a session of its own, what its agent remembers may be
    // from an earlier enrolment of the same machine.
    let is_bound = !host.session_confirmed.is_empty();
    let conflict =
        (is_bound && !remembered.contains(&previous_session)).then_some(IdentityConflict::Session);
    let had_sessions = !host.session_issued.is_empty();
    let next = host.epoch.saturating_add(1);
    let epoch = match spool_epoch {
        0 if had_sessions => next,
        ahead if ahead > host.epoch && ahead <= HIGHEST_BELIEVED_EPOCH => ahead + 1,
        absurd if absurd > host.epoch => next,
        _ => host.epoch,
    };
    Decision { epoch, conflict }
}

fn conflict_entry(request: &SessionRequest, conflict: IdentityConflict, epoch: u64) -> AuditEntry {
    let subject = format!("host:{}", request.host);
    let actor = Actor::Host(request.host);
    AuditEntry::new(request.now_ms, actor, "host.identity_conflict", subject)
        .with("reason", conflict.word())
        .with("hostname", row::cut(&request.hostname, 256))
        .with("epoch", epoch.to_string())
}

async fn forget_old_epochs(write: &mut Write, host: HostId, epoch: u64) -> Result<(), StoreError> {
    let oldest = row::signed(epoch).saturating_sub(EPOCHS_KEPT);
    let sql = "DELETE FROM event_streams WHERE host_id = $1 AND epoch < $2";
    sqlx::query(sql)
        .bind(host.0)
        .bind(oldest)
        .execute(&mut **write)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_model::SiteId;

    fn host(epoch: u64, confirmed: &str, issued: &str) -> Host {
        Host {
            id: HostId(1),
            site: SiteId(1),
            hostname: String::new(),
            machine: String::new(),
            enrolled_ms: 0,
            revoked_ms: None,
            evidence_key: String::new(),
            policy_root: String::new(),
            simulated: false,
            version: String::new(),
            epoch,
            session_confirmed: confirmed.to_owned(),
            session_issued: issued.to_owned(),
            identity_conflict_ms: None,
            last_seen_ms: 0,
            certificate_expires_s: 0,
        }
    }

    #[test]
    fn epochs_and_conflicts_follow_what_agent_and_controller_remember() {
        let conflict = Some(IdentityConflict::Session);
        let cases = [
            ("first session ever", host(1, "", ""), "", 0, 1, None),
            (
                "its first welcome was lost",
                host(1, "", "a"),
                "",
                0,
                2,
                None,
            ),
            (
                "enrolled again, with the spool of its earlier enrolment",
                host(1, "", ""),
                "z",
                1,
                1,
                None,
            ),
            (
                "enrolled again, and its first welcome was lost",
                host(4, "", "a"),
                "z",
                3,
                4,
                None,
            ),
            ("ordinary", host(1, "a", "b"), "b", 1, 1, None),
            (
                "its last welcome was lost",
                host(1, "a", "b"),
                "a",
                1,
                1,
                None,
            ),
            ("an older disk", host(1, "b", "c"), "a", 1, 1, conflict),
            (
                "a fresh spool on a known host",
                host(3, "a", "a"),
                "",
                0,
                4,
                conflict,
            ),
            ("it missed a new epoch", host(3, "a", "a"), "a", 2, 3, None),
            (
                "the controller was restored",
                host(1, "a", "b"),
                "z",
                5,
                6,
                conflict,
            ),
            ("an absurd epoch", host(1, "a", "b"), "b", u64::MAX, 2, None),
        ];
        for (name, host, previous, spool_epoch, epoch, conflict) in cases {
            assert_eq!(
                decide(&host, previous, spool_epoch),
                Decision { epoch, conflict },
                "{name}"
            );
        }
    }
}
