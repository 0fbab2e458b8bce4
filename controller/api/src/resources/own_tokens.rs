//! Tokens of programs that act for the account that makes them: made here with the password, shown once,
//! withdrawn here.
//!
//! Such a token holds one role of the account at a site and below it, and of that what
//! [`Permission::is_for_programs`](xiezhi_model::Permission::is_for_programs) names. It ends with its time,
//! when its owner or whoever manages programs withdraws it, and with whatever makes it void: a new password,
//! the role taken away, the account disabled.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::tokens;
use xiezhi_model::{ApiRight, ApiToken, Grant, OnBehalf, Role, SiteId, SiteTree};
use xiezhi_store::{NewApiToken, OwnTokenError};

use super::me::prove_with_code;
use crate::answer::{Answer, Created, Done};
use crate::extract::{Json, Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::RoleRow;
use crate::session::SignedIn;
use crate::state::AppState;

const MAX_NAME: usize = 100;
const MAX_DAYS: u32 = 365;
const USUAL_DAYS: u32 = 90;

#[derive(Serialize, JsonSchema)]
pub(crate) struct OwnTokenRow {
    id: i64,
    name: String,
    /// The role that it acts under, and where.
    role: RoleRow,
    created_ms: i64,
    expires_ms: i64,
    /// To the minute; `None` if no program ever came with it.
    last_used_ms: Option<i64>,
    /// From which address.
    last_used_from: String,
    /// `valid`, `expired`, `revoked`, or `void` while the account does not hold the role there.
    state: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct OwnTokens {
    items: Vec<OwnTokenRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

fn row(who: &SignedIn, token: ApiToken, tree: &SiteTree, now_ms: i64) -> Option<OwnTokenRow> {
    let grant = token.grant()?;
    Some(OwnTokenRow {
        id: token.id,
        role: RoleRow::new(grant, tree),
        state: token.state(now_ms, Some(&who.account.grants), tree),
        name: token.name,
        created_ms: token.created_ms,
        expires_ms: token.expires_ms,
        last_used_ms: token.last_used_ms,
        last_used_from: token.last_used_from,
    })
}

pub(crate) async fn list(
    State(state): State<AppState>,
    who: SignedIn,
    Query(page): Query<Page>,
) -> Result<Answer<OwnTokens>, Problem> {
    let tree = state.inner.authority.tree().await?;
    let (store, user) = (&state.inner.store, who.account.user.id);
    let mut tokens = store.own_api_tokens(user, page.query()).await?;
    let next = page.cut(&mut tokens, |token| token.id);
    let now_ms = state.now_ms();
    let rows = tokens.into_iter();
    let items = rows.filter_map(|token| row(&who, token, &tree, now_ms));
    Ok(Answer(OwnTokens {
        items: items.collect(),
        next,
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOwnToken {
    /// What it is for; audit entries of what the program does name it.
    name: String,
    /// The one of the account's roles that the program acts under.
    role: String,
    /// The site at which, and below which; left out: the whole province, where the role is held there.
    #[serde(default)]
    site: Option<i64>,
    /// 1 to 365; 90 unless given.
    #[serde(default)]
    expires_in_days: Option<u32>,
    /// The account's own.
    password: String,
    /// Of the authenticator app, or a recovery code; needed where the account has a second factor.
    #[serde(default)]
    code: Option<String>,
}

/// A token as it is shown the one time that it is shown.
#[derive(Serialize, JsonSchema)]
pub(crate) struct IssuedOwnToken {
    /// To be sent as `Authorization: Bearer …`.
    token: String,
    made: OwnTokenRow,
}

pub(crate) async fn create(
    State(state): State<AppState>,
    who: SignedIn,
    Json(wanted): Json<NewOwnToken>,
) -> Result<Created<IssuedOwnToken>, Problem> {
    let user = &who.account.user;
    if user.password_once {
        return Err(Problem::password_must_change());
    }
    let (name, days) = checked(&wanted)?;
    let grant = grant_of(&wanted)?;
    let tree = state.inner.authority.tree().await?;
    if !who.account.grants.cover(grant, &tree) {
        return Err(not_held());
    }
    prove_with_code(&state, &who, wanted.password, wanted.code.as_deref()).await?;
    let (secret, hash) = tokens::api_token()?;
    let now_ms = state.now_ms();
    let life_ms = i64::from(days).saturating_mul(86_400_000);
    let new = NewApiToken {
        name: name.clone(),
        secret_hash: hash.to_string(),
        right: ApiRight::UseApi,
        site: grant.site,
        expires_ms: now_ms.saturating_add(life_ms),
    };
    let site = grant.site.and_then(|site| tree.get(site));
    let audit = who
        .audit(now_ms, "api_token.create", "")
        .with("name", name)
        .with("right", ApiRight::UseApi.word())
        .with("role", grant.role.word())
        .with("site", site.map_or("", |site| site.key.as_str()))
        .with("days", days.to_string());
    let on_behalf = OnBehalf {
        user: user.id,
        role: grant.role,
    };
    let (store, proved) = (&state.inner.store, &user.password_hash);
    let made = store.create_own_api_token(&new, on_behalf, proved, audit);
    let made = made.await.map_err(told)?;
    let made = row(&who, made, &tree, now_ms).ok_or_else(not_held)?;
    let token = secret.to_string();
    Ok(Created(IssuedOwnToken { token, made }))
}

/// The name and the days.
fn checked(wanted: &NewOwnToken) -> Result<(String, u32), Problem> {
    let name = wanted.name.trim();
    // Marks that turn the direction of writing would make a list say something else.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_plain = !name.chars().any(|c| c.is_control() || turns(c));
    if name.is_empty() || name.chars().count() > MAX_NAME || !is_plain {
        return Err(Problem::bad_request(format!(
            "`name` must say what the token is for, in at most {MAX_NAME} characters of one line"
        )));
    }
    let days = wanted.expires_in_days.unwrap_or(USUAL_DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        let detail = format!("`expires_in_days` must be 1 to {MAX_DAYS}");
        return Err(Problem::bad_request(detail));
    }
    Ok((name.to_owned(), days))
}

fn grant_of(wanted: &NewOwnToken) -> Result<Grant, Problem> {
    let role = Role::from_word(&wanted.role).ok_or_else(|| {
        Problem::bad_request("`role` must be one of the roles that `GET /api/v1/me` lists")
    })?;
    if role == Role::Wall {
        return Err(not_held());
    }
    let site = wanted.site.map(SiteId);
    Ok(Grant { role, site })
}

fn not_held() -> Problem {
    let detail = "this account does not hold that role there, or it is a wall's: name a role that it \
                  holds, at its site or below it";
    Problem::new(StatusCode::FORBIDDEN, "role_not_held", detail)
}

fn told(error: OwnTokenError) -> Problem {
    let status = StatusCode::CONFLICT;
    match error {
        OwnTokenError::SameName => Problem::new(status, "token_name_taken", error.to_string()),
        OwnTokenError::TooMany => Problem::new(status, "too_many_own_tokens", error.to_string()),
        OwnTokenError::RoleGone => not_held(),
        OwnTokenError::Store(error) => error.into(),
    }
}

pub(crate) async fn revoke(
    State(state): State<AppState>,
    who: SignedIn,
    Path(id): Path<i64>,
) -> Result<Done, Problem> {
    let (store, user) = (&state.inner.store, who.account.user.id);
    let found = store.api_token(id).await?;
    let name = found.map_or_else(String::new, |token| token.name);
    let subject = format!("api-token:{id}");
    let audit = who.audit(state.now_ms(), "api_token.revoke", subject);
    let audit = audit.with("name", name);
    store.revoke_own_api_token(user, id, audit).await?;
    Ok(Done)
}
