//! Who may pass: sessions for what needs one, and for writes proof that one of our pages asks.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use xiezhi_model::{Account, Permission, Scope};

use crate::peer::address_of;
use crate::problem::Problem;
use crate::program::{self, ByToken};
use crate::refused::Note;
use crate::session::{self, SignedIn};
use crate::state::AppState;
use crate::view::View;

/// Sent by our pages with every write; neither a form nor a link of another site can send it.
const REQUEST_HEADER: &str = "x-xiezhi-request";

/// Each says that a proxy passed the request on for somebody else.
const PROXY_HEADERS: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];

/// Lets signed-in people pass, for what is their own.
pub(crate) async fn signed_in(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    match session::caller(&state, request.headers(), request.extensions()).await {
        Ok(Some(who)) if who.token.is_some() => Problem::not_for_programs().into_response(),
        Ok(Some(who)) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Ok(None) => Problem::signed_out().into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Lets people pass who have the permission somewhere, with a [`View`] of where. When that changes
/// while the answer is being made, the answer is not given.
pub(crate) async fn permitted(
    state: AppState,
    permission: Permission,
    mut request: Request,
    next: Next,
) -> Response {
    let changes = state.inner.authority.changes();
    let who = match session::caller(&state, request.headers(), request.extensions()).await {
        Ok(Some(who)) => who,
        Ok(None) => return Problem::signed_out().into_response(),
        Err(problem) => return problem.into_response(),
    };
    let view = match look(&state, who, permission).await {
        Ok(view) => view,
        Err(problem) => return problem.into_response(),
    };
    let held = Held::of(&view, permission);
    request.extensions_mut().insert(held.clone());
    request.extensions_mut().insert(view.who.clone());
    request.extensions_mut().insert(view);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        // A write is done or not done; its answer must say which.
        return next.run(request).await;
    }
    while_held(changes, next.run(request), || held.still()).await
}

/// What a signed-in person sees by a permission.
pub(crate) async fn look(
    state: &AppState,
    who: SignedIn,
    permission: Permission,
) -> Result<View, Problem> {
    if who.account.user.password_once {
        return Err(Problem::password_must_change());
    }
    let tree = state.inner.authority.tree().await?;
    match who.account.grants.scope(permission, &tree) {
        Some(scope) => Ok(View::new(state.clone(), who, scope, tree)),
        None if who.token.is_some() && !permission.is_for_programs() => {
            Err(Problem::not_for_programs())
        }
        None => {
            let detail = "this account may not do that: ask whoever manages accounts for the role";
            Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail))
        }
    }
}

/// What an answer rests on, or a write.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    state: AppState,
    id_hash: String,
    token: Option<ByToken>,
    address: IpAddr,
    permission: Permission,
    scope: Scope,
}

impl Held {
    pub(crate) fn of(view: &View, permission: Permission) -> Self {
        Self {
            state: view.state.clone(),
            id_hash: view.who.id_hash.clone(),
            token: view.who.token.clone(),
            address: view.who.address,
            permission,
            scope: view.scope.clone(),
        }
    }

    /// What the session sees now; `None` if it may see nothing of it any more.
    pub(crate) async fn view_again(&self) -> Option<View> {
        let account = self.account().await.ok().flatten()?;
        let who = SignedIn {
            account,
            id_hash: self.id_hash.clone(),
            token: self.token.clone(),
            address: self.address,
        };
        look(&self.state, who, self.permission).await.ok()
    }

    /// The account as it is now, if the session or the token has not ended.
    async fn account(&self) -> Result<Option<Account>, Problem> {
        match &self.token {
            Some(token) => program::account_behind(&self.state, token).await,
            None => {
                let alive = session::alive(&self.state, &self.id_hash).await?;
                Ok(alive.map(|(_, account)| account))
            }
        }
    }

    /// Whether the session or the token is there and reaches what it did. A database that does not answer says
    /// nothing about it.
    pub(crate) async fn still(&self) -> Result<(), Problem> {
        let Ok(account) = self.account().await else {
            return Ok(());
        };
        let Some(account) = account else {
            return Err(Problem::signed_out());
        };
        let Ok(tree) = self.state.inner.authority.tree().await else {
            return Ok(());
        };
        if account.grants.scope(self.permission, &tree).as_ref() == Some(&self.scope) {
            return Ok(());
        }
        let detail = "what this account may see changed in the meantime: ask again";
        Err(Problem::new(StatusCode::FORBIDDEN, "scope_changed", detail))
    }
}

/// Drops the answer, and with it the query that makes it, once `still` no longer holds.
pub(crate) async fn while_held<T, F, P>(
    mut changes: watch::Receiver<i64>,
    answer: impl Future<Output = T>,
    still: impl Fn() -> F,
) -> Response
where
    T: IntoResponse,
    F: Future<Output = Result<(), P>>,
    P: IntoResponse,
{
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.into_response(),
            changed = changes.changed() => {
                if changed.is_err() {
                    return answer.await.into_response();
                }
                if let Err(problem) = still().await {
                    return problem.into_response();
                }
            }
        }
    }
}

/// Lets callers on this machine pass, and people with the permission.
///
/// Behind a reverse proxy on this machine everybody comes from a loopback address. A request that
/// says that it was passed on is therefore nobody's of this machine, whatever it claims. A proxy
/// that adds none of [`PROXY_HEADERS`] cannot be told from a local program: it must be set up to
/// send `X-Forwarded-For` (nginx does not by itself) or to refuse the path.
pub(crate) async fn local_or_permitted(
    state: AppState,
    permission: Permission,
    request: Request,
    next: Next,
) -> Response {
    let is_loopback = address_of(request.extensions()).is_loopback();
    if is_loopback && speaks_for_itself(request.headers()) {
        return next.run(request).await;
    }
    permitted(state, permission, request, next).await
}

/// Whether neither a proxy nor a page in a browser stands behind the request.
fn speaks_for_itself(headers: &HeaderMap) -> bool {
    // A browser on this machine that another site drives says so; a scraper does not.
    let by_browser = headers.contains_key("sec-fetch-site");
    !by_browser && !PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// Refuses writes that do not come from our own pages or from a program that knows what it does.
pub(crate) async fn own_pages_only(request: Request, next: Next) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    // No page of another site can send a token without asking first, and we never say yes. What else is in
    // this header a browser may send by itself, and then the cookie with it.
    let headers = request.headers();
    let by_program = program::bearer(headers).is_some()
        || (headers.contains_key(header::AUTHORIZATION) && !headers.contains_key(header::COOKIE));
    match if reads || by_program {
        Ok(())
    } else {
        check_write(request.headers())
    } {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check_write(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &str| {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_request",
            detail,
        ))
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text(REQUEST_HEADER) != Some("1") {
        return refuse("a write needs the header `X-Xiezhi-Request: 1`");
    }
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refuse("this request was made by a page of another site");
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        let host = text("host");
        if authority.is_none_or(|(_, authority)| Some(authority) != host) {
            return refuse("`Origin` does not match the address of this controller");
        }
    }
    Ok(())
}

/// Bounds how long an answer may take; `late` makes the answer of what took longer.
pub(crate) async fn in_time(
    limit: Duration,
    late: fn(Duration) -> Response,
    request: Request,
    next: Next,
) -> Response {
    let note = request.extensions().get::<Note>().cloned();
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        note.inspect(Note::late);
        late(limit)
    })
}

/// Says that an answer took too long.
pub(crate) fn late(limit: Duration) -> Response {
    Problem::timed_out(limit).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn writes_need_the_header_and_our_own_origin() {
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[], false),
            (&[("x-xiezhi-request", "1")], true),
            (&[("x-xiezhi-request", "0")], false),
            (
                &[("x-xiezhi-request", "1"), ("origin", "https://here:8444")],
                true,
            ),
            (
                &[("x-xiezhi-request", "1"), ("origin", "https://there")],
                false,
            ),
            (&[("x-xiezhi-request", "1"), ("origin", "null")], false),
            (
                &[("x-xiezhi-request", "1"), ("sec-fetch-site", "cross-site")],
                false,
            ),
        ];
        for (given, passes) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "here:8444".parse().unwrap());
            for (name, value) in given {
                headers.insert(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            assert_eq!(check_write(&headers).is_ok(), passes, "{given:?}");
        }
    }
}
