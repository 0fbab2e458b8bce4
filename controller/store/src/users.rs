//! People who sign in.

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, Role, User};

use crate::row;
use crate::{Store, StoreError, audit};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, name, role, password_hash, created_ms, password_changed_ms FROM users ",
            $tail
        )
    };
}

impl Store {
    /// Makes an account; `password_hash` is in PHC form.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the name is taken.
    pub async fn create_user(
        &self,
        name: &str,
        role: Role,
        password_hash: &str,
        audit: AuditEntry,
    ) -> Result<User, StoreError> {
        let mut write = self.database.write().await?;
        let user = User {
            id: row::count_up(&mut write, "users", 1).await?,
            name: row::storable(name),
            role,
            password_hash: password_hash.to_owned(),
            created_ms: audit.time_ms,
            password_changed_ms: audit.time_ms,
        };
        let sql = "INSERT INTO users (id, name, role, password_hash, created_ms, \
                   password_changed_ms) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (name) DO NOTHING";
        let done = sqlx::query(sql)
            .bind(user.id)
            .bind(&user.name)
            .bind(user.role.word())
            .bind(&user.password_hash)
            .bind(user.created_ms)
            .bind(user.password_changed_ms)
            .execute(&mut *write)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists(format!("user {name:?}")));
        }
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(user)
    }

    /// All accounts, by number.
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

    /// Sets a new password and ends all the user's sessions.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user.
    pub async fn set_password(
        &self,
        user: i64,
        password_hash: &str,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE users SET password_hash = $2, password_changed_ms = $3 WHERE id = $1";
        let query = sqlx::query(sql)
            .bind(user)
            .bind(password_hash)
            .bind(audit.time_ms);
        if query.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("user {user}")));
        }
        let sql = "DELETE FROM web_sessions WHERE user_id = $1";
        sqlx::query(sql).bind(user).execute(&mut *write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

pub(crate) fn user_from(row: &AnyRow) -> Result<User, StoreError> {
    let role = row::text(row, "role")?;
    let impossible = || StoreError::Impossible(format!("role {role:?}"));
    Ok(User {
        id: row::number(row, "id")?,
        name: row::text(row, "name")?,
        role: Role::from_word(&role).ok_or_else(impossible)?,
        password_hash: row::text(row, "password_hash")?,
        created_ms: row::number(row, "created_ms")?,
        password_changed_ms: row::number(row, "password_changed_ms")?,
    })
}
