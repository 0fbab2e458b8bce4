//! Hosts after their enrolment.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, Host, HostId, SiteId};

use crate::row::{self, Write};
use crate::{Store, StoreError, audit, revocations};

/// When a host was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// Which host.
    pub host: HostId,
    /// Time of its last live report by the controller's clock, Unix milliseconds.
    pub time_ms: i64,
}

/// Rows of one statement: more make it longer to prepare, not faster to run.
const ROWS_PER_STATEMENT: usize = 64;

macro_rules! select_host {
    ($tail:literal) => {
        concat!(
            "SELECT h.id, h.site_id, h.hostname, h.machine, h.enrolled_ms, h.revoked_ms, ",
            "h.evidence_key, h.policy_root, h.simulated, h.version, h.epoch, ",
            "h.session_confirmed, h.session_issued, h.identity_conflict_ms, ",
            "h.certificate_expires_s, COALESCE(s.last_seen_ms, 0) AS last_seen_ms ",
            "FROM hosts h LEFT JOIN host_seen s ON s.host_id = h.id ",
            $tail
        )
    };
}
pub(crate) use select_host;

impl Store {
    /// All hosts, revoked ones too, by number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let query = sqlx::query(select_host!("ORDER BY h.id"));
        query
            .fetch_all(self.database.read())
            .await?
            .iter()
            .map(host_from)
            .collect()
    }

    /// The host with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn host(&self, id: HostId) -> Result<Option<Host>, StoreError> {
        let query = sqlx::query(select_host!("WHERE h.id = $1")).bind(id.0);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(host_from)
            .transpose()
    }

    /// Notes when hosts were last heard of, all in one transaction. A time before the one on record
    /// changes nothing.
    ///
    /// # Errors
    /// If the database fails, or one of the hosts does not exist; then nothing is noted.
    pub async fn set_last_seen(&self, seen: &[LastSeen]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut write = self.database.write().await?;
        for some in seen.chunks(ROWS_PER_STATEMENT) {
            let values = row::placeholders(some.len(), 2);
            let sql = format!(
                "INSERT INTO host_seen (host_id, last_seen_ms) VALUES {values} \
                 ON CONFLICT (host_id) DO UPDATE SET last_seen_ms = excluded.last_seen_ms \
                 WHERE excluded.last_seen_ms > host_seen.last_seen_ms"
            );
            let query = sqlx::query(AssertSqlSafe(sql));
            let query = some
                .iter()
                .fold(query, |query, s| query.bind(s.host.0).bind(s.time_ms));
            query.execute(&mut *write).await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Revokes a host with all its certificates, and returns the number of the change (see
    /// [`Store::revocations_since`]). Doing it again keeps the first time and makes a new change
    /// number, so that a controller which missed the first acts on the second.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such host.
    pub async fn revoke_host(
        &self,
        id: HostId,
        reason: &str,
        audit: AuditEntry,
    ) -> Result<i64, StoreError> {
        let mut write = self.database.write().await?;
        let now_ms = audit.time_ms;
        let sql = "UPDATE hosts SET revoked_ms = COALESCE(revoked_ms, $2) WHERE id = $1";
        let done = sqlx::query(sql)
            .bind(id.0)
            .bind(now_ms)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("host {id}")));
        }
        let sql =
            "UPDATE certificates SET revoked_ms = $2 WHERE host_id = $1 AND revoked_ms IS NULL";
        sqlx::query(sql)
            .bind(id.0)
            .bind(now_ms)
            .execute(&mut *write)
            .await?;
        let change = revocations::append(&mut write, id, None, now_ms, reason).await?;
        audit::append(&mut write, &audit.with("reason", reason)).await?;
        write.commit().await?;
        Ok(change)
    }

    /// A person has looked at the mark "rolled back or cloned" and takes it off.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such host.
    pub async fn settle_identity_conflict(
        &self,
        id: HostId,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE hosts SET identity_conflict_ms = NULL WHERE id = $1";
        let done = sqlx::query(sql).bind(id.0).execute(&mut *write).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("host {id}")));
        }
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// The host with this number, as the transaction sees it.
pub(crate) async fn find(write: &mut Write, id: HostId) -> Result<Option<Host>, StoreError> {
    let query = sqlx::query(select_host!("WHERE h.id = $1")).bind(id.0);
    query
        .fetch_optional(&mut **write)
        .await?
        .as_ref()
        .map(host_from)
        .transpose()
}

pub(crate) fn host_from(row: &AnyRow) -> Result<Host, StoreError> {
    Ok(Host {
        id: HostId(row::number(row, "id")?),
        site: SiteId(row::number(row, "site_id")?),
        hostname: row::text(row, "hostname")?,
        machine: row::text(row, "machine")?,
        enrolled_ms: row::number(row, "enrolled_ms")?,
        revoked_ms: row::optional(row, "revoked_ms")?,
        evidence_key: row::text(row, "evidence_key")?,
        policy_root: row::text(row, "policy_root")?,
        simulated: row::truth(row, "simulated")?,
        version: row::text(row, "version")?,
        epoch: row::unsigned(row, "epoch")?,
        session_confirmed: row::text(row, "session_confirmed")?,
        session_issued: row::text(row, "session_issued")?,
        identity_conflict_ms: row::optional(row, "identity_conflict_ms")?,
        last_seen_ms: row::number(row, "last_seen_ms")?,
        certificate_expires_s: row::number(row, "certificate_expires_s")?,
    })
}
