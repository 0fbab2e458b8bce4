//! Signing in and out, and who is signed in.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use xiezhi_identity::password;
use xiezhi_model::{Actor, AuditEntry, User};

use crate::answer::Answer;
use crate::attempts::Attempt;
use crate::cookie;
use crate::extract::Json;
use crate::peer::address_of;
use crate::problem::Problem;
use crate::refusals;
use crate::session::{self, SignedIn};
use crate::state::{AppState, Inner};

/// Longest account name that is looked up.
const MAX_NAME_BYTES: usize = 128;

const REFUSED: &str = "session.refuse";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    user: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Once {
    code: String,
}

/// Who is signed in, and where.
#[derive(Serialize)]
pub(crate) struct Me {
    user: Person,
    version: String,
    now_ms: i64,
}

#[derive(Serialize)]
struct Person {
    name: String,
    role: &'static str,
}

impl Me {
    fn new(state: &AppState, user: &User) -> Self {
        Self {
            user: Person {
                name: user.name.clone(),
                role: user.role.word(),
            },
            version: state.inner.options.version.clone(),
            now_ms: state.now_ms(),
        }
    }
}

pub(crate) async fn me(State(state): State<AppState>, who: SignedIn) -> Answer<Me> {
    Answer(Me::new(&state, &who.user))
}

/// Address of the caller; every request has one.
pub(crate) struct Caller(IpAddr);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _state: &S,
    ) -> Result<Self, Problem> {
        Ok(Self(address_of(&parts.extensions)))
    }
}

pub(crate) async fn with_password(
    State(state): State<AppState>,
    Caller(address): Caller,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Problem> {
    let Credentials {
        user: name,
        password,
    } = credentials;
    if name.len() > MAX_NAME_BYTES {
        return Err(wrong());
    }
    let attempt = begin(&state, Some(&name), address)?;
    let user = state.inner.store.user_by_name(&name).await?;
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let matches = matches(&state, &attempt, password, stored).await?;
    if let (Some(user), true) = (user, matches) {
        state.inner.attempts.succeeded(attempt);
        return enter(&state, &user, address, "password").await;
    }
    refused(&state, &name, address, "password").await
}

pub(crate) async fn with_code(
    State(state): State<AppState>,
    Caller(address): Caller,
    Json(Once { code }): Json<Once>,
) -> Result<Response, Problem> {
    const NOBODY: &str = "(one-time code)";
    let attempt = begin(&state, None, address)?;
    if let Some(name) = state.inner.login_codes.take(&code, state.now_ms())
        && let Some(user) = state.inner.store.user_by_name(&name).await?
    {
        state.inner.attempts.succeeded(attempt);
        return enter(&state, &user, address, "one_time_code").await;
    }
    refused(&state, NOBODY, address, "one_time_code").await
}

pub(crate) async fn leave(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Response, Problem> {
    let audit = who.audit(state.now_ms(), "session.end", &who.user.name);
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
fn begin(state: &AppState, name: Option<&str>, address: IpAddr) -> Result<Attempt, Problem> {
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
async fn matches(
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

fn wrong() -> Problem {
    let detail = "account and password do not match";
    Problem::new(StatusCode::UNAUTHORIZED, "wrong_credentials", detail)
}

async fn refused(
    state: &AppState,
    name: &str,
    address: IpAddr,
    method: &str,
) -> Result<Response, Problem> {
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
    address: IpAddr,
    method: &str,
) -> Result<Response, Problem> {
    let identifier = session::begin(state, user, address, method).await?;
    let life_s = state.inner.options.session_life.as_secs();
    let cookie: Option<HeaderValue> = cookie::set(&identifier, life_s, state.inner.options.secure);
    let mut response = Answer(Me::new(state, user)).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
