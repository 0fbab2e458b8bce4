//! Open sessions: one's own, to be seen and ended, and those of an account that one manages, to be ended.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_model::{AccountChange, WebSession};
use xiezhi_store::SessionsEnded;

use super::users::{find, may};
use crate::answer::{Answer, Done};
use crate::extract::Path;
use crate::problem::Problem;
use crate::refused::TOO_OFTEN;
use crate::session::{self, SignedIn};
use crate::state::AppState;
use crate::view::View;

/// Digits of a session's digest that name it; the digest itself opens nothing either.
const NAME_DIGITS: usize = 16;

#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionRow {
    id: String,
    began_ms: i64,
    /// To the minute.
    last_used_ms: i64,
    expires_ms: i64,
    /// Where it began; empty if it began before that was kept.
    address: String,
    /// What the browser calls itself; empty likewise.
    browser: String,
    /// Whether it is the one that asks.
    current: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Sessions {
    items: Vec<SessionRow>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Ended {
    /// How many ended.
    ended: u64,
}

fn name_of(session: &WebSession) -> &str {
    session.id_hash.get(..NAME_DIGITS).unwrap_or_default()
}

/// One's own sessions that are open.
async fn own(state: &AppState, who: &SignedIn) -> Result<Vec<WebSession>, Problem> {
    let now_ms = state.now_ms();
    let user = who.account.user.id;
    let mut sessions = state.inner.store.web_sessions_of(user, now_ms).await?;
    let (options, grants) = (&state.inner.options, &who.account.grants);
    sessions.retain(|session| session::is_open(options, session, grants, now_ms));
    Ok(sessions)
}

pub(crate) async fn list(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Answer<Sessions>, Problem> {
    let row = |session: WebSession| SessionRow {
        id: name_of(&session).to_owned(),
        current: session.id_hash == who.id_hash,
        began_ms: session.created_ms,
        last_used_ms: session.last_used_ms,
        expires_ms: session::ends_ms(&state.inner.options, &session, &who.account.grants),
        address: session.address,
        browser: session.browser,
    };
    let sessions = own(&state, &who).await?;
    Ok(Answer(Sessions {
        items: sessions.into_iter().map(row).collect(),
    }))
}

/// Ends one of one's own sessions.
pub(crate) async fn end(
    State(state): State<AppState>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Done, Problem> {
    let sessions = own(&state, &who).await?;
    let session = sessions.iter().find(|session| name_of(session) == id);
    let session = session.ok_or_else(|| Problem::not_found("open session of yours"))?;
    let audit = who
        .audit(state.now_ms(), "session.end", who.name())
        .with("ended", session.address.clone());
    let store = &state.inner.store;
    store.delete_web_session(&session.id_hash, audit).await?;
    Ok(Done)
}

/// Ends all of one's own sessions but this one.
pub(crate) async fn end_others(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Answer<Ended>, Problem> {
    let audit = who.audit(state.now_ms(), "session.end_all", who.name());
    let user = who.account.user.id;
    let store = &state.inner.store;
    let ended = store.end_web_sessions(user, &who.id_hash, audit).await?;
    Ok(Answer(Ended { ended }))
}

/// Ends all sessions of an account. Whoever may ask for its disabling may do that alone, twice a day: it
/// takes nothing from its owner but a sign-in, and must not become a way to keep the owner out.
pub(crate) async fn end_all(view: View, Path(id): Path<i64>) -> Result<Answer<Ended>, Problem> {
    let account = find(&view, id).await?;
    may(&view, AccountChange::Disable, &account)?;
    let subject = format!("user:{}", account.user.name);
    let now_ms = view.state.now_ms();
    let audit = view.who.audit(now_ms, "session.end_all", subject);
    let store = &view.state.inner.store;
    match store.end_sessions_of_other(id, audit).await? {
        SessionsEnded::Ended(ended) => Ok(Answer(Ended { ended })),
        SessionsEnded::TooOften(wait_ms) => {
            let wait_s = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
            let detail = "you ended this account's sessions twice within a day: ask for it to be disabled \
                          if its owner must stay out";
            let status = StatusCode::TOO_MANY_REQUESTS;
            Err(Problem::new(status, TOO_OFTEN, detail).retry_after(wait_s))
        }
    }
}
