//! Hosts that wait for a person before they may enrol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_model::{Approval, ApprovalState, SiteTree};

use crate::answer::Answer;
use crate::extract::{Json, Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::view::View;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// `pending` unless given; `all` for all.
    state: Option<String>,
    /// Requests on a page, 500 at most; 100 unless given.
    limit: Option<u32>,
    /// Number of the last request of the page before.
    cursor: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ApprovalRow {
    id: i64,
    token: String,
    site: SiteName,
    hostname: String,
    machine: String,
    evidence_key: String,
    version: String,
    requested_ms: i64,
    state: &'static str,
    decided_by: String,
    decided_ms: Option<i64>,
    host: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Approvals {
    items: Vec<ApprovalRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

impl ApprovalRow {
    fn new(approval: Approval, tree: &SiteTree) -> Self {
        Self {
            id: approval.id,
            token: approval.token,
            site: SiteName::of(approval.site, tree),
            hostname: approval.hostname,
            machine: approval.machine,
            evidence_key: approval.evidence_key,
            version: approval.version,
            requested_ms: approval.requested_ms,
            state: approval.state.word(),
            decided_by: approval.decided_by,
            decided_ms: approval.decided_ms,
            host: approval.host.map(|host| host.0),
        }
    }
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Approvals>, Problem> {
    let wanted = match filter.state.as_deref() {
        None => Some(ApprovalState::Pending),
        Some("all") => None,
        Some(word) => Some(ApprovalState::from_word(word).ok_or_else(|| {
            Problem::bad_request("`state` must be pending, approved, refused, enrolled or all")
        })?),
    };
    let page = Page::new(filter.limit, filter.cursor);
    let store = &view.state.inner.store;
    let mut approvals = store
        .approvals_page(wanted, &view.scope, page.query())
        .await?;
    let next = page.cut(&mut approvals, |approval| approval.id);
    let items = approvals
        .into_iter()
        .map(|approval| ApprovalRow::new(approval, view.tree()))
        .collect();
    Ok(Answer(Approvals { items, next }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    decision: Verdict,
}

#[derive(Deserialize, Clone, Copy, PartialEq, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Approve,
    Refuse,
}

/// Decides once; a later decision changes nothing and the answer says what holds.
pub(crate) async fn decide(
    view: View,
    Path(id): Path<i64>,
    Json(Decision { decision }): Json<Decision>,
) -> Result<Answer<ApprovalRow>, Problem> {
    let (state, who) = (&view.state, &view.who);
    let asked = state.inner.store.approval(id).await?;
    let seen = asked.is_some_and(|approval| view.scope.sees(approval.site));
    if !seen {
        return Err(Problem::not_found("approval request"));
    }
    let approve = decision == Verdict::Approve;
    let action = if approve {
        "approval.approve"
    } else {
        "approval.refuse"
    };
    let audit = who.audit(state.now_ms(), action, format!("approval:{id}"));
    let approval = state
        .inner
        .store
        .decide_approval(id, approve, audit)
        .await?;
    Ok(Answer(ApprovalRow::new(approval, view.tree())))
}
