//! Tokens of programs: listed with whose they are, made here if they are for metrics, withdrawn here.
//!
//! A token that acts for an account is seen by whoever sees that account and the part of the organisation that
//! it reaches, and withdrawn by whoever may ask for the account to be disabled: it takes nothing from its owner
//! but to make another one. Tokens for metrics are the province's.

use std::collections::HashMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::tokens;
use xiezhi_model::{Account, AccountChange, ApiRight, ApiToken, Permission, Scope, SiteId};
use xiezhi_store::{ApiTokenQuery, NewApiToken, Older};

use super::users::{is_seen, may};
use crate::answer::{Answer, Created, Done};
use crate::extract::{Json, Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::view::View;

const MAX_NAME: usize = 100;
const MAX_DAYS: u32 = 3650;

/// Tokens that are looked through at one time for those that the caller sees.
const SLICE: u32 = 500;

/// The account that a token acts for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenOwner {
    id: i64,
    name: String,
    display_name: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiTokenRow {
    id: i64,
    name: String,
    /// `read-metrics`, `write-metrics` or `use-api`.
    right: &'static str,
    /// For whom it acts; `None` of one that is for metrics.
    owner: Option<TokenOwner>,
    /// The role of its maker that it acts under; `None` of one that is for metrics.
    role: Option<&'static str>,
    /// `None` is the whole province.
    site: Option<SiteName>,
    created_ms: i64,
    created_by: String,
    expires_ms: i64,
    /// To the minute; `None` if no program ever came with it.
    last_used_ms: Option<i64>,
    /// From which address.
    last_used_from: String,
    /// `valid`, `expired`, `revoked`, or `void` while its owner does not hold the role there.
    state: &'static str,
    /// Whether it is good still and the caller may withdraw it.
    withdrawable: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiTokens {
    items: Vec<ApiTokenRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ApiTokenFilter")]
pub(crate) struct Filter {
    /// Only those that act for the account with this number.
    user: Option<i64>,
    /// Only those that are good still.
    valid: bool,
    /// Entries on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Number of the last entry of the page before.
    cursor: Option<i64>,
}

fn row(view: &View, token: ApiToken, owner: Option<&Account>) -> ApiTokenRow {
    let (now_ms, tree) = (view.state.now_ms(), view.tree());
    let state = token.state(now_ms, owner.map(|owner| &owner.grants), tree);
    ApiTokenRow {
        withdrawable: matches!(state, "valid" | "void") && may_withdraw(view, owner).is_ok(),
        id: token.id,
        name: token.name,
        right: token.right.word(),
        owner: owner.map(|account| TokenOwner {
            id: account.user.id,
            name: account.user.name.clone(),
            display_name: account.user.display_name.clone(),
        }),
        role: token.on_behalf.map(|on_behalf| on_behalf.role.word()),
        site: token.site.map(|site| SiteName::of(site, tree)),
        created_ms: token.created_ms,
        created_by: token.created_by,
        expires_ms: token.expires_ms,
        last_used_ms: token.last_used_ms,
        last_used_from: token.last_used_from,
        state,
    }
}

/// Whether the caller sees it: what is held elsewhere is not named, and metrics are the province's.
fn sees(view: &View, token: &ApiToken, owner: Option<&Account>) -> bool {
    match token.on_behalf {
        None => view.scope == Scope::Province,
        Some(_) => owner.is_some_and(|owner| is_seen(view, owner)) && view.scope.covers(token.site),
    }
}

/// One's own, or those of accounts that one may ask to disable; those for metrics by who manages programs.
fn may_withdraw(view: &View, owner: Option<&Account>) -> Result<(), Problem> {
    match owner {
        Some(owner) if owner.user.id == view.who.account.user.id => Ok(()),
        Some(owner) => may(view, AccountChange::Disable, owner).map(drop),
        None if view.scope_of(Permission::ManagePrograms).is_some() => Ok(()),
        None => {
            let detail = "this account may not manage the tokens of programs";
            Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail))
        }
    }
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<ApiTokens>, Problem> {
    let store = &view.state.inner.store;
    let accounts = store.accounts().await?;
    let accounts: HashMap<i64, &Account> = accounts.iter().map(|one| (one.user.id, one)).collect();
    let owner_of = |token: &ApiToken| {
        let user = token.on_behalf.map(|on_behalf| on_behalf.user);
        user.and_then(|user| accounts.get(&user).copied())
    };
    let wanted = ApiTokenQuery {
        user: filter.user,
        valid_at_ms: filter.valid.then(|| view.state.now_ms()),
    };
    let page = Page::new(filter.limit, filter.cursor);
    let mut before = filter.cursor;
    let mut found: Vec<ApiToken> = Vec::new();
    while found.len() <= page.size() {
        let slice = Older {
            before,
            limit: SLICE,
        };
        let tokens = store.api_tokens_page(wanted, slice).await?;
        let is_last = tokens.len() < SLICE as usize;
        before = tokens.last().map(|token| token.id);
        let seen = |token: &ApiToken| sees(&view, token, owner_of(token));
        found.extend(tokens.into_iter().filter(seen));
        if is_last {
            break;
        }
    }
    let next = page.cut(&mut found, |token| token.id);
    let items = found.into_iter().map(|token| {
        let owner = owner_of(&token);
        row(&view, token, owner)
    });
    Ok(Answer(ApiTokens {
        items: items.collect(),
        next,
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewApiToken")]
pub(crate) struct NewToken {
    name: String,
    right: String,
    /// The site whose subtree it sees, or that its samples belong to.
    #[serde(default)]
    site: Option<i64>,
    expires_in_days: u32,
}

/// A token as it is shown the one time that it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IssuedApiToken")]
pub(crate) struct Issued {
    token: String,
    made: ApiTokenRow,
}

pub(crate) async fn create(
    view: View,
    Json(wanted): Json<NewToken>,
) -> Result<Created<Issued>, Problem> {
    let name = wanted.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(Problem::bad_request(format!(
            "`name` must say what the token is for, in at most {MAX_NAME} characters"
        )));
    }
    if !(1..=MAX_DAYS).contains(&wanted.expires_in_days) {
        let detail = format!("`expires_in_days` must be 1 to {MAX_DAYS}");
        return Err(Problem::bad_request(detail));
    }
    // One that uses the interface is made by the account that it acts for.
    let right = ApiRight::from_word(&wanted.right)
        .filter(|right| *right != ApiRight::UseApi)
        .ok_or_else(|| Problem::bad_request("`right` must be read-metrics or write-metrics"))?;
    let site = wanted.site.map(|site| view.site_in_use(site)).transpose()?;
    if right == ApiRight::WriteMetrics && site.is_none() {
        return Err(Problem::bad_request(
            "a token that writes needs a `site`, to which its samples belong",
        ));
    }
    let (secret, hash) = tokens::api_token()?;
    let now_ms = view.state.now_ms();
    let life_ms = i64::from(wanted.expires_in_days).saturating_mul(86_400_000);
    let new = NewApiToken {
        name: name.to_owned(),
        secret_hash: hash.to_string(),
        right,
        site: site.map(|site| SiteId(site.id.0)),
        expires_ms: now_ms.saturating_add(life_ms),
    };
    let audit = view
        .who
        .audit(now_ms, "api_token.create", "")
        .with("name", name)
        .with("right", right.word());
    let made = view.state.inner.store.create_api_token(&new, audit).await?;
    let issued = Issued {
        token: secret.to_string(),
        made: row(&view, made, None),
    };
    Ok(Created(issued))
}

pub(crate) async fn revoke(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let store = &view.state.inner.store;
    let found = store.api_token(id).await?;
    let owner = match found.as_ref().and_then(|token| token.on_behalf) {
        Some(on_behalf) => store.account(on_behalf.user).await?,
        None => None,
    };
    let token = found.filter(|token| sees(&view, token, owner.as_ref()));
    let token = token.ok_or_else(|| Problem::not_found("API token"))?;
    may_withdraw(&view, owner.as_ref())?;
    let (now_ms, subject) = (view.state.now_ms(), format!("api-token:{id}"));
    let mut audit = view.who.audit(now_ms, "api_token.revoke", subject);
    audit = audit.with("name", token.name);
    if let Some(owner) = owner {
        audit = audit.with("user", owner.user.name);
    }
    store.revoke_api_token(id, audit).await?;
    Ok(Done)
}
