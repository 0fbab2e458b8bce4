//! Filters of pages that one keeps under a name, with the account: own ones only, a bounded number of them.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_store::{SavedView, VIEWS_OF_ACCOUNT, VIEWS_OF_PAGE};

use crate::answer::{Answer, Done};
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::session::SignedIn;
use crate::state::AppState;

/// Longest name, in characters.
const MAX_NAME: usize = 40;
const MAX_PAGE_BYTES: usize = 64;
const MAX_QUERY_BYTES: usize = 1000;

#[derive(Serialize, JsonSchema)]
pub(crate) struct View {
    id: i64,
    page: String,
    name: String,
    query: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Views {
    /// Of all pages, the newest first.
    items: Vec<View>,
}

/// Filters to be kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewView {
    /// Path of a page: `/fleet`.
    page: String,
    /// At most 40 characters; what had it is replaced.
    name: String,
    /// The page's query without the question mark, at most 1,000 bytes.
    query: String,
}

async fn own(state: &AppState, who: &SignedIn) -> Result<Answer<Views>, Problem> {
    let views = state.inner.store.saved_views(who.account.user.id).await?;
    let view = |SavedView {
                    id,
                    page,
                    name,
                    query,
                }| View {
        id,
        page,
        name,
        query,
    };
    Ok(Answer(Views {
        items: views.into_iter().map(view).collect(),
    }))
}

pub(crate) async fn list(
    State(state): State<AppState>,
    who: SignedIn,
) -> Result<Answer<Views>, Problem> {
    own(&state, &who).await
}

/// Keeps filters; answers with all that are kept then.
pub(crate) async fn save(
    State(state): State<AppState>,
    who: SignedIn,
    Json(NewView { page, name, query }): Json<NewView>,
) -> Result<Answer<Views>, Problem> {
    let name = name.trim();
    check(&page, name, &query)?;
    let (user, store) = (who.account.user.id, &state.inner.store);
    if !store.save_view(user, &page, name, &query).await? {
        let detail = format!(
            "an account keeps {VIEWS_OF_PAGE} views of a page and {VIEWS_OF_ACCOUNT} in all: remove one first"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "too_many_views", detail));
    }
    own(&state, &who).await
}

fn check(page: &str, name: &str, query: &str) -> Result<(), Problem> {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "/-_".contains(sign);
    if page.len() > MAX_PAGE_BYTES
        || !page.starts_with('/')
        || page.contains("//")
        || !page.chars().all(plain)
    {
        return Err(Problem::bad_request("`page` must be the path of a page"));
    }
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!(
            "`name` must have 1 to {MAX_NAME} characters"
        )));
    }
    if query.len() > MAX_QUERY_BYTES || !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::bad_request(format!(
            "`query` must be a query as an address has it, of {MAX_QUERY_BYTES} bytes at most"
        )));
    }
    Ok(())
}

pub(crate) async fn forget(
    State(state): State<AppState>,
    who: SignedIn,
    Path(id): Path<i64>,
) -> Result<Done, Problem> {
    let user = who.account.user.id;
    if state.inner.store.forget_view(user, id).await? {
        return Ok(Done);
    }
    Err(Problem::not_found("view of yours"))
}
