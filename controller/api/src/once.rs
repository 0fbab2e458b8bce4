//! Writes that their caller names with `Idempotency-Key` are done once: the same request with the same
//! key gets the same answer again, for 24 hours.
//!
//! The key belongs to the account, or to one of its tokens. What was asked and answered is kept sealed, because passwords are
//! among both. A request that was refused changed nothing and is not kept: its key is free again. If
//! the controller ends while a request is being done, nobody knows whether it was, and the key says
//! so instead of doing it twice.

use std::collections::BTreeSet;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use xiezhi_identity::tokens::hash_secret;
use xiezhi_store::{Begun, NamedRequest, NewNamedRequest};

use crate::problem::Problem;
use crate::session::SignedIn;
use crate::state::AppState;
use crate::uploads::Upload;
use crate::view::View;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_BYTES: usize = 128;
/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3_600_000;
/// Kept of one account at one time: with answers of [`MAX_ANSWER_BYTES`] each, some tens of MB.
const MOST_KEPT: i64 = 1000;
/// Largest answer that is kept; those of writes are a row.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What was asked and answered, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Digest of what was asked.
    request: String,
    /// `None` while it is being done.
    answer: Option<KeptAnswer>,
}

#[derive(Serialize, Deserialize)]
struct KeptAnswer {
    status: u16,
    kind: String,
    /// `None` if it was too large to keep.
    body: Option<String>,
}

/// A named request.
struct Named {
    user: i64,
    key_hash: String,
    /// Digest of what is asked.
    request: String,
}

/// Does what is named once; what is not named is done as it comes. A body may have `most_bytes`.
pub(crate) async fn keep(
    state: AppState,
    most_bytes: usize,
    request: Request,
    next: Next,
) -> Response {
    let key = match key_of(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let answered = named(state, &key, most_bytes, request, next).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > MAX_KEY_BYTES || !plain {
        let detail = format!(
            "`Idempotency-Key` must be 1 to {MAX_KEY_BYTES} visible ASCII characters, without blanks"
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_key", detail));
    }
    Ok(Some(text.to_owned()))
}

async fn named(
    state: AppState,
    key: &str,
    most_bytes: usize,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // A file has arrived before.
    let body = match parts.extensions.get::<Upload>() {
        Some(file) => file.bytes(),
        None => whole(&state, body, most_bytes).await?,
    };
    let who = parts.extensions.get::<SignedIn>();
    let who = who.ok_or_else(Problem::signed_out)?;
    let named = Named {
        user: who.account.user.id,
        key_hash: hash_secret(own_name(who, key).as_bytes()).to_string(),
        request: digest(&parts, &body),
    };
    let now_ms = state.now_ms();
    let sealed = named.seal(&state, None)?;
    let new = NewNamedRequest {
        user: named.user,
        key_hash: &named.key_hash,
        sealed: &sealed,
        now_ms,
        expires_ms: now_ms.saturating_add(KEPT_MS),
        most: MOST_KEPT,
    };
    match state.inner.store.begin_named_request(new).await? {
        Begun::New => {}
        Begun::Known(known) => return named.again(&state, &known),
        Begun::TooMany => {
            let detail = format!("this account has named {MOST_KEPT} requests within 24 hours");
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Problem::new(status, "too_many_keys", detail).retry_after(3600));
        }
    }
    // Done to its end and written down, even if the caller hangs up meanwhile.
    let work = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, body.into())).await;
        named.finish(&state, response).await
    });
    work.await.map_err(|_| {
        let detail = "the request failed; the controller's log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
    })
}

/// The key among those of its account. No key that somebody sends has a line's end.
fn own_name(who: &SignedIn, key: &str) -> String {
    match &who.token {
        None => key.to_owned(),
        Some(token) => format!("{}\n{key}", token.id),
    }
}

/// The body, for its digest. It is not kept.
async fn whole(state: &AppState, body: Body, most_bytes: usize) -> Result<Bytes, Problem> {
    let limit = state.inner.options.request_timeout;
    let Ok(read) = timeout(limit, to_bytes(body, most_bytes)).await else {
        return Err(Problem::timed_out(limit));
    };
    read.map_err(|_| {
        let detail = format!("a request has at most {most_bytes} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    })
}

/// Digest of everything that decides what is done. All that the caller holds and reaches is part of it:
/// an answer is not given again to who would not get it now. Not the route's permission alone: some
/// handlers decide by others.
fn digest(parts: &Parts, body: &[u8]) -> String {
    let view = parts.extensions.get::<View>();
    let sites: Option<&BTreeSet<_>> = view.and_then(|view| view.scope.sites());
    let who = parts.extensions.get::<SignedIn>();
    let held: Vec<_> = who.map(|who| held_by(who).collect()).unwrap_or_default();
    let (method, uri) = (&parts.method, &parts.uri);
    let mut bytes = format!("{method} {uri}\n{sites:?}\n{held:?}\n").into_bytes();
    bytes.extend_from_slice(body);
    hash_secret(&bytes).to_string()
}

/// Words and numbers of the roles that somebody holds.
fn held_by(who: &SignedIn) -> impl Iterator<Item = (&'static str, Option<i64>)> {
    let grants = who.account.grants.iter();
    grants.map(|grant| (grant.role.word(), grant.site.map(|site| site.0)))
}

impl Named {
    /// What is sealed opens for this account and key only.
    fn purpose(&self) -> String {
        format!("named-request:{}:{}", self.user, self.key_hash)
    }

    fn seal(&self, state: &AppState, answer: Option<KeptAnswer>) -> Result<String, Problem> {
        let kept = Kept {
            request: self.request.clone(),
            answer,
        };
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        Ok(state.inner.secrets.seal(&self.purpose(), &text)?)
    }

    /// Keeps the answer, if something may have been done.
    async fn finish(&self, state: &AppState, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        // Made whole by the handler: this reads memory, not a line.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let store = &state.inner.store;
        let written = if may_be_done(parts.status) {
            match self.seal(state, Some(kept(parts.status, &parts.headers, &body))) {
                Ok(sealed) => {
                    store
                        .finish_named_request(self.user, &self.key_hash, &sealed)
                        .await
                }
                // The key goes on saying that nobody knows.
                Err(_) => Ok(()),
            }
        } else {
            store.forget_named_request(self.user, &self.key_hash).await
        };
        if let Err(error) = written {
            let error = crate::problem::chain(&error);
            tracing::warn!(error, "the answer to a named request was not kept");
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// The answer to a request that is known.
    fn again(&self, state: &AppState, known: &NamedRequest) -> Result<Response, Problem> {
        let opened = state.inner.secrets.unseal(&self.purpose(), &known.sealed);
        let kept = opened
            .ok()
            .and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        // Sealed by a key that was lost.
        let Kept { request, answer } = kept.ok_or_else(unknown)?;
        if request != self.request {
            let detail = "this `Idempotency-Key` was used for another request, or with other rights: \
                          use a new key for each thing to be done";
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                detail,
            ));
        }
        let Some(answer) = answer.filter(|_| known.is_done) else {
            let limit = state.inner.options.request_timeout.as_millis();
            // Twice: it may have waited for its turn.
            let limit_ms = i64::try_from(limit).unwrap_or(i64::MAX).saturating_mul(2);
            if state.now_ms().saturating_sub(known.started_ms) > limit_ms {
                return Err(unknown());
            }
            let detail = "this request is being done: ask again for its answer";
            let status = StatusCode::CONFLICT;
            return Err(Problem::new(status, "in_progress", detail).retry_after(2));
        };
        Ok(replay(answer))
    }
}

/// Refusals change nothing, and neither does a database that is away or full.
fn may_be_done(status: StatusCode) -> bool {
    let unclear = [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    status.is_success() || unclear.contains(&status)
}

fn kept(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> KeptAnswer {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let text = String::from_utf8(body.to_vec()).ok();
    KeptAnswer {
        status: status.as_u16(),
        kind: kind.unwrap_or_default().to_owned(),
        body: text.filter(|text| text.len() <= MAX_ANSWER_BYTES),
    }
}

fn replay(answer: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let Some(body) = answer.body else {
        let detail =
            format!("this was done with status {status}; its answer was too large to keep");
        return Problem::new(StatusCode::CONFLICT, "answer_not_kept", detail).into_response();
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Ok(kind) = HeaderValue::from_str(&answer.kind)
        && !answer.kind.is_empty()
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn unknown() -> Problem {
    let detail = "the controller ended while this request was being done: look whether it was, then \
                  ask with a new key";
    Problem::new(StatusCode::CONFLICT, "outcome_unknown", detail)
}
