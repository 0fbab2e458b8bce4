//! Hosts that wait for a person's approval before they enrol.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{Approval, ApprovalState, AuditEntry, HostId, Scope, SiteId};

use crate::reach;
use crate::row::{self, Write};
use crate::{EnrolError, EnrolRefusal, Older, Store, StoreError, audit, tokens};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT a.id, a.token_id, t.site_id, a.evidence_key, a.hostname, a.machine, a.version, ",
            "a.requested_ms, a.state, a.decided_by, a.decided_ms, a.host_id ",
            "FROM approvals a JOIN tokens t ON t.id = a.token_id ",
            $tail
        )
    };
}

/// A host's wish to enrol with a token that asks for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// Which token.
    pub token: String,
    /// The host's evidence key, hex.
    pub evidence_key: String,
    /// The host's name for itself.
    pub hostname: String,
    /// Digest of its machine-id.
    pub machine: String,
    /// Agent's version.
    pub version: String,
}

impl Store {
    /// Records a request, or returns the one that the same host made before with the same token;
    /// the audit entry is written only for a new one.
    ///
    /// # Errors
    /// [`EnrolRefusal::UnknownToken`] if there is no such token; [`EnrolRefusal::TooManyPending`] if
    /// as many requests as it has uses left wait already, so that whoever holds a token cannot fill
    /// the list.
    pub async fn request_approval(
        &self,
        request: &ApprovalRequest,
        audit: AuditEntry,
    ) -> Result<Approval, EnrolError> {
        let mut write = self.database.write().await?;
        if let Some(there) = find(&mut write, &request.token, &request.evidence_key).await? {
            return Ok(there);
        }
        let token = tokens::find(&mut write, &request.token).await?;
        let token = token.ok_or(EnrolRefusal::UnknownToken)?;
        if count_pending(&mut write, &token.id).await? >= u64::from(token.uses_left) {
            return Err(EnrolRefusal::TooManyPending.into());
        }
        let id = row::count_up(&mut write, "approvals", 1).await?;
        let sql = "INSERT INTO approvals (id, token_id, evidence_key, hostname, machine, version, \
                   requested_ms, state, decided_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '')";
        sqlx::query(sql)
            .bind(id)
            .bind(&request.token)
            .bind(&request.evidence_key)
            .bind(row::storable(&request.hostname))
            .bind(row::storable(&request.machine))
            .bind(row::storable(&request.version))
            .bind(audit.time_ms)
            .bind(ApprovalState::Pending.word())
            .execute(&mut *write)
            .await?;
        audit::append(&mut write, &audit.with("approval", id.to_string())).await?;
        let made = find_by_id(&mut write, id).await?;
        write.commit().await?;
        Ok(made)
    }

    /// Requests of a scope in this state, or all, newest first; at most 1,000.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn approvals(
        &self,
        state: Option<ApprovalState>,
        scope: &Scope,
    ) -> Result<Vec<Approval>, StoreError> {
        self.approvals_page(state, scope, Older::default()).await
    }

    /// The same, page by page.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn approvals_page(
        &self,
        state: Option<ApprovalState>,
        scope: &Scope,
        page: Older,
    ) -> Result<Vec<Approval>, StoreError> {
        let word = state.map_or("", ApprovalState::word);
        let within = reach::sites("site_id", scope);
        let sql = format!(
            "{}{within}{}",
            select!("WHERE ($1 = '' OR a.state = $1)"),
            page.sql("a.id")
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(word)
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(approval_from).collect()
    }

    /// The request with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn approval(&self, id: i64) -> Result<Option<Approval>, StoreError> {
        let query = sqlx::query(select!("WHERE a.id = $1")).bind(id);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(approval_from)
            .transpose()
    }

    /// Approves or refuses a pending request; the audit entry's actor is who decided. A request that
    /// was decided before stays as it is and is returned.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such request.
    pub async fn decide_approval(
        &self,
        id: i64,
        approve: bool,
        audit: AuditEntry,
    ) -> Result<Approval, StoreError> {
        let mut write = self.database.write().await?;
        let there = find_by_id(&mut write, id).await?;
        if there.state != ApprovalState::Pending {
            return Ok(there);
        }
        let state = if approve {
            ApprovalState::Approved
        } else {
            ApprovalState::Refused
        };
        let sql = "UPDATE approvals SET state = $2, decided_by = $3, decided_ms = $4 WHERE id = $1";
        sqlx::query(sql)
            .bind(id)
            .bind(state.word())
            .bind(row::storable(&audit.actor.to_string()))
            .bind(audit.time_ms)
            .execute(&mut *write)
            .await?;
        audit::append(&mut write, &audit).await?;
        let decided = find_by_id(&mut write, id).await?;
        write.commit().await?;
        Ok(decided)
    }
}

/// The request that this host made with this token.
pub(crate) async fn find(
    write: &mut Write,
    token: &str,
    evidence_key: &str,
) -> Result<Option<Approval>, StoreError> {
    let sql = select!("WHERE a.token_id = $1 AND a.evidence_key = $2");
    let query = sqlx::query(sql).bind(token).bind(evidence_key);
    query
        .fetch_optional(&mut **write)
        .await?
        .as_ref()
        .map(approval_from)
        .transpose()
}

async fn count_pending(write: &mut Write, token: &str) -> Result<u64, StoreError> {
    // The unique key begins with the token: no other token's requests are read.
    let sql = "SELECT COUNT(*) AS count FROM approvals WHERE token_id = $1 AND state = $2";
    let query = sqlx::query(sql)
        .bind(token)
        .bind(ApprovalState::Pending.word());
    row::unsigned(&query.fetch_one(&mut **write).await?, "count")
}

async fn find_by_id(write: &mut Write, id: i64) -> Result<Approval, StoreError> {
    let query = sqlx::query(select!("WHERE a.id = $1")).bind(id);
    let row = query.fetch_optional(&mut **write).await?;
    approval_from(&row.ok_or_else(|| StoreError::NotFound(format!("approval request {id}")))?)
}

/// Notes which host an approved request became.
pub(crate) async fn set_enrolled(
    write: &mut Write,
    id: i64,
    host: HostId,
) -> Result<(), StoreError> {
    let sql = "UPDATE approvals SET state = $2, host_id = $3 WHERE id = $1";
    let query = sqlx::query(sql)
        .bind(id)
        .bind(ApprovalState::Enrolled.word())
        .bind(host.0);
    query.execute(&mut **write).await?;
    Ok(())
}

fn approval_from(row: &AnyRow) -> Result<Approval, StoreError> {
    let state = row::text(row, "state")?;
    let impossible = || StoreError::Impossible(format!("approval state {state:?}"));
    Ok(Approval {
        id: row::number(row, "id")?,
        token: row::text(row, "token_id")?,
        site: SiteId(row::number(row, "site_id")?),
        evidence_key: row::text(row, "evidence_key")?,
        hostname: row::text(row, "hostname")?,
        machine: row::text(row, "machine")?,
        version: row::text(row, "version")?,
        requested_ms: row::number(row, "requested_ms")?,
        state: ApprovalState::from_word(&state).ok_or_else(impossible)?,
        decided_by: row::text(row, "decided_by")?,
        decided_ms: row::optional(row, "decided_ms")?,
        host: row::optional(row, "host_id")?.map(HostId),
    })
}
