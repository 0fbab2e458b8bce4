//! One host: what is known of it, and what may be done to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::bandwidth_setting;
use xiezhi_model::{HostId, MAX_REVOCATION_REASON, Setting, revocation_reason};
use xiezhi_protocol::message::{Bandwidth, BandwidthWindow, Directive};

use crate::answer::{Answer, Done};
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::rows::{HostRow, SiteName};
use crate::session::SignedIn;
use crate::state::AppState;
use crate::view::View;

/// Most windows of a bandwidth budget: one for each hour.
const MAX_WINDOWS: usize = 24;

#[derive(Serialize, JsonSchema)]
pub(crate) struct HostPage {
    host: HostRow,
    record: Record,
    /// The sites above it and its own, from the root down.
    path: Vec<SiteName>,
}

/// What was written down at enrolment and since.
#[derive(Serialize, JsonSchema)]
struct Record {
    enrolled_ms: i64,
    epoch: u64,
    machine: String,
    evidence_key: String,
    /// Empty means observe-only.
    policy_root: String,
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<HostPage>, Problem> {
    let host = view.host(id).await?;
    let (inner, tree) = (&view.state.inner, view.tree());
    let record = inner.store.host(host.id).await?;
    let record = record.ok_or_else(|| Problem::not_found("host"))?;
    Ok(Answer(HostPage {
        host: HostRow::new(&host, tree, inner.hub.agent_cpu(host.id)),
        path: SiteName::path_to(host.site, tree),
        record: Record {
            enrolled_ms: record.enrolled_ms,
            epoch: record.epoch,
            machine: record.machine,
            evidence_key: record.evidence_key,
            policy_root: record.policy_root,
        },
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    reason: String,
}

/// Revokes a host's identity: its session ends at once and it cannot come back with it.
pub(crate) async fn revoke(
    view: View,
    Path(id): Path<i64>,
    Json(Revocation { reason }): Json<Revocation>,
) -> Result<Done, Problem> {
    let id = view.host(id).await?.id;
    let View { state, who, .. } = view;
    let reason = revocation_reason(&reason).ok_or_else(|| {
        let most = MAX_REVOCATION_REASON;
        Problem::bad_request(format!(
            "`reason` must say why, in at most {most} characters"
        ))
    })?;
    let audit = who
        .audit(state.now_ms(), "host.revoke", format!("host:{id}"))
        .with("reason", reason.to_owned());
    state.inner.store.revoke_host(id, reason, audit).await?;
    refresh(&state, id).await?;
    state.inner.fleet.end_revoked(id);
    Ok(Done)
}

/// A person has looked at the mark "rolled back or cloned" and takes it off.
pub(crate) async fn settle(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let id = view.host(id).await?.id;
    let View { state, who, .. } = view;
    let audit = who.audit(state.now_ms(), "host.settle", format!("host:{id}"));
    state
        .inner
        .store
        .settle_identity_conflict(id, audit)
        .await?;
    refresh(&state, id).await?;
    Ok(Done)
}

async fn refresh(state: &AppState, id: HostId) -> Result<(), Problem> {
    if let Some(host) = state.inner.store.host(id).await? {
        state.inner.fleet.refresh(&host);
    }
    Ok(())
}

/// What a person may tell an agent: less than the controller may.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectiveBody {
    CollectNow,
    RenewCertificate,
    SetBandwidth {
        bytes_per_second: u64,
        windows: Vec<Window>,
    },
    /// Take the host's own budget away: that of its site applies again. The host need not be here.
    InheritBandwidth,
}

/// A daily window, Asia/Shanghai.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    from_minute: u16,
    to_minute: u16,
    bytes_per_second: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DirectiveOutcome")]
pub(crate) struct Outcome {
    /// `done`, `refused` or `unsupported`.
    outcome: String,
    /// Why, for a person; empty when done.
    detail: String,
}

/// Sends a directive and waits for the agent's answer.
pub(crate) async fn direct(
    view: View,
    Path(id): Path<i64>,
    Json(body): Json<DirectiveBody>,
) -> Result<Answer<Outcome>, Problem> {
    let id = view.host(id).await?.id;
    let View { state, who, .. } = view;
    let Some((word, directive)) = directive_of(body)? else {
        keep_budget(&state, &who, id, String::new()).await?;
        // It learns the budget of its site as it comes back.
        state.inner.fleet.kick(id);
        return Ok(Answer(Outcome {
            outcome: "done".to_owned(),
            detail: String::new(),
        }));
    };
    let audit = who
        .audit(state.now_ms(), "host.direct", format!("host:{id}"))
        .with("directive", word);
    state.inner.store.append_audit(audit).await?;
    let budget = match &directive {
        Directive::SetBandwidth { bandwidth } => serde_json::to_string(bandwidth).ok(),
        _ => None,
    };
    let outcome = state.inner.fleet.send(id, directive).await?;
    if let Some(value) = budget.filter(|_| outcome.outcome == "done") {
        keep_budget(&state, &who, id, value).await?;
    }
    Ok(Answer(Outcome {
        outcome: outcome.outcome,
        detail: outcome.detail,
    }))
}

/// Writes a budget down, so that the host is told it again whenever a session of it opens.
async fn keep_budget(
    state: &AppState,
    who: &SignedIn,
    id: HostId,
    value: String,
) -> Result<(), Problem> {
    let now_ms = state.now_ms();
    let audit = who.audit(now_ms, "host.bandwidth_set", format!("host:{id}"));
    let setting = Setting {
        key: bandwidth_setting(id),
        value,
        valid_from_ms: now_ms,
        source: "host.direct".to_owned(),
    };
    Ok(state.inner.store.add_setting(&setting, audit).await?)
}

/// The directive and its word; `None` if nothing of its own is told.
fn directive_of(body: DirectiveBody) -> Result<Option<(&'static str, Directive)>, Problem> {
    Ok(Some(match body {
        DirectiveBody::InheritBandwidth => return Ok(None),
        DirectiveBody::CollectNow => ("collect_now", Directive::CollectNow),
        DirectiveBody::RenewCertificate => ("renew_certificate", Directive::RenewCertificate),
        DirectiveBody::SetBandwidth {
            bytes_per_second,
            windows,
        } => {
            let outside = |window: &Window| window.from_minute > 1439 || window.to_minute > 1440;
            if windows.len() > MAX_WINDOWS || windows.iter().any(outside) {
                let detail = format!(
                    "at most {MAX_WINDOWS} windows, from minute 0–1439 to minute 0–1440 of the day"
                );
                return Err(Problem::bad_request(detail));
            }
            let window = |window: Window| BandwidthWindow {
                from_minute: window.from_minute,
                to_minute: window.to_minute,
                bytes_per_second: window.bytes_per_second,
            };
            let windows = windows.into_iter().map(window).collect();
            let bandwidth = Bandwidth {
                bytes_per_second,
                windows,
            };
            ("set_bandwidth", Directive::SetBandwidth { bandwidth })
        }
    }))
}
