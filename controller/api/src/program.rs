//! Programs that come with an API token instead of a session.
//!
//! Tokens that read or write metrics are nobody's and have a scope. One that uses the interface acts for the
//! account that made it: [`account_behind`] is that account with no more than one of its roles, at the
//! token's site, and of that what programs may do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use xiezhi_identity::tokens::{API_TOKEN_PREFIX, hash_api_token};
use xiezhi_metrics::Scope;
use xiezhi_model::{Account, Actor, ApiRight, ApiToken, Permission, SiteId, SiteTree};

use crate::guard::{Held, look, while_held};
use crate::peer::address_of;
use crate::problem::Problem;
use crate::query_desk::{self, Asked, Caller};
use crate::refused::Note;
use crate::resources::prometheus::{Reason, Refused};
use crate::session::{self, SignedIn};
use crate::state::AppState;
use crate::token_desk::{Unfit, find, refuse_ended, used, valid};

/// Whose samples the caller of a query sees. The guard puts it there.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) scope: Scope,
    /// Who it is, for the audit record.
    pub(crate) caller: Caller,
}

/// Who asks, so that it can be asked again whether they still may.
#[derive(Debug)]
enum Asker {
    Program { secret: String },
    Person(Held),
}

/// Lets programs with the right to read pass, and signed-in people.
pub(crate) async fn metrics_reader(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let changes = state.inner.authority.changes();
    match reader(&state, request.headers(), request.extensions()).await {
        Ok((reader, asker)) => {
            let (caller, asked) = (reader.caller.clone(), Asked::default());
            let (asker, scope) = (&asker, reader.scope.clone());
            let (held, scope) = (&state, &scope);
            request.extensions_mut().insert(reader);
            request.extensions_mut().insert(asked.clone());
            // A query ends with its caller's right to ask it.
            let still = || async move { asker.still(held, scope).await };
            let response = while_held(changes, next.run(request), still).await;
            if let Some(reason) = response.extensions().get::<Reason>().copied() {
                query_desk::note(&state, &caller, &asked, reason).await;
            }
            response
        }
        Err(refused) => refused.into_response(),
    }
}

impl Asker {
    async fn still(&self, state: &AppState, scope: &Scope) -> Result<(), Refused> {
        match self {
            Self::Person(held) => held.still().await.map_err(Refused::from),
            Self::Program { secret } => {
                let hash = hash_api_token(secret).map(|hash| hash.to_string());
                let token = find(state, hash.as_deref()).await.map_err(Unfit::Store)?;
                let token = token.ok_or(Unfit::Unknown)?;
                if token_scope(state, token.site).await? == *scope {
                    return Ok(());
                }
                let why = "what this token may see changed in the meantime: ask again";
                Err(Refused::new(StatusCode::FORBIDDEN, "forbidden", why))
            }
        }
    }
}

async fn token_scope(state: &AppState, site: Option<SiteId>) -> Result<Scope, Refused> {
    Ok(match site {
        None => Scope::Province,
        Some(site) => below(&*state.inner.authority.tree().await?, site),
    })
}

async fn reader(
    state: &AppState,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(Reader, Asker), Refused> {
    if let Some(secret) = presented(headers) {
        let address = address_of(extensions);
        let rights = [ApiRight::ReadMetrics, ApiRight::UseApi];
        let token = valid(state, &secret, &rights, address).await?;
        if token.right == ApiRight::UseApi {
            let who = acting(state, extensions, token, &secret).await?;
            return person(state, who).await;
        }
        used(state, &token, address).await;
        let scope = token_scope(state, token.site).await?;
        let caller = Caller {
            actor: Actor::Address(address.to_string()),
            subject: format!("api_token {}", token.id),
        };
        return Ok((Reader { scope, caller }, Asker::Program { secret }));
    }
    let who = session::find(state, headers, extensions).await;
    match who.map_err(Refused::from)? {
        Some(who) => person(state, who).await,
        None => Err(unauthorized(
            "sign in, or send an API token with the right read-metrics \
             (`xiezhi-controller api-token create`) as bearer token or as password",
        )),
    }
}

/// Somebody who may see hosts, with a session or by a token that acts for them.
async fn person(state: &AppState, who: SignedIn) -> Result<(Reader, Asker), Refused> {
    let caller = Caller {
        subject: match &who.token {
            None => format!("user {}", who.name()),
            Some(token) => format!("api_token {}", token.id),
        },
        actor: Actor::User(who.name().to_owned()),
    };
    let view = look(state, who, Permission::SeeHosts).await?;
    let scope = match view.scope.sites() {
        None => Scope::Province,
        Some(sites) => Scope::Sites(Arc::new(sites.iter().map(|site| site.0).collect())),
    };
    let held = Held::of(&view, Permission::SeeHosts);
    Ok((Reader { scope, caller }, Asker::Person(held)))
}

/// By which token a request comes.
#[derive(Debug, Clone)]
pub(crate) struct ByToken {
    pub(crate) id: i64,
    /// What its maker called it.
    pub(crate) name: String,
    /// Digest of its secret.
    hash: String,
}

impl ByToken {
    /// As audit entries name it: number and name.
    pub(crate) fn told(&self) -> String {
        format!("{} {}", self.id, self.name)
    }
}

/// The account that a request's bearer token acts for; `None` if it brings none of ours.
pub(crate) async fn signed_in(
    state: &AppState,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Option<SignedIn>, Problem> {
    let Some(secret) = bearer(headers) else {
        return Ok(None);
    };
    let address = address_of(extensions);
    let token = valid(state, secret, &[ApiRight::UseApi], address).await?;
    acting(state, extensions, token, secret).await.map(Some)
}

async fn acting(
    state: &AppState,
    extensions: &Extensions,
    token: ApiToken,
    secret: &str,
) -> Result<SignedIn, Problem> {
    let address = address_of(extensions);
    let Some(account) = account_of(state, &token).await? else {
        refuse_ended(state, &token, address).await;
        return Err(Unfit::Unknown.into());
    };
    used(state, &token, address).await;
    let hash = hash_api_token(secret).map(|hash| hash.to_string());
    let by = ByToken {
        id: token.id,
        name: token.name,
        hash: hash.unwrap_or_default(),
    };
    Note::program(extensions, &account.user.name, &by.told());
    Ok(SignedIn {
        account,
        id_hash: String::new(),
        token: Some(by),
        address,
    })
}

/// The account that a token acts for, as it is now; `None` if the token, the account or its role there is
/// gone.
pub(crate) async fn account_behind(
    state: &AppState,
    by: &ByToken,
) -> Result<Option<Account>, Problem> {
    match find(state, Some(&by.hash)).await? {
        Some(token) => account_of(state, &token).await,
        None => Ok(None),
    }
}

async fn account_of(state: &AppState, token: &ApiToken) -> Result<Option<Account>, Problem> {
    let (Some(on_behalf), Some(grant)) = (token.on_behalf, token.grant()) else {
        return Ok(None);
    };
    let Some(account) = state.inner.store.account(on_behalf.user).await? else {
        return Ok(None);
    };
    let tree = state.inner.authority.tree().await?;
    let grants = account.grants.for_program(grant, &tree);
    let alive = grants.filter(|_| account.user.disabled_ms.is_none());
    let user = account.user;
    Ok(alive.map(|grants| Account { user, grants }))
}

/// A bearer token of ours. What a proxy sends on for a person looks otherwise.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let secret = rest.trim();
    let is_ours = scheme.eq_ignore_ascii_case("bearer") && secret.starts_with(API_TOKEN_PREFIX);
    is_ours.then_some(secret)
}

/// Whose samples a request brings. The guard puts it there.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    /// The number of its token.
    pub(crate) token: i64,
}

/// Lets programs with the right to write pass.
pub(crate) async fn metrics_writer(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    match writer(&state, request.headers(), request.extensions()).await {
        Ok(writer) => {
            request.extensions_mut().insert(writer);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

async fn writer(
    state: &AppState,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Writer, Refused> {
    let secret = presented(headers).ok_or_else(|| {
        unauthorized(
            "send an API token with the right write-metrics \
             (`xiezhi-controller api-token create`) as bearer token or as password",
        )
    })?;
    let address = address_of(extensions);
    let token = valid(state, &secret, &[ApiRight::WriteMetrics], address).await;
    // A Prometheus throws away what was answered with any 4xx.
    let token = token.map_err(|unfit| Refused::from(unfit).later_if_too_many())?;
    used(state, &token, address).await;
    if token.site.is_none() {
        let detail = "the API token has no site to which its samples would belong: make one with \
                      `--site`";
        return Err(Refused::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    Ok(Writer { token: token.id })
}

fn unauthorized(detail: &'static str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

/// The secret that a request carries, as bearer token or as the password of basic authentication
/// (whatever the user's name is).
pub(crate) fn presented(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let plain = BASE64.decode(rest.trim().as_bytes()).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        return plain.split_once(':').map(|(_, secret)| secret.to_owned());
    }
    None
}

/// A site and everything below it.
fn below(sites: &SiteTree, top: SiteId) -> Scope {
    let sites = sites.subtree(top);
    Scope::Sites(Arc::new(sites.into_iter().map(|site| site.0).collect()))
}

impl Refused {
    /// What a client needs to ask a person for a name and a password.
    pub(crate) fn challenge(response: &mut Response) {
        if response.status() == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Basic realm=\"xiezhi\", charset=\"UTF-8\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let kind = match problem.status() {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal",
        };
        Self::new(problem.status(), kind, problem.detail().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_as_bearer_token_or_as_password() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            presented(&headers)
        };
        assert_eq!(of("Bearer xza_1").as_deref(), Some("xza_1"));
        assert_eq!(of("Basic Z3JhZmFuYTp4emFfMQ==").as_deref(), Some("xza_1"));
        for text in ["Bearer", "Basic !!", "Basic Z3JhZmFuYQ==", "Digest x"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn the_interface_takes_bearer_tokens_of_ours_only() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer xza_1").as_deref(), Some("xza_1"));
        // A browser sends the second by itself, a proxy that signs people in the third.
        for text in ["Basic Z3JhZmFuYTp4emFfMQ==", "Bearer eyJhbGciOi", "Bearer"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
