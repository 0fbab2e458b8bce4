//! Browser sessions, kept as digests of their identifiers.

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, User, WebSession};

use crate::row::{self, Write};
use crate::users::{require_password, user_from};
use crate::{Store, StoreError, audit, authority};

/// So often one may end another's sessions within [`OFTEN_MS`].
const OFTEN: i64 = 2;
const OFTEN_MS: i64 = 86_400_000;

/// What became of ending another's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsEnded {
    /// So many ended.
    Ended(u64),
    /// The same person did it twice within a day; this many milliseconds until once more.
    TooOften(i64),
}

impl Store {
    /// Records a session that just began with the password that is kept as `proved`.
    ///
    /// # Errors
    /// [`StoreError::PasswordChanged`] if it is not the account's any more, or if the database fails.
    pub async fn create_web_session(
        &self,
        session: &WebSession,
        proved: Option<&str>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, session.user, proved).await?;
        let sql = "INSERT INTO web_sessions (id_hash, user_id, created_ms, last_used_ms, \
                   expires_ms, address, browser) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(sql)
            .bind(&session.id_hash)
            .bind(session.user)
            .bind(session.created_ms)
            .bind(session.last_used_ms)
            .bind(session.expires_ms)
            .bind(row::storable(&session.address))
            .bind(row::storable(&session.browser))
            .execute(&mut *write)
            .await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }

    /// The session with this digest and its user, unless it has ended by `now_ms`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn web_session(
        &self,
        id_hash: &str,
        now_ms: i64,
    ) -> Result<Option<(WebSession, User)>, StoreError> {
        let sql = "SELECT u.id, u.name, u.display_name, u.home_site_id, u.password_hash, \
                   u.password_once, u.created_ms, u.password_changed_ms, u.disabled_ms, w.id_hash, w.created_ms AS began_ms, w.last_used_ms, \
                   w.expires_ms, w.address, w.browser FROM web_sessions w JOIN users u ON u.id = w.user_id \
                   WHERE w.id_hash = $1 AND w.expires_ms > $2 AND u.disabled_ms IS NULL";
        let query = sqlx::query(sql).bind(row::storable(id_hash)).bind(now_ms);
        let row = query.fetch_optional(self.database.read()).await?;
        row.as_ref()
            .map(|row| Ok((session_from(row)?, user_from(row)?)))
            .transpose()
    }

    /// Notes that a session was used. Not for every request: once a minute is enough.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn touch_web_session(&self, id_hash: &str, now_ms: i64) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE web_sessions SET last_used_ms = $2 WHERE id_hash = $1";
        sqlx::query(sql)
            .bind(id_hash)
            .bind(now_ms)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(())
    }

    /// Sessions of an account that have not ended by `now_ms`, the last used first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn web_sessions_of(
        &self,
        user: i64,
        now_ms: i64,
    ) -> Result<Vec<WebSession>, StoreError> {
        let sql = "SELECT id_hash, user_id AS id, created_ms AS began_ms, last_used_ms, \
                   expires_ms, address, browser FROM web_sessions \
                   WHERE user_id = $1 AND expires_ms > $2 ORDER BY last_used_ms DESC, id_hash";
        let query = sqlx::query(sql).bind(user).bind(now_ms);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(session_from).collect()
    }

    /// Ends all sessions of an account but the one with the digest `kept`, where there is one; returns
    /// how many. Where there was none, nothing happened and nothing is audited.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_web_sessions(
        &self,
        user: i64,
        kept: &str,
        audit: AuditEntry,
    ) -> Result<u64, StoreError> {
        let mut write = self.database.write().await?;
        let ended = end_others(&mut write, user, kept).await?;
        if ended == 0 {
            return Ok(0);
        }
        audit::append(&mut write, &audit.with("count", ended.to_string())).await?;
        write.commit().await?;
        Ok(ended)
    }

    /// Ends all sessions of another's account: at most twice a day by the same actor, so that it keeps
    /// nobody out. Counted in the audit log, whichever process ended them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions_of_other(
        &self,
        user: i64,
        audit: AuditEntry,
    ) -> Result<SessionsEnded, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "SELECT time_ms FROM audit WHERE subject = $1 AND actor = $2 AND action = $3 \
                   AND time_ms > $4 ORDER BY seq DESC LIMIT $5";
        let query = sqlx::query(sql)
            .bind(row::storable(&audit.subject))
            .bind(row::storable(&audit.actor.to_string()))
            .bind(row::storable(&audit.action))
            .bind(audit.time_ms.saturating_sub(OFTEN_MS))
            .bind(OFTEN);
        let rows = query.fetch_all(&mut *write).await?;
        if rows.len() as i64 >= OFTEN
            && let Some(oldest) = rows.last()
        {
            let again_ms = row::number(oldest, "time_ms")?.saturating_add(OFTEN_MS);
            return Ok(SessionsEnded::TooOften(
                again_ms.saturating_sub(audit.time_ms),
            ));
        }
        let ended = end_others(&mut write, user, "").await?;
        if ended > 0 {
            audit::append(&mut write, &audit.with("count", ended.to_string())).await?;
            write.commit().await?;
        }
        Ok(SessionsEnded::Ended(ended))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// If the database fails. A session that is not there has ended: no error.
    pub async fn delete_web_session(
        &self,
        id_hash: &str,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM web_sessions WHERE id_hash = $1";
        let done = sqlx::query(sql).bind(id_hash).execute(&mut *write).await?;
        if done.rows_affected() > 0 {
            authority::count(&mut write).await?;
            audit::append(&mut write, &audit).await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Removes sessions that have ended by `now_ms`; returns how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_expired_web_sessions(&self, now_ms: i64) -> Result<u64, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM web_sessions WHERE expires_ms <= $1";
        let done = sqlx::query(sql).bind(now_ms).execute(&mut *write).await?;
        write.commit().await?;
        Ok(done.rows_affected())
    }
}

/// Ends all sessions of an account but one; returns how many.
pub(crate) async fn end_others(
    write: &mut Write,
    user: i64,
    kept: &str,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM web_sessions WHERE user_id = $1 AND id_hash <> $2";
    let query = sqlx::query(sql).bind(user).bind(row::storable(kept));
    let ended = query.execute(&mut **write).await?.rows_affected();
    authority::count(write).await?;
    Ok(ended)
}

fn session_from(row: &AnyRow) -> Result<WebSession, StoreError> {
    Ok(WebSession {
        id_hash: row::text(row, "id_hash")?,
        user: row::number(row, "id")?,
        created_ms: row::number(row, "began_ms")?,
        last_used_ms: row::number(row, "last_used_ms")?,
        expires_ms: row::number(row, "expires_ms")?,
        address: row::text(row, "address")?,
        browser: row::text(row, "browser")?,
    })
}
