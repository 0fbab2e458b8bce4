//! Tokens of programs: made here, shown once, withdrawn here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_identity::tokens;
use xiezhi_model::{ApiRight, ApiToken, SiteId};
use xiezhi_store::NewApiToken;

use crate::answer::{Answer, Created, Done};
use crate::extract::{Json, Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::view::View;

const MAX_NAME: usize = 100;
const MAX_DAYS: u32 = 3650;

#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiTokenRow {
    id: i64,
    name: String,
    /// `read-metrics`, `write-metrics` or `use-api`.
    right: &'static str,
    /// The role of its maker that it acts under; `None` of one that is for metrics.
    role: Option<&'static str>,
    /// `None` is the whole province.
    site: Option<SiteName>,
    created_ms: i64,
    created_by: String,
    expires_ms: i64,
    /// `valid`, `expired` or `revoked`.
    state: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ApiTokens {
    items: Vec<ApiTokenRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

fn row(view: &View, token: ApiToken) -> ApiTokenRow {
    let state = match token.revoked_ms {
        Some(_) => "revoked",
        None if token.is_valid(view.state.now_ms()) => "valid",
        None => "expired",
    };
    ApiTokenRow {
        id: token.id,
        name: token.name,
        right: token.right.word(),
        role: token.on_behalf.map(|on_behalf| on_behalf.role.word()),
        site: token.site.map(|site| SiteName::of(site, view.tree())),
        created_ms: token.created_ms,
        created_by: token.created_by,
        expires_ms: token.expires_ms,
        state,
    }
}

pub(crate) async fn list(
    view: View,
    Query(page): Query<Page>,
) -> Result<Answer<ApiTokens>, Problem> {
    let store = &view.state.inner.store;
    let mut tokens = store.api_tokens_page(page.query()).await?;
    let next = page.cut(&mut tokens, |token| token.id);
    let items = tokens.into_iter().map(|token| row(&view, token)).collect();
    Ok(Answer(ApiTokens { items, next }))
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
        made: row(&view, made),
    };
    Ok(Created(issued))
}

pub(crate) async fn revoke(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let now_ms = view.state.now_ms();
    let audit = view
        .who
        .audit(now_ms, "api_token.revoke", format!("api-token:{id}"));
    view.state.inner.store.revoke_api_token(id, audit).await?;
    Ok(Done)
}
