//! The second factor of whoever signs in: a code of an authenticator app, or a recovery code.

use std::net::IpAddr;

use axum::http::StatusCode;
use xiezhi_identity::SecretBoxError;
use xiezhi_identity::second_factor::FactorSecret;
use xiezhi_identity::tokens;
use xiezhi_model::{Actor, AuditEntry, User};

use crate::problem::Problem;
use crate::state::AppState;

/// Longest code that is looked at.
const MAX_CODE_BYTES: usize = 64;

/// How an account proved itself beyond its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It has no second factor.
    NotNeeded,
    /// With this.
    Good(&'static str),
    /// No code came.
    Missing,
    /// It did not.
    Wrong,
}

/// What a secret is sealed for.
pub(crate) fn purpose(user: i64) -> String {
    format!("second-factor:{user}")
}

/// Checks the code and uses it up.
pub(crate) async fn check(
    state: &AppState,
    user: &User,
    code: Option<&str>,
    address: IpAddr,
) -> Result<Proof, Problem> {
    let factor = state.inner.store.second_factor(user.id).await?;
    let Some(factor) = factor.filter(|factor| factor.confirmed_ms.is_some()) else {
        return Ok(Proof::NotNeeded);
    };
    let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else {
        return Ok(Proof::Missing);
    };
    if code.len() > MAX_CODE_BYTES {
        return Ok(Proof::Wrong);
    }
    let secret = open(state, user.id, &factor.sealed)?;
    if let Some(step) = secret.step_of(code, state.now_ms().div_euclid(1000)) {
        let fresh = state.inner.store.use_code_of_step(user.id, step).await?;
        return Ok(if fresh {
            Proof::Good("second_factor")
        } else {
            Proof::Wrong
        });
    }
    let actor = Actor::User(user.name.clone());
    let audit = AuditEntry::new(state.now_ms(), actor, "session.recovery_code", &user.name)
        .with("address", address.to_string());
    let hash = tokens::hash_text(code).to_string();
    let used = state
        .inner
        .store
        .use_recovery_code(user.id, &hash, audit)
        .await?;
    Ok(if used {
        Proof::Good("recovery_code")
    } else {
        Proof::Wrong
    })
}

/// The secret of an account.
pub(crate) fn open(state: &AppState, user: i64, sealed: &str) -> Result<FactorSecret, Problem> {
    let opened = state.inner.secrets.unseal(&purpose(user), sealed)?;
    FactorSecret::from_bytes(&opened).ok_or_else(|| SecretBoxError::Foreign.into())
}

impl From<SecretBoxError> for Problem {
    fn from(error: SecretBoxError) -> Self {
        tracing::error!(%error, "a stored secret could not be used");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "secret_unreadable", error.to_string())
    }
}
