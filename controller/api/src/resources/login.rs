//! Signing in and out, and who is signed in.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use xiezhi_identity::password;
use xiezhi_model::{Actor, AuditEntry, User};

use crate::answer::Answer;
use crate::attempts::Attempt;
use crate::cookie;
use crate::extract::Json;
use crate::openapi::{Answers, Draft};
use crate::peer::address_of;
use crate::problem::Problem;
use crate::refusals;
use crate::refused::Note;
use crate::resources::me::{self, Me};
use crate::second_factor::{self, Proof};
use crate::session::{self, SignedIn};
use crate::state::{AppState, Inner};

/// Longest account name that is looked up.
const MAX_NAME_BYTES: usize = 128;

const REFUSED: &str = "session.refuse";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    user: String,
    password: String,
    /// Of the authenticator app, or a recovery code; asked for once the password is known to be right.
    #[serde(default)]
    code: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Once {
    code: String,
}

/// Who has just signed in, and the cookie that says so.
pub(crate) struct Entered {
    me: Answer<Me>,
    cookie: Option<HeaderValue>,
}

impl IntoResponse for Entered {
    fn into_response(self) -> Response {
        let mut response = self.me.into_response();
        if let Some(cookie) = self.cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl Answers for Entered {
    fn describe(draft: &mut Draft<'_>) {
        Answer::<Me>::describe(draft);
    }
}

/// Longest name of a browser that is kept, characters.
const MAX_BROWSER: usize = 200;

/// Who signs in: every request has an address.
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// What the browser calls itself.
    pub(crate) browser: String,
    /// Where it is kept who it turned out to be.
    note: Option<Note>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _state: &S,
    ) -> Result<Self, Problem> {
        let name = parts.headers.get(header::USER_AGENT);
        let name = name.and_then(|name| name.to_str().ok()).unwrap_or_default();
        Ok(Self {
            address: address_of(&parts.extensions),
            browser: name.chars().take(MAX_BROWSER).collect(),
            note: parts.extensions.get::<Note>().cloned(),
        })
    }
}

pub(crate) async fn with_password(
    State(state): State<AppState>,
    caller: Caller,
    Json(credentials): Json<Credentials>,
) -> Result<Entered, Problem> {
    let address = caller.address;
    let Credentials {
        user: name,
        password,
        code,
    } = credentials;
    if name.len() > MAX_NAME_BYTES {
        return Err(wrong());
    }
    let attempt = begin(&state, Some(&name), address)?;
    let user = state.inner.store.user_by_name(&name).await?;
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let matches = matches(&state, &attempt, password, stored).await?;
    let (Some(user), true) = (user, matches) else {
        return refused(&state, &name, address, "password").await;
    };
    if !user.may_sign_in(state.now_ms()) {
        // Who knows the password of a leaver is written down by that name.
        if let Some(note) = &caller.note {
            note.is(&user.name);
        }
        return Err(shut_out(&user));
    }
    match second_factor::check(&state, &user, code.as_deref(), address).await? {
        Proof::NotNeeded => {
            state.inner.attempts.succeeded(attempt, state.now_ms());
            enter(&state, &user, &caller, "password").await
        }
        Proof::Good(method) => {
            state.inner.attempts.succeeded(attempt, state.now_ms());
            enter(&state, &user, &caller, method).await
        }
        Proof::Missing => {
            // No guess at a code, and no success that would forgive the guesses before.
            state.inner.attempts.take_back(attempt);
            let detail =
                "this account has a second factor: enter the code of the authenticator app";
            Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "code_needed",
                detail,
            ))
        }
        Proof::Wrong => refused(&state, &name, address, "second_factor").await,
    }
}

/// Told only to whoever knows the password.
fn shut_out(user: &User) -> Problem {
    let (code, detail) = if user.disabled_ms.is_some() {
        (
            "account_disabled",
            "this account is disabled: ask whoever manages accounts",
        )
    } else {
        (
            "password_expired",
            "the password for one use is older than three days: ask for a new one",
        )
    };
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

pub(crate) async fn with_code(
    State(state): State<AppState>,
    caller: Caller,
    Json(Once { code }): Json<Once>,
) -> Result<Entered, Problem> {
    const NOBODY: &str = "(one-time code)";
    let address = caller.address;
    let attempt = begin(&state, None, address)?;
    if let Some(name) = state.inner.login_codes.take(&code, state.now_ms())
        && let Some(user) = state.inner.store.user_by_name(&name).await?
        && user.disabled_ms.is_none()
    {
        state.inner.attempts.succeeded(attempt, state.now_ms());
        return enter(&state, &user, &caller, "one_time_code").await;
    }
    refused(&state, NOBODY, address, "one_time_code").await
}

pub(crate) async fn leave(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Response, Problem> {
    let audit = who.audit(state.now_ms(), "session.end", who.name());
    state
        .inner
        .store
        .delete_web_session(&who.id_hash, audit)
        .await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookie::set("", 0, state.inner.options.secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Lets an attempt in; from here on it counts as failed until it has succeeded.
pub(crate) fn begin(
    state: &AppState,
    name: Option<&str>,
    address: IpAddr,
) -> Result<Attempt, Problem> {
    let now_ms = state.now_ms();
    let begun = state.inner.attempts.begin(name, address, now_ms);
    begun.map_err(must_wait)
}

fn must_wait(wait_ms: i64) -> Problem {
    let wait_s = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
    let detail = format!("too many failed attempts: try again in {wait_s} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail).retry_after(wait_s)
}

/// Takes the same time whether the account exists or not.
pub(crate) async fn matches(
    state: &AppState,
    attempt: &Attempt,
    given: String,
    stored: Option<String>,
) -> Result<bool, Problem> {
    let permit = Arc::clone(&state.inner.password_checks)
        .acquire_owned()
        .await
        .map_err(|_| Problem::busy())?;
    let attempts = &state.inner.attempts;
    attempts.again(attempt, state.now_ms()).map_err(must_wait)?;
    let checked = tokio::task::spawn_blocking(move || {
        // Held to the end of the work, even if the caller hangs up.
        let _permit = permit;
        match stored {
            Some(stored) => password::verify(&given, &stored),
            None => Ok(password::verify_unknown(&given)),
        }
    });
    match checked.await {
        Ok(Ok(matches)) => Ok(matches),
        Ok(Err(error)) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(
                status,
                "password_unreadable",
                error.to_string(),
            ))
        }
        Err(_) => Err(Problem::busy()),
    }
}

/// A new password's digest.
pub(crate) async fn hashed(state: &AppState, password: String) -> Result<String, Problem> {
    let permit = Arc::clone(&state.inner.password_checks)
        .acquire_owned()
        .await
        .map_err(|_| Problem::busy())?;
    let hashing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        password::hash(&password)
    });
    let hashed = hashing.await.map_err(|_| Problem::busy())?;
    hashed.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "password_not_hashed", error.to_string())
    })
}

fn wrong() -> Problem {
    let detail = "account and password do not match";
    Problem::new(StatusCode::UNAUTHORIZED, "wrong_credentials", detail)
}

async fn refused(
    state: &AppState,
    name: &str,
    address: IpAddr,
    method: &str,
) -> Result<Entered, Problem> {
    let now_ms = state.now_ms();
    let verdict = state.inner.refusals.note(now_ms);
    if verdict.opened {
        tokio::spawn(sum_up_later(Arc::downgrade(&state.inner)));
    }
    if verdict.write {
        let actor = Actor::Address(address.to_string());
        let audit = AuditEntry::new(now_ms, actor, REFUSED, name).with("method", method);
        state.inner.store.append_audit(audit).await?;
    }
    Err(if method == "password" {
        wrong()
    } else if method == "second_factor" {
        let detail = "the code is wrong, or was used before: wait for the next one";
        Problem::new(StatusCode::UNAUTHORIZED, "wrong_second_code", detail)
    } else {
        let detail = "this login code is not valid, or was used before: sign in with the password";
        Problem::new(StatusCode::UNAUTHORIZED, "wrong_code", detail)
    })
}

async fn sum_up_later(inner: Weak<Inner>) {
    tokio::time::sleep(refusals::PERIOD).await;
    if let Some(inner) = inner.upgrade() {
        sum_up(&inner).await;
    }
}

/// Writes down how many refusals have no entry of their own.
pub(crate) async fn sum_up(inner: &Inner) {
    let Some((since_ms, number)) = inner.refusals.close() else {
        return;
    };
    let now_ms = inner.clock.now_ms();
    let entry = AuditEntry::new(now_ms, Actor::System, REFUSED, "(several)")
        .with("number", number.to_string())
        .with("since_ms", since_ms.to_string());
    if let Err(error) = inner.store.append_audit(entry).await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, number, "refused sign-ins could not be audited");
    }
}

async fn enter(
    state: &AppState,
    user: &User,
    caller: &Caller,
    method: &str,
) -> Result<Entered, Problem> {
    let (identifier, life) = session::begin(state, user, caller, method).await?;
    let life_s = life.as_secs();
    let cookie: Option<HeaderValue> = cookie::set(&identifier, life_s, state.inner.options.secure);
    let me = me::answer(state, user.id).await?;
    Ok(Entered { me, cookie })
}
