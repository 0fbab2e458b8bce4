//! Browser sessions: begun by signing in, found by cookie, ended by time, sign-out or a new
//! password.
//!
//! What a page asks of its own accord is no use of a session: pages left open keep nobody signed in.
//! A screen on a wall, at which nobody ever sits, is the exception: [`Account`]s that are nothing but
//! that stay signed in for [`WALL_LIFE`].

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use xiezhi_identity::tokens;
use xiezhi_model::{Account, Actor, AuditEntry, Grants, User, WebSession};

use crate::cookie;
use crate::peer::address_of;
use crate::problem::Problem;
use crate::program::{self, ByToken};
use crate::refused::Note;
use crate::resources::login::Caller;
use crate::state::{ApiOptions, AppState};

/// How long the screen on a wall stays signed in, used or not, unless somebody ends its session.
const WALL_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Sent by our pages with what their own timers ask: nobody did anything since the last request
/// that went without it.
const IDLE_HEADER: &str = "x-xiezhi-idle";

/// How often the use of a session is written down.
const TOUCH_MS: i64 = 60_000;

/// Who makes the request. The guard puts it there; a handler that asks for it on an open route
/// gets a 401.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// What they may do; of a program no more than its token.
    pub(crate) account: Account,
    /// Digest of the session; empty of a program, which has none.
    pub(crate) id_hash: String,
    /// The token by which a program asks for them.
    pub(crate) token: Option<ByToken>,
    pub(crate) address: IpAddr,
}

impl SignedIn {
    /// The name that the person signs in with.
    pub(crate) fn name(&self) -> &str {
        &self.account.user.name
    }

    /// An audit entry by this person, with the address that they came from.
    pub(crate) fn audit(
        &self,
        now_ms: i64,
        action: &str,
        subject: impl Into<String>,
    ) -> AuditEntry {
        let actor = Actor::User(self.name().to_owned());
        let entry = AuditEntry::new(now_ms, actor, action, subject);
        let entry = entry.with("address", self.address.to_string());
        match &self.token {
            None => entry,
            Some(token) => entry.with("by_token", token.told()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::signed_out)
    }
}

/// Finds the session of a request; `None` if there is none or it has ended.
pub(crate) async fn find(
    state: &AppState,
    headers: &HeaderMap,
    extensions: &axum::http::Extensions,
) -> Result<Option<SignedIn>, Problem> {
    let Some(identifier) = cookie::read(headers, state.inner.options.secure) else {
        return Ok(None);
    };
    let id_hash = tokens::hash_text(identifier).to_string();
    let Some((session, account)) = alive(state, &id_hash).await? else {
        // One that ended by disuse is still there; one that never was is not.
        let store = &state.inner.store;
        if store.web_session(&id_hash, i64::MIN).await?.is_none() {
            Note::forged(extensions);
        }
        return Ok(None);
    };
    Note::account(extensions, &account.user.name);
    let now_ms = state.now_ms();
    let used = account.grants.is_wall() || !by_itself(headers);
    if used && now_ms - session.last_used_ms > TOUCH_MS {
        let touched = state.inner.store.touch_web_session(&id_hash, now_ms).await;
        if let Err(error) = touched {
            // A full disk must not hide the page that says so.
            let error = crate::problem::chain(&error);
            tracing::warn!(error, "the use of a browser session was not written down");
        }
    }
    Ok(Some(SignedIn {
        account,
        id_hash,
        token: None,
        address: address_of(extensions),
    }))
}

/// Who asks: a program by its token, or somebody by a session. A token counts alone: no cookie beside it is
/// looked at.
pub(crate) async fn caller(
    state: &AppState,
    headers: &HeaderMap,
    extensions: &axum::http::Extensions,
) -> Result<Option<SignedIn>, Problem> {
    match program::bearer(headers) {
        Some(_) => program::signed_in(state, headers, extensions).await,
        None => find(state, headers, extensions).await,
    }
}

/// The session with this digest, unless it has ended, by age or by disuse, and what its owner may
/// do now.
pub(crate) async fn alive(
    state: &AppState,
    id_hash: &str,
) -> Result<Option<(WebSession, Account)>, Problem> {
    let now_ms = state.now_ms();
    let found = state.inner.store.web_session(id_hash, now_ms).await?;
    let Some((session, user)) = found else {
        return Ok(None);
    };
    let grants = state.inner.store.grants(user.id).await?;
    let account = Account { user, grants };
    let open = is_open(&state.inner.options, &session, &account.grants, now_ms);
    Ok(open.then_some((session, account)))
}

/// Whether the page asks by itself: by a timer, or by the stream that a browser opens again whenever
/// it breaks and that can carry no header of ours.
fn by_itself(headers: &HeaderMap) -> bool {
    let is_stream = |value: &HeaderValue| value == "text/event-stream";
    headers.get(IDLE_HEADER).is_some_and(|value| value == "1")
        || headers.get(header::ACCEPT).is_some_and(is_stream)
}

/// How long a session of somebody with these roles lasts at most.
pub(crate) fn life(options: &ApiOptions, grants: &Grants) -> Duration {
    if grants.is_wall() {
        WALL_LIFE
    } else {
        options.session_life
    }
}

/// When a session ends if it is used all the time, Unix milliseconds. One that began as a wall's
/// and whose account has another role by now ends as any other.
pub(crate) fn ends_ms(options: &ApiOptions, session: &WebSession, grants: &Grants) -> i64 {
    let life_ms = milliseconds(life(options, grants));
    session
        .expires_ms
        .min(session.created_ms.saturating_add(life_ms))
}

/// Whether it has ended neither by age nor by disuse.
pub(crate) fn is_open(
    options: &ApiOptions,
    session: &WebSession,
    grants: &Grants,
    now_ms: i64,
) -> bool {
    let idle_ms = now_ms.saturating_sub(session.last_used_ms);
    let is_used = grants.is_wall() || idle_ms <= milliseconds(options.session_idle);
    is_used && now_ms < ends_ms(options, session, grants)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Begins a session and yields the identifier for its cookie and how long that may last.
pub(crate) async fn begin(
    state: &AppState,
    user: &User,
    caller: &Caller,
    method: &str,
) -> Result<(String, Duration), Problem> {
    let now_ms = state.now_ms();
    state
        .inner
        .store
        .delete_expired_web_sessions(now_ms)
        .await?;
    let (identifier, hash) = tokens::web_session()?;
    let grants = state.inner.store.grants(user.id).await?;
    let life = life(&state.inner.options, &grants);
    let session = WebSession {
        id_hash: hash.to_string(),
        user: user.id,
        created_ms: now_ms,
        last_used_ms: now_ms,
        expires_ms: now_ms.saturating_add(milliseconds(life)),
        address: caller.address.to_string(),
        browser: caller.browser.clone(),
    };
    let audit = AuditEntry::new(
        now_ms,
        Actor::User(user.name.clone()),
        "session.begin",
        &user.name,
    )
    .with("address", caller.address.to_string())
    .with("method", method);
    state
        .inner
        .store
        .create_web_session(&session, Some(&user.password_hash), audit)
        .await?;
    Ok((identifier, life))
}
