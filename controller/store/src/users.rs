//! People who sign in.

use sqlx::any::AnyRow;
use xiezhi_model::{Account, AuditEntry, Grants, SiteId, User};

use crate::accounts::{insert_grants, insert_tie};
use crate::authority;
use crate::row::{self, Write};
use crate::sites::must_be_in_use;
use crate::{AccountError, Store, StoreError, audit};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, display_name, home_site_id, password_hash, password_once, ",
            "created_ms, password_changed_ms, disabled_ms FROM users ",
            $tail
        )
    };
}

/// An account to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Name to sign in with.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// Where it belongs; `None` is the province.
    pub home: Option<SiteId>,
    /// Password digest in PHC form.
    pub password_hash: String,
    /// Whether the password is for setting an own one only.
    pub password_once: bool,
    /// What it may do from the start.
    pub grants: Grants,
}

impl Store {
    /// Makes an account; `by` is who makes it, `None` for the console.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken; [`AccountError::Grants`] if the roles exclude one
    /// another.
    pub async fn create_user(
        &self,
        new: &NewUser,
        by: Option<i64>,
        audit: AuditEntry,
    ) -> Result<Account, AccountError> {
        new.grants.check()?;
        let mut write = self.database.write().await?;
        let user = User {
            id: row::count_up(&mut write, "users", 1).await?,
            name: row::storable(&new.name),
            display_name: row::storable(&new.display_name),
            home: new.home,
            password_hash: new.password_hash.clone(),
            password_once: new.password_once,
            created_ms: audit.time_ms,
            password_changed_ms: audit.time_ms,
            disabled_ms: None,
        };
        if let Some(home) = user.home {
            must_be_in_use(&mut write, home).await?;
        }
        insert(&mut write, &user).await?;
        insert_grants(&mut write, user.id, &new.grants, &audit).await?;
        if let Some(by) = by {
            insert_tie(&mut write, user.id, by, audit.time_ms).await?;
        }
        authority::count(&mut write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(Account {
            user,
            grants: new.grants.clone(),
        })
    }

    /// All accounts without their roles, by number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(select!("ORDER BY id"))
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(user_from).collect()
    }

    /// The account with this name.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let query = sqlx::query(select!("WHERE name = $1")).bind(row::storable(name));
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(user_from)
            .transpose()
    }

    /// The account with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user(&self, id: i64) -> Result<Option<User>, StoreError> {
        let query = sqlx::query(select!("WHERE id = $1")).bind(id);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(user_from)
            .transpose()
    }

    /// Sets the password that its owner chose; all the user's sessions end, and tokens that act for it. `proved` is the one that
    /// the owner proved to know, as it is kept.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::PasswordChanged`] if the proof
    /// is of an older password.
    pub async fn set_password(
        &self,
        user: i64,
        password_hash: &str,
        proved: Option<&str>,
        mut audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, user, proved).await?;
        set_hash(&mut write, user, password_hash, false, audit.time_ms).await?;
        end_sessions(&mut write, user).await?;
        // Who knew the old one may have made some.
        crate::api_tokens::revoke_of(&mut write, user, None, &mut audit).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// That the account's password is still the one that a request rests on: checking takes a moment, in which
/// somebody may have made it void.
pub(crate) async fn require_password(
    write: &mut Write,
    user: i64,
    proved: Option<&str>,
) -> Result<(), StoreError> {
    let Some(proved) = proved else { return Ok(()) };
    let sql = "SELECT 1 AS one FROM users WHERE id = $1 AND password_hash = $2";
    let query = sqlx::query(sql).bind(user).bind(proved);
    match query.fetch_optional(&mut **write).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::PasswordChanged),
    }
}

async fn insert(write: &mut Write, user: &User) -> Result<(), StoreError> {
    let sql = "INSERT INTO users (id, name, display_name, home_site_id, password_hash, \
               password_once, created_ms, password_changed_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(user.id)
        .bind(&user.name)
        .bind(&user.display_name)
        .bind(user.home.map(|site| site.0))
        .bind(&user.password_hash)
        .bind(i64::from(user.password_once))
        .bind(user.created_ms)
        .bind(user.password_changed_ms)
        .execute(&mut **write)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Exists(format!("user {:?}", user.name)));
    }
    Ok(())
}

/// Writes a password's digest; `once` if it is for setting an own one only.
pub(crate) async fn set_hash(
    write: &mut Write,
    user: i64,
    hash: &str,
    once: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = $2, password_once = $3, password_changed_ms = $4 \
               WHERE id = $1";
    let query = sqlx::query(sql)
        .bind(user)
        .bind(hash)
        .bind(i64::from(once))
        .bind(now_ms);
    if query.execute(&mut **write).await?.rows_affected() == 0 {
        return Err(StoreError::NotFound(format!("user {user}")));
    }
    Ok(())
}

/// Ends all the user's sessions.
pub(crate) async fn end_sessions(write: &mut Write, user: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM web_sessions WHERE user_id = $1";
    sqlx::query(sql).bind(user).execute(&mut **write).await?;
    authority::count(write).await
}

/// The account with this number, within a transaction.
pub(crate) async fn find(write: &mut Write, id: i64) -> Result<User, StoreError> {
    let query = sqlx::query(select!("WHERE id = $1")).bind(id);
    let row = query.fetch_optional(&mut **write).await?;
    user_from(&row.ok_or_else(|| StoreError::NotFound(format!("user {id}")))?)
}

/// All accounts without their roles, within a transaction.
pub(crate) async fn all(write: &mut Write) -> Result<Vec<User>, StoreError> {
    let query = sqlx::query(select!("ORDER BY id"));
    let rows = query.fetch_all(&mut **write).await?;
    rows.iter().map(user_from).collect()
}

pub(crate) fn user_from(row: &AnyRow) -> Result<User, StoreError> {
    Ok(User {
        id: row::number(row, "id")?,
        name: row::text(row, "name")?,
        display_name: row::text(row, "display_name")?,
        home: row::optional(row, "home_site_id")?.map(SiteId),
        password_hash: row::text(row, "password_hash")?,
        password_once: row::truth(row, "password_once")?,
        created_ms: row::number(row, "created_ms")?,
        password_changed_ms: row::number(row, "password_changed_ms")?,
        disabled_ms: row::optional(row, "disabled_ms")?,
    })
}
