//! Writes that their callers named, and what was answered: each is done once however often it comes.
//!
//! What was asked and answered comes and goes sealed; this crate cannot read it.

use sqlx::any::AnyRow;

use crate::row;
use crate::{Store, StoreError};

/// A named request that is known already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRequest {
    /// What was asked and, when it is done, answered; sealed by the controller's key.
    pub sealed: String,
    /// Whether it has been answered.
    pub is_done: bool,
    /// When it was begun, Unix milliseconds.
    pub started_ms: i64,
}

/// What became of the wish to begin a named request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the caller's to do.
    New,
    /// It was begun before.
    Known(NamedRequest),
    /// The account has named too many within their life.
    TooMany,
}

/// One named request to be begun.
#[derive(Debug, Clone, Copy)]
pub struct NewNamedRequest<'a> {
    /// The account that asks.
    pub user: i64,
    /// Digest of the name.
    pub key_hash: &'a str,
    /// What is asked, sealed.
    pub sealed: &'a str,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// When it is forgotten, Unix milliseconds.
    pub expires_ms: i64,
    /// How many of the account are kept at most.
    pub most: i64,
}

impl Store {
    /// Begins a named request, unless it is known; forgets those whose time is over.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin_named_request(&self, new: NewNamedRequest<'_>) -> Result<Begun, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM named_requests WHERE expires_ms <= $1";
        sqlx::query(sql)
            .bind(new.now_ms)
            .execute(&mut *write)
            .await?;
        let sql = "SELECT sealed, done, started_ms FROM named_requests \
                   WHERE user_id = $1 AND key_hash = $2";
        let query = sqlx::query(sql).bind(new.user).bind(new.key_hash);
        if let Some(row) = query.fetch_optional(&mut *write).await? {
            let known = from_row(&row)?;
            write.commit().await?;
            return Ok(Begun::Known(known));
        }
        let sql = "SELECT COUNT(*) AS kept FROM named_requests WHERE user_id = $1";
        let query = sqlx::query(sql).bind(new.user);
        let kept: i64 = row::number(&query.fetch_one(&mut *write).await?, "kept")?;
        if kept >= new.most {
            write.commit().await?;
            return Ok(Begun::TooMany);
        }
        let sql = "INSERT INTO named_requests (user_id, key_hash, sealed, done, started_ms, \
                   expires_ms) VALUES ($1, $2, $3, 0, $4, $5)";
        sqlx::query(sql)
            .bind(new.user)
            .bind(new.key_hash)
            .bind(new.sealed)
            .bind(new.now_ms)
            .bind(new.expires_ms)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(Begun::New)
    }

    /// Keeps the answer of a request that was begun.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn finish_named_request(
        &self,
        user: i64,
        key_hash: &str,
        sealed: &str,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE named_requests SET sealed = $3, done = 1 \
                   WHERE user_id = $1 AND key_hash = $2";
        let query = sqlx::query(sql).bind(user).bind(key_hash).bind(sealed);
        query.execute(&mut *write).await?;
        write.commit().await?;
        Ok(())
    }

    /// Forgets a request that changed nothing: its name is free again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_named_request(&self, user: i64, key_hash: &str) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM named_requests WHERE user_id = $1 AND key_hash = $2 AND done = 0";
        let query = sqlx::query(sql).bind(user).bind(key_hash);
        query.execute(&mut *write).await?;
        write.commit().await?;
        Ok(())
    }
}

fn from_row(row: &AnyRow) -> Result<NamedRequest, StoreError> {
    let done: i64 = row::number(row, "done")?;
    Ok(NamedRequest {
        sealed: row::text(row, "sealed")?,
        is_done: done != 0,
        started_ms: row::number(row, "started_ms")?,
    })
}
