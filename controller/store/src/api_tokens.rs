//! Tokens of programs: made and withdrawn by a person, found by their secret's digest.

use sqlx::any::AnyRow;
use xiezhi_model::{ApiRight, ApiToken, AuditEntry, OnBehalf, Role, SiteId};

use crate::accounts::grants_of;
use crate::row::Write;
use crate::sites::must_be_in_use;
use crate::users::require_password;
use crate::{Older, Store, StoreError, audit, authority, row, users};

/// Tokens that an account has at one time for programs that act for it.
const MOST_OWN: usize = 20;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, rights, site_id, created_ms, created_by, expires_ms, revoked_ms, ",
            "user_id, role, last_used_ms, last_used_from ",
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

/// Which tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiTokenQuery {
    /// Only those that act for the account with this number.
    pub user: Option<i64>,
    /// Only those that were neither withdrawn nor over at this time, Unix milliseconds.
    pub valid_at_ms: Option<i64>,
}

/// Why an account could not make a token for itself.
#[derive(Debug, thiserror::Error)]
pub enum OwnTokenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another one that is valid has the name.
    #[error(
        "this account has a token of that name already: give it another name, or withdraw that one"
    )]
    SameName,
    /// It has as many as an account may have.
    #[error(
        "an account has {MOST_OWN} tokens at most at one time: withdraw one that is not needed"
    )]
    TooMany,
    /// The role was taken away meanwhile.
    #[error("this account does not hold that role")]
    RoleGone,
}

impl From<sqlx::Error> for OwnTokenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
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
        let made = insert(&mut write, token, None, audit).await?;
        write.commit().await?;
        Ok(made)
    }

    /// Records a token that acts for the account that makes it. `proved` is the account's password as it is
    /// kept, which was proved.
    ///
    /// # Errors
    /// [`OwnTokenError`] names what is in the way; [`StoreError::PasswordChanged`] if the password is not the
    /// account's any more.
    pub async fn create_own_api_token(
        &self,
        token: &NewApiToken,
        on_behalf: OnBehalf,
        proved: &str,
        audit: AuditEntry,
    ) -> Result<ApiToken, OwnTokenError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, on_behalf.user, Some(proved)).await?;
        if users::find(&mut write, on_behalf.user)
            .await?
            .disabled_ms
            .is_some()
        {
            return Err(StoreError::PasswordChanged.into());
        }
        let held = grants_of(&mut write, on_behalf.user).await?;
        if !held.iter().any(|grant| grant.role == on_behalf.role) {
            return Err(OwnTokenError::RoleGone);
        }
        let sql = "SELECT name FROM api_tokens WHERE user_id = $1 AND revoked_ms IS NULL \
                   AND expires_ms > $2";
        let query = sqlx::query(sql).bind(on_behalf.user).bind(audit.time_ms);
        let rows = query.fetch_all(&mut *write).await?;
        if rows.len() >= MOST_OWN {
            return Err(OwnTokenError::TooMany);
        }
        for row in &rows {
            if row::text(row, "name")? == row::storable(&token.name) {
                return Err(OwnTokenError::SameName);
            }
        }
        let made = insert(&mut write, token, Some(on_behalf), audit).await?;
        write.commit().await?;
        Ok(made)
    }

    /// Tokens that act for an account, newest first, those that have ended too.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn own_api_tokens(
        &self,
        user: i64,
        page: Older,
    ) -> Result<Vec<ApiToken>, StoreError> {
        let sql = format!("{}{}", select!("WHERE user_id = $1"), page.sql("id"));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let rows = query.bind(user).fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// Withdraws a token that acts for this account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it has none of this number.
    pub async fn revoke_own_api_token(
        &self,
        user: i64,
        id: i64,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE api_tokens SET revoked_ms = COALESCE(revoked_ms, $3) \
                   WHERE id = $1 AND user_id = $2";
        let done = sqlx::query(sql).bind(id).bind(user).bind(audit.time_ms);
        if done.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("API token {id} of yours")));
        }
        authority::count(&mut write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
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

    /// Tokens that the query finds, newest first, page by page.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_tokens_page(
        &self,
        wanted: ApiTokenQuery,
        page: Older,
    ) -> Result<Vec<ApiToken>, StoreError> {
        let sql = format!(
            "{}{}",
            select!(
                "WHERE (user_id = $1 OR $1 = 0) \
                 AND ((revoked_ms IS NULL AND expires_ms > $2) OR $2 = 0)"
            ),
            page.sql("id")
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let query = query.bind(wanted.user.unwrap_or(0));
        let query = query.bind(wanted.valid_at_ms.unwrap_or(0));
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// The token with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_token(&self, id: i64) -> Result<Option<ApiToken>, StoreError> {
        let query = sqlx::query(select!("WHERE id = $1")).bind(id);
        let row = query.fetch_optional(self.database.read()).await?;
        row.as_ref().map(token_from).transpose()
    }

    /// Valid tokens that act for accounts, of everybody's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn acting_api_tokens(&self, now_ms: i64) -> Result<Vec<ApiToken>, StoreError> {
        let query = sqlx::query(select!(
            "WHERE user_id IS NOT NULL AND revoked_ms IS NULL AND expires_ms > $1"
        ));
        let rows = query.bind(now_ms).fetch_all(self.database.read()).await?;
        rows.iter().map(token_from).collect()
    }

    /// Notes that a program came with a token. Not for every request: once a minute is enough.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn touch_api_token(
        &self,
        id: i64,
        now_ms: i64,
        from: &str,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE api_tokens SET last_used_ms = $2, last_used_from = $3 WHERE id = $1";
        let query = sqlx::query(sql).bind(id).bind(now_ms);
        let query = query.bind(row::storable(from));
        query.execute(&mut *write).await?;
        write.commit().await?;
        Ok(())
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

async fn insert(
    write: &mut Write,
    token: &NewApiToken,
    on_behalf: Option<OnBehalf>,
    audit: AuditEntry,
) -> Result<ApiToken, StoreError> {
    if let Some(site) = token.site {
        must_be_in_use(write, site).await?;
    }
    let made = ApiToken {
        id: row::count_up(write, "api_tokens", 1).await?,
        name: row::storable(&token.name),
        right: token.right,
        site: token.site,
        created_ms: audit.time_ms,
        created_by: audit.actor.to_string(),
        expires_ms: token.expires_ms,
        revoked_ms: None,
        last_used_ms: None,
        last_used_from: String::new(),
        on_behalf,
    };
    let sql = "INSERT INTO api_tokens (id, name, secret_hash, rights, site_id, created_ms, \
               created_by, expires_ms, user_id, role) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    sqlx::query(sql)
        .bind(made.id)
        .bind(&made.name)
        .bind(&token.secret_hash)
        .bind(made.right.word())
        .bind(made.site.map(|site| site.0))
        .bind(made.created_ms)
        .bind(row::storable(&made.created_by))
        .bind(made.expires_ms)
        .bind(on_behalf.map(|one| one.user))
        .bind(on_behalf.map_or("", |one| one.role.word()))
        .execute(&mut **write)
        .await?;
    let audit = AuditEntry {
        subject: format!("api-token:{}", made.id),
        ..audit
    };
    authority::count(write).await?;
    audit::append(write, &audit).await?;
    Ok(made)
}

/// Withdraws the tokens that act for an account, those under one role or all of them, because of what the
/// entry is about, which says then how many they were.
pub(crate) async fn revoke_of(
    write: &mut Write,
    user: i64,
    role: Option<Role>,
    audit: &mut AuditEntry,
) -> Result<(), StoreError> {
    let sql = "UPDATE api_tokens SET revoked_ms = $3 WHERE user_id = $1 AND revoked_ms IS NULL \
               AND (role = $2 OR $2 = '')";
    let done = sqlx::query(sql)
        .bind(user)
        .bind(role.map_or("", Role::word))
        .bind(audit.time_ms)
        .execute(&mut **write)
        .await?;
    let number = done.rows_affected();
    if number > 0 {
        audit.detail.insert("tokens".to_owned(), number.to_string());
    }
    authority::count(write).await
}

fn token_from(row: &AnyRow) -> Result<ApiToken, StoreError> {
    let right = row::text(row, "rights")?;
    let role = row::text(row, "role")?;
    let on_behalf = match row::optional(row, "user_id")? {
        None => None,
        Some(user) => Some(OnBehalf {
            user,
            role: Role::from_word(&role)
                .ok_or_else(|| StoreError::Impossible(format!("role = {role}")))?,
        }),
    };
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
        last_used_ms: row::optional(row, "last_used_ms")?,
        last_used_from: row::text(row, "last_used_from")?,
        on_behalf,
    })
}
