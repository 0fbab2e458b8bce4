//! Second factors: the sealed secret of an authenticator app, and codes for when the phone is lost.
//!
//! The secret comes and goes sealed; this crate cannot read it.

use xiezhi_model::AuditEntry;

use crate::row::{self, Write};
use crate::users::require_password;
use crate::{Store, StoreError, audit, web_sessions};

/// What is kept of an account's second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The secret, sealed by the controller's key.
    pub sealed: String,
    /// When its owner proved to have it, Unix milliseconds; before that it asks nobody for a code.
    pub confirmed_ms: Option<i64>,
    /// The last time step whose code was used.
    pub last_step: i64,
}

impl Store {
    /// The second factor of an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn second_factor(&self, user: i64) -> Result<Option<StoredFactor>, StoreError> {
        let sql = "SELECT sealed, confirmed_ms, last_step FROM second_factors WHERE user_id = $1";
        let query = sqlx::query(sql).bind(user);
        let row = query.fetch_optional(self.database.read()).await?;
        let factor = row.as_ref().map(|row| {
            Ok(StoredFactor {
                sealed: row::text(row, "sealed")?,
                confirmed_ms: row::optional(row, "confirmed_ms")?,
                last_step: row::number(row, "last_step")?,
            })
        });
        factor.transpose()
    }

    /// Numbers of the accounts whose second factor is in use.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users_with_second_factor(&self) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT user_id FROM second_factors WHERE confirmed_ms IS NOT NULL";
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        rows.iter().map(|row| row::number(row, "user_id")).collect()
    }

    /// Keeps a new secret until its owner proves to have it. One that is in use stays.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if one is in use, [`StoreError::PasswordChanged`] if `proved` is an older
    /// password.
    pub async fn offer_second_factor(
        &self,
        user: i64,
        sealed: &str,
        proved: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, user, proved).await?;
        let sql = "INSERT INTO second_factors (user_id, sealed, created_ms, last_step) \
                   VALUES ($1, $2, $3, 0) ON CONFLICT (user_id) DO UPDATE SET \
                   sealed = excluded.sealed, created_ms = excluded.created_ms, last_step = 0 \
                   WHERE second_factors.confirmed_ms IS NULL";
        let query = sqlx::query(sql).bind(user).bind(sealed).bind(now_ms);
        if query.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::Exists(
                "second factor of this account".to_owned(),
            ));
        }
        write.commit().await?;
        Ok(())
    }

    /// Its owner proved to have it, with the code of `step`: from now on it is asked for.
    /// `recovery_hashes` are digests of codes that work once each instead.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if none waits for its proof, [`StoreError::PasswordChanged`] if `proved`
    /// is an older password.
    pub async fn confirm_second_factor(
        &self,
        user: i64,
        step: i64,
        recovery_hashes: &[String],
        proved: Option<&str>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, user, proved).await?;
        let sql = "UPDATE second_factors SET confirmed_ms = $2, last_step = $3 \
                   WHERE user_id = $1 AND confirmed_ms IS NULL";
        let query = sqlx::query(sql).bind(user).bind(audit.time_ms).bind(step);
        if query.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::NotFound(
                "second factor that waits for its proof".to_owned(),
            ));
        }
        delete_recovery_codes(&mut write, user).await?;
        for hash in recovery_hashes {
            let sql = "INSERT INTO recovery_codes (code_hash, user_id) VALUES ($1, $2)";
            let query = sqlx::query(sql).bind(hash).bind(user);
            query.execute(&mut *write).await?;
        }
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }

    /// Uses the code of a time step up. `false`: this step's code, or a later one's, was used before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn use_code_of_step(&self, user: i64, step: i64) -> Result<bool, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "UPDATE second_factors SET last_step = $2 \
                   WHERE user_id = $1 AND confirmed_ms IS NOT NULL AND last_step < $2";
        let query = sqlx::query(sql).bind(user).bind(step);
        let used = query.execute(&mut *write).await?.rows_affected() > 0;
        write.commit().await?;
        Ok(used)
    }

    /// Uses a recovery code up. `false`: it is none of this account, or was used before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn use_recovery_code(
        &self,
        user: i64,
        code_hash: &str,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
        let query = sqlx::query(sql).bind(user).bind(code_hash);
        let used = query.execute(&mut *write).await?.rows_affected() > 0;
        if used {
            audit::append(&mut write, &audit).await?;
        }
        write.commit().await?;
        Ok(used)
    }

    /// Its owner takes it off. All sessions of the account end but the one with the digest `kept`: who
    /// sits in another one may be the reason.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_second_factor(
        &self,
        user: i64,
        kept: &str,
        proved: Option<&str>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        require_password(&mut write, user, proved).await?;
        forget(&mut write, user).await?;
        web_sessions::end_others(&mut write, user, kept).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// Forgets an account's second factor with its codes.
pub(crate) async fn forget(write: &mut Write, user: i64) -> Result<(), StoreError> {
    delete_recovery_codes(write, user).await?;
    let sql = "DELETE FROM second_factors WHERE user_id = $1";
    sqlx::query(sql).bind(user).execute(&mut **write).await?;
    Ok(())
}

async fn delete_recovery_codes(write: &mut Write, user: i64) -> Result<(), StoreError> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1";
    sqlx::query(sql).bind(user).execute(&mut **write).await?;
    Ok(())
}
