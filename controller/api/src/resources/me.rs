//! Who is signed in, and what they change of their own account.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::password;
use xiezhi_identity::second_factor::{FactorSecret, recovery_codes};
use xiezhi_model::{Account, AuditEntry};

use super::login;
use crate::answer::{Answer, Done};
use crate::attempts::Attempt;
use crate::extract::Json;
use crate::problem::Problem;
use crate::qr::QrCode;
use crate::refused::WRONG_SECOND_CODE;
use crate::rows::RoleRow;
use crate::second_factor::{self, Proof, open, purpose};
use crate::session::SignedIn;
use crate::state::AppState;

/// Who is signed in, and where.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Me {
    user: Person,
    /// What pages may offer; the controller decides anew at every request.
    permissions: Vec<&'static str>,
    version: String,
    now_ms: i64,
}

#[derive(Serialize, JsonSchema)]
struct Person {
    id: i64,
    name: String,
    display_name: String,
    roles: Vec<RoleRow>,
    /// Nothing else is allowed before an own password is set.
    password_once: bool,
    second_factor: bool,
}

pub(crate) async fn read(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Answer<Me>, Problem> {
    of(&state, who.account).await
}

/// The same for who just signed in.
pub(crate) async fn answer(state: &AppState, user: i64) -> Result<Answer<Me>, Problem> {
    let account = state.inner.store.account(user).await?;
    of(state, account.ok_or_else(Problem::signed_out)?).await
}

async fn of(state: &AppState, Account { user, grants }: Account) -> Result<Answer<Me>, Problem> {
    let tree = state.inner.authority.tree().await?;
    let factor = state.inner.store.second_factor(user.id).await?;
    let permissions = grants.permissions(&tree).into_iter();
    Ok(Answer(Me {
        permissions: permissions.map(|one| one.word()).collect(),
        version: state.inner.options.version.clone(),
        now_ms: state.now_ms(),
        user: Person {
            id: user.id,
            name: user.name,
            display_name: user.display_name,
            roles: grants
                .iter()
                .map(|grant| RoleRow::new(*grant, &tree))
                .collect(),
            password_once: user.password_once,
            second_factor: factor.is_some_and(|factor| factor.confirmed_ms.is_some()),
        },
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    old: String,
    new: String,
}

/// Sets an own password; all sessions of the account end, this one too.
pub(crate) async fn set_password(
    State(state): State<AppState>,
    who: SignedIn,
    Json(NewPassword { old, new }): Json<NewPassword>,
) -> Result<Done, Problem> {
    prove(&state, &who, old.clone()).await?;
    let bad = |code: &'static str, detail: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    };
    password::check(&new, who.name()).map_err(|error| bad(error.code(), error.to_string()))?;
    if old == new {
        let detail = "the new password is the old one: choose another".to_owned();
        return Err(bad("password_same", detail));
    }
    let hash = login::hashed(&state, new).await?;
    let audit = audit(&state, &who, "user.password");
    let (user, store) = (who.account.user.id, &state.inner.store);
    store.set_password(user, &hash, proved(&who), audit).await?;
    Ok(Done)
}

/// What an authenticator app needs, shown once.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Offer {
    /// To be typed where there is no camera.
    secret: String,
    uri: String,
    qr: QrCode,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    password: String,
}

/// Offers a second factor. It is not asked for before the account has proved to have it.
pub(crate) async fn offer_second_factor(
    State(state): State<AppState>,
    who: SignedIn,
    Json(Password { password }): Json<Password>,
) -> Result<Answer<Offer>, Problem> {
    prove(&state, &who, password).await?;
    let user = who.account.user.id;
    let secret = FactorSecret::generate()?;
    let sealed = state.inner.secrets.seal(&purpose(user), secret.bytes())?;
    let now_ms = state.now_ms();
    state
        .inner
        .store
        .offer_second_factor(user, &sealed, proved(&who), now_ms)
        .await?;
    let uri = secret.to_uri(who.name());
    Ok(Answer(Offer {
        secret: secret.to_text(),
        qr: QrCode::of(&uri)?,
        uri,
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Recovery {
    /// Each is good for one sign-in; shown once.
    recovery_codes: Vec<String>,
}

/// Takes the first code of the app: from now on it is asked for.
pub(crate) async fn confirm_second_factor(
    State(state): State<AppState>,
    who: SignedIn,
    Json(Code { code }): Json<Code>,
) -> Result<Answer<Recovery>, Problem> {
    let user = who.account.user.id;
    let factor = state.inner.store.second_factor(user).await?;
    let waiting = factor.filter(|factor| factor.confirmed_ms.is_none());
    let waiting = waiting.ok_or_else(|| Problem::not_found("second factor to be confirmed"))?;
    let secret = open(&state, user, &waiting.sealed)?;
    let step = secret.step_of(&code, state.now_ms().div_euclid(1000));
    let step = step.ok_or_else(|| {
        let detail =
            "this is not the app's code now: check the phone's clock and enter the next one";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, WRONG_SECOND_CODE, detail)
    })?;
    let (texts, hashes): (Vec<_>, Vec<_>) = recovery_codes()?.into_iter().unzip();
    let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    let audit = audit(&state, &who, "user.second_factor_on");
    let store = &state.inner.store;
    store
        .confirm_second_factor(user, step, &hashes, proved(&who), audit)
        .await?;
    Ok(Answer(Recovery {
        recovery_codes: texts,
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    password: String,
    /// Of the authenticator app, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// Takes the second factor off again: with both factors, as it was begun. All other sessions end.
pub(crate) async fn remove_second_factor(
    State(state): State<AppState>,
    who: SignedIn,
    Json(Removal { password, code }): Json<Removal>,
) -> Result<Done, Problem> {
    prove_with_code(&state, &who, password, code.as_deref()).await?;
    let user = &who.account.user;
    let audit = audit(&state, &who, "user.second_factor_off");
    let store = &state.inner.store;
    store
        .remove_second_factor(user.id, &who.id_hash, proved(&who), audit)
        .await?;
    Ok(Done)
}

/// What the request rests on: if it is void when the change is made, the change is not.
fn proved(who: &SignedIn) -> Option<&str> {
    Some(&who.account.user.password_hash)
}

fn audit(state: &AppState, who: &SignedIn, action: &str) -> AuditEntry {
    who.audit(state.now_ms(), action, format!("user:{}", who.name()))
}

/// That it is the owner who sits before the open session. Guesses count as at signing in.
pub(super) async fn prove(
    state: &AppState,
    who: &SignedIn,
    password: String,
) -> Result<(), Problem> {
    let attempt = right_password(state, who, password).await?;
    state.inner.attempts.succeeded(attempt, state.now_ms());
    Ok(())
}

/// That it is, by both factors where the account has a second one.
pub(super) async fn prove_with_code(
    state: &AppState,
    who: &SignedIn,
    password: String,
    code: Option<&str>,
) -> Result<(), Problem> {
    let attempt = right_password(state, who, password).await?;
    let refused = |code, detail: &str| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(Problem::new(status, code, detail))
    };
    match second_factor::check(state, &who.account.user, code, who.address).await? {
        Proof::NotNeeded | Proof::Good(_) => {
            state.inner.attempts.succeeded(attempt, state.now_ms());
            Ok(())
        }
        Proof::Missing => {
            state.inner.attempts.take_back(attempt);
            refused(
                "code_needed",
                "enter a code of the authenticator app, or a recovery code",
            )
        }
        Proof::Wrong => {
            let detail = "the code is wrong, or was used before: wait for the next one";
            refused(WRONG_SECOND_CODE, detail)
        }
    }
}

/// The same where more has to be proved: the attempt has not succeeded yet.
async fn right_password(
    state: &AppState,
    who: &SignedIn,
    password: String,
) -> Result<Attempt, Problem> {
    let attempt = login::begin(state, Some(who.name()), who.address)?;
    let stored = Some(who.account.user.password_hash.clone());
    if login::matches(state, &attempt, password, stored).await? {
        return Ok(attempt);
    }
    let detail = "the password is wrong";
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "wrong_password",
        detail,
    ))
}
