//! Enrolment tokens: made here, shown once, withdrawn here.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::tokens;
use xiezhi_model::{EnrolmentToken, MAX_TOKEN_DAYS, MAX_TOKEN_USES, SiteTree};
use xiezhi_store::TokenCursor;

use crate::answer::{Answer, Created, Done};
use crate::extract::{Json, Path, Query};
use crate::pages::{cut, page_size};
use crate::print::enrol_commands;
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::state::AppState;
use crate::view::View;

const MIN_LIFE_S: u32 = 60;
const MAX_LIFE_S: u32 = MAX_TOKEN_DAYS * 86_400;

#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenRow {
    id: String,
    site: SiteName,
    uses: u32,
    uses_left: u32,
    expires_ms: i64,
    approval: bool,
    simulated: bool,
    created_ms: i64,
    created_by: String,
    revoked_ms: Option<i64>,
    /// `active`, `expired`, `used` or `revoked`.
    state: &'static str,
}

/// Tokens, newest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Tokens {
    items: Vec<TokenRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<String>,
}

impl TokenRow {
    fn new(token: EnrolmentToken, tree: &SiteTree, now_ms: i64) -> Self {
        let state = match &token {
            token if token.revoked_ms.is_some() => "revoked",
            token if token.expires_ms <= now_ms => "expired",
            token if token.uses_left == 0 => "used",
            _ => "active",
        };
        Self {
            site: SiteName::of(token.site, tree),
            id: token.id,
            uses: token.uses,
            uses_left: token.uses_left,
            expires_ms: token.expires_ms,
            approval: token.needs_approval,
            simulated: token.simulated,
            created_ms: token.created_ms,
            created_by: token.created_by,
            revoked_ms: token.revoked_ms,
            state,
        }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "TokenFilter")]
pub(crate) struct Filter {
    /// Tokens on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Tokens>, Problem> {
    let after = filter.cursor.as_deref().map(str::parse).transpose();
    let after = after
        .map_err(|error: xiezhi_store::CursorError| Problem::bad_request(error.to_string()))?;
    let size = page_size(filter.limit);
    let store = &view.state.inner.store;
    let tokens = store.tokens_page(&view.scope, after.as_ref(), size + 1);
    let mut tokens = tokens.await?;
    let next = cut(&mut tokens, size as usize).map(|token| TokenCursor::from(token).to_string());
    let now_ms = view.state.now_ms();
    let items = tokens
        .into_iter()
        .map(|token| TokenRow::new(token, view.tree(), now_ms))
        .collect();
    Ok(Answer(Tokens { items, next }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    site: i64,
    uses: u32,
    expires_in_s: u32,
    #[serde(default)]
    approval: bool,
}

/// A token as it is shown the one time that it is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Issued {
    id: String,
    token: String,
    expires_ms: i64,
    /// What to run on the host, as root.
    commands: Vec<String>,
}

pub(crate) async fn create(
    view: View,
    headers: HeaderMap,
    Json(wanted): Json<NewToken>,
) -> Result<Created<Issued>, Problem> {
    check(&wanted)?;
    let site = view.site_in_use(wanted.site)?;
    let (state, who) = (&view.state, &view.who);
    let (token, hash) = tokens::generate(state.inner.enrolment.root_fingerprint)?;
    let now_ms = state.now_ms();
    let record = EnrolmentToken {
        id: token.id_text(),
        secret_hash: hash.to_string(),
        site: site.id,
        uses: wanted.uses,
        uses_left: wanted.uses,
        expires_ms: now_ms.saturating_add(i64::from(wanted.expires_in_s) * 1000),
        needs_approval: wanted.approval,
        simulated: false,
        created_ms: now_ms,
        created_by: xiezhi_model::Actor::User(who.name().to_owned()).to_string(),
        revoked_ms: None,
    };
    let audit = who
        .audit(now_ms, "token.create", record.id.clone())
        .with("site", site.key.clone())
        .with("uses", wanted.uses.to_string())
        .with("approval", wanted.approval.to_string());
    state.inner.store.create_token(&record, audit).await?;
    let text = token.to_text();
    let issued = Issued {
        commands: commands(state, &headers, &text),
        id: record.id,
        token: text,
        expires_ms: record.expires_ms,
    };
    Ok(Created(issued))
}

fn check(wanted: &NewToken) -> Result<(), Problem> {
    if !(1..=MAX_TOKEN_USES).contains(&wanted.uses) {
        return Err(Problem::bad_request(format!(
            "`uses` must be 1 to {MAX_TOKEN_USES}"
        )));
    }
    if !(MIN_LIFE_S..=MAX_LIFE_S).contains(&wanted.expires_in_s) {
        let detail = format!("`expires_in_s` must be {MIN_LIFE_S} to {MAX_LIFE_S}");
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

/// The commands name the address by which the browser reached the controller, unless another is
/// configured: on a court's network both are usually the same machine.
fn commands(state: &AppState, headers: &HeaderMap, token: &str) -> Vec<String> {
    let enrolment = &state.inner.enrolment;
    let asked = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|host| host.parse::<Authority>().ok());
    let host = enrolment
        .agent_host
        .clone()
        .or_else(|| asked.map(|authority| authority.host().to_owned()))
        .unwrap_or_else(|| "CONTROLLER".to_owned());
    enrol_commands(&format!("{host}:{}", enrolment.agent_port), token)
}

pub(crate) async fn revoke(view: View, Path(id): Path<String>) -> Result<Done, Problem> {
    let (state, who) = (&view.state, &view.who);
    let token = state.inner.store.token(&id).await?;
    let seen = token.is_some_and(|token| view.scope.sees(token.site));
    if !seen {
        return Err(Problem::not_found("enrolment token"));
    }
    let audit = who.audit(state.now_ms(), "token.revoke", id.clone());
    state.inner.store.revoke_token(&id, audit).await?;
    Ok(Done)
}
