//! Enrolment tokens: made by a person, kept as digests, used up by [`Store::enrol`].

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, EnrolmentToken, Scope, SiteId};

use crate::row::{self, Write};
use crate::sites::must_be_in_use;
use crate::{CursorError, Store, StoreError, audit, reach};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, secret_hash, site_id, uses, uses_left, expires_ms, needs_approval, ",
            "simulated, created_ms, created_by, revoked_ms FROM tokens ",
            $tail
        )
    };
}

/// Where a page of tokens ended. Its text is for addresses: `CREATED_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCursor {
    /// When the page's last token was made, Unix milliseconds.
    pub created_ms: i64,
    /// Its identifier.
    pub id: String,
}

impl From<&EnrolmentToken> for TokenCursor {
    fn from(token: &EnrolmentToken) -> Self {
        Self {
            created_ms: token.created_ms,
            id: token.id.clone(),
        }
    }
}

impl fmt::Display for TokenCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.created_ms, self.id)
    }
}

impl FromStr for TokenCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (created_ms, id) = text.split_once('_').ok_or(CursorError)?;
        Ok(Self {
            created_ms: created_ms.parse().map_err(|_| CursorError)?,
            id: id.to_owned(),
        })
    }
}

impl Store {
    /// Records a new token.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its identifier is taken, [`StoreError::NotFound`] if its site does
    /// not exist.
    pub async fn create_token(
        &self,
        token: &EnrolmentToken,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        must_be_in_use(&mut write, token.site).await?;
        let sql = "INSERT INTO tokens (id, secret_hash, site_id, uses, uses_left, expires_ms, \
                   needs_approval, simulated, created_ms, created_by, revoked_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                   ON CONFLICT (id) DO NOTHING";
        let done = sqlx::query(sql)
            .bind(&token.id)
            .bind(&token.secret_hash)
            .bind(token.site.0)
            .bind(i64::from(token.uses))
            .bind(i64::from(token.uses_left))
            .bind(token.expires_ms)
            .bind(i64::from(token.needs_approval))
            .bind(i64::from(token.simulated))
            .bind(token.created_ms)
            .bind(row::storable(&token.created_by))
            .bind(token.revoked_ms)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists(format!("token {}", token.id)));
        }
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }

    /// The token with this identifier. The caller compares the secret's digest in constant time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn token(&self, id: &str) -> Result<Option<EnrolmentToken>, StoreError> {
        let query = sqlx::query(select!("WHERE id = $1")).bind(row::storable(id));
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(token_from)
            .transpose()
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tokens(&self) -> Result<Vec<EnrolmentToken>, StoreError> {
        let query = sqlx::query(select!("ORDER BY created_ms DESC, id"));
        query
            .fetch_all(self.database.read())
            .await?
            .iter()
            .map(token_from)
            .collect()
    }

    /// Tokens for sites of a scope, newest first, page by page.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tokens_page(
        &self,
        scope: &Scope,
        after: Option<&TokenCursor>,
        limit: u32,
    ) -> Result<Vec<EnrolmentToken>, StoreError> {
        let within = reach::sites("site_id", scope);
        let sql = format!(
            "{}{within} ORDER BY created_ms DESC, id LIMIT {}",
            select!("WHERE (created_ms < $1 OR (created_ms = $1 AND id > $2))"),
            limit.min(1000)
        );
        let (created_ms, id) = after.map_or((i64::MAX, ""), |at| (at.created_ms, &at.id));
        let query = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(created_ms)
            .bind(row::storable(id));
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// Withdraws a token; hosts that enrolled with it stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such token.
    pub async fn revoke_token(&self, id: &str, audit: AuditEntry) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE tokens SET revoked_ms = COALESCE(revoked_ms, $2) WHERE id = $1";
        let done = sqlx::query(sql)
            .bind(row::storable(id))
            .bind(audit.time_ms)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("token {id}")));
        }
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// The token with this identifier, as the transaction sees it.
pub(crate) async fn find(
    write: &mut Write,
    id: &str,
) -> Result<Option<EnrolmentToken>, StoreError> {
    let query = sqlx::query(select!("WHERE id = $1")).bind(row::storable(id));
    query
        .fetch_optional(&mut **write)
        .await?
        .as_ref()
        .map(token_from)
        .transpose()
}

/// Takes one use off; tells whether there was one.
pub(crate) async fn use_once(write: &mut Write, id: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE tokens SET uses_left = uses_left - 1 WHERE id = $1 AND uses_left > 0";
    Ok(sqlx::query(sql)
        .bind(id)
        .execute(&mut **write)
        .await?
        .rows_affected()
        > 0)
}

fn token_from(row: &AnyRow) -> Result<EnrolmentToken, StoreError> {
    let small = |column: &str| {
        let value = row::number(row, column)?;
        u32::try_from(value).map_err(|_| StoreError::Impossible(format!("{column} = {value}")))
    };
    Ok(EnrolmentToken {
        id: row::text(row, "id")?,
        secret_hash: row::text(row, "secret_hash")?,
        site: SiteId(row::number(row, "site_id")?),
        uses: small("uses")?,
        uses_left: small("uses_left")?,
        expires_ms: row::number(row, "expires_ms")?,
        needs_approval: row::truth(row, "needs_approval")?,
        simulated: row::truth(row, "simulated")?,
        created_ms: row::number(row, "created_ms")?,
        created_by: row::text(row, "created_by")?,
        revoked_ms: row::optional(row, "revoked_ms")?,
    })
}
