//! Tokens of programs: made and withdrawn by a person, found by their secret's digest.

use sqlx::any::AnyRow;
use xiezhi_model::{ApiRight, ApiToken, AuditEntry, SiteId};

use crate::sites::must_be_in_use;
use crate::{Older, Store, StoreError, audit, authority, row};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, rights, site_id, created_ms, created_by, expires_ms, revoked_ms ",
            "FROM api_tokens ",
            $tail
        )
    };
}

/// A token that is not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiToken {
    /// What a person called it.
    pub name: String,
    /// Digest of its secret, as the identity crate makes it.
    pub secret_hash: String,
    /// What it may do.
    pub right: ApiRight,
    /// Its site; `None` is the whole province.
    pub site: Option<SiteId>,
    /// When it ends, Unix milliseconds.
    pub expires_ms: i64,
}

impl Store {
    /// Records a new token, made by the audit entry's actor at its time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if its site does not exist.
    pub async fn create_api_token(
        &self,
        token: &NewApiToken,
        audit: AuditEntry,
    ) -> Result<ApiToken, StoreError> {
        let mut write = self.database.write().await?;
        if let Some(site) = token.site {
            must_be_in_use(&mut write, site).await?;
        }
        let made = ApiToken {
            id: row::count_up(&mut write, "api_tokens", 1).await?,
            name: row::storable(&token.name),
            right: token.right,
            site: token.site,
            created_ms: audit.time_ms,
            created_by: audit.actor.to_string(),
            expires_ms: token.expires_ms,
            revoked_ms: None,
        };
        let sql = "INSERT INTO api_tokens (id, name, secret_hash, rights, site_id, created_ms, \
                   created_by, expires_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        sqlx::query(sql)
            .bind(made.id)
            .bind(&made.name)
            .bind(&token.secret_hash)
            .bind(made.right.word())
            .bind(made.site.map(|site| site.0))
            .bind(made.created_ms)
            .bind(row::storable(&made.created_by))
            .bind(made.expires_ms)
            .execute(&mut *write)
            .await?;
        let audit = AuditEntry {
            subject: format!("api-token:{}", made.id),
            ..audit
        };
        authority::count(&mut write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(made)
    }

    /// The token whose secret has this digest, be it valid or not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_token_by_hash(
        &self,
        secret_hash: &str,
    ) -> Result<Option<ApiToken>, StoreError> {
        let query = sqlx::query(select!("WHERE secret_hash = $1")).bind(secret_hash);
        let row = query.fetch_optional(self.database.read()).await?;
        row.as_ref().map(token_from).transpose()
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let query = sqlx::query(select!("ORDER BY id DESC"));
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// Tokens, newest first, page by page.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_tokens_page(&self, page: Older) -> Result<Vec<ApiToken>, StoreError> {
        let sql = format!("{}{}", select!("WHERE 1 = 1"), page.sql("id"));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// Withdraws a token; samples that came with it stay. Once withdrawn, it stays as it was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such token.
    pub async fn revoke_api_token(&self, id: i64, audit: AuditEntry) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE api_tokens SET revoked_ms = COALESCE(revoked_ms, $2) WHERE id = $1";
        let done = sqlx::query(sql).bind(id).bind(audit.time_ms);
        if done.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("API token {id}")));
        }
        authority::count(&mut write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

fn token_from(row: &AnyRow) -> Result<ApiToken, StoreError> {
    let right = row::text(row, "rights")?;
    Ok(ApiToken {
        id: row::number(row, "id")?,
        name: row::text(row, "name")?,
        right: ApiRight::from_word(&right)
            .ok_or_else(|| StoreError::Impossible(format!("rights = {right}")))?,
        site: row::optional(row, "site_id")?.map(SiteId),
        created_ms: row::number(row, "created_ms")?,
        created_by: row::text(row, "created_by")?,
        expires_ms: row::number(row, "expires_ms")?,
        revoked_ms: row::optional(row, "revoked_ms")?,
    })
}
