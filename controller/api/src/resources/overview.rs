//! 总览: the whole province in one answer.

mod wall;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{ApprovalState, EventStream, Permission, Presence, Scope};
use xiezhi_store::EventQuery;

use self::wall::Cell;
use super::events::{EventRow, row_of};
use super::sites::Tally;
use crate::answer::Answer;
use crate::extract::Query;
use crate::problem::Problem;
use crate::rows::{Counts, HostRow};
use crate::view::View;

const DAY_MS: i64 = 86_400_000;

/// Hosts and events that the page lists.
const LISTED: usize = 8;

/// How long event counts are kept: they cost a scan of a day.
const COUNTS_KEPT_MS: i64 = 15_000;

/// What to look at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Part {
    /// This site and all below it; everything unless given.
    site: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Overview {
    now_ms: i64,
    /// States of all hosts that are not revoked.
    counts: Counts,
    /// How many of them are simulated.
    simulated: usize,
    /// Hosts that look rolled back or cloned.
    conflicts: usize,
    pending_approvals: usize,
    sites: SiteNumbers,
    events_24h: EventNumbers,
    gaps_24h: GapNumbers,
    /// What the wall draws.
    organisation: Vec<Cell>,
    /// The hosts in the worst states, worst first.
    attention: Vec<HostRow>,
    recent_events: Vec<EventRow>,
}

#[derive(Serialize, JsonSchema)]
struct SiteNumbers {
    total: usize,
    with_hosts: usize,
}

/// Security events received within a day, by severity.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub(crate) struct EventNumbers {
    total: u64,
    critical: u64,
    warning: u64,
    notice: u64,
    info: u64,
}

/// Data that hosts gave up within a day.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
struct GapNumbers {
    gaps: usize,
    batches: u64,
}

/// The last counts of events: of which scope, and when each was made.
#[derive(Debug, Default)]
pub(crate) struct EventCounts(Vec<(Scope, i64, EventNumbers)>);

/// Counts kept: as many courts as a province has look at once.
const MOST_COUNTS: usize = 200;

pub(crate) async fn read(
    view: View,
    Query(part): Query<Part>,
) -> Result<Answer<Overview>, Problem> {
    let view = match part.site {
        Some(site) => view.below(site)?,
        None => view,
    };
    let (state, tree) = (&view.state, view.tree());
    let now_ms = state.now_ms();
    let mut hosts = view.hosts();
    hosts.retain(|host| host.revoked_ms.is_none());
    let tally = Tally::new(tree, &hosts);
    let mut counts = Counts::default();
    hosts
        .iter()
        .for_each(|host| counts.add(host.presence.presence));
    Ok(Answer(Overview {
        now_ms,
        counts,
        simulated: hosts.iter().filter(|host| host.simulated).count(),
        conflicts: hosts
            .iter()
            .filter(|host| host.identity_conflict_ms.is_some())
            .count(),
        pending_approvals: pending_approvals(&view).await?,
        sites: SiteNumbers {
            total: tree.iter().filter(|site| site.is_in_use()).count(),
            with_hosts: tally.sites_with_hosts(),
        },
        events_24h: event_numbers(&view, now_ms).await?,
        gaps_24h: gap_numbers(&view, now_ms).await?,
        organisation: wall::cells(tree, &tally),
        attention: attention(&view, hosts),
        recent_events: recent_events(&view).await?,
    }))
}

/// What a permission of the caller reaches of what is looked at.
fn reach(view: &View, permission: Permission) -> Option<Scope> {
    Some(view.scope_of(permission)?.and(&view.scope))
}

async fn pending_approvals(view: &View) -> Result<usize, Problem> {
    let Some(scope) = reach(view, Permission::ManageHosts) else {
        return Ok(0);
    };
    let pending = Some(ApprovalState::Pending);
    let approvals = view.state.inner.store.approvals(pending, &scope).await?;
    Ok(approvals.len())
}

async fn recent_events(view: &View) -> Result<Vec<EventRow>, Problem> {
    let Some(scope) = reach(view, Permission::SeeSecurityEvents) else {
        return Ok(Vec::new());
    };
    let query = EventQuery {
        stream: Some(EventStream::Security),
        limit: LISTED as u32,
        ..EventQuery::default()
    };
    let (inner, tree) = (&view.state.inner, view.tree());
    let recent = inner.store.search_events(&query, &scope).await?.events;
    let row = |event| row_of(event, tree, &inner.fleet);
    Ok(recent.into_iter().map(row).collect())
}

/// Down before unknown before stale; within a state the longest silent first.
/// A screen on a wall names no hosts.
fn attention(view: &View, mut hosts: Vec<HostView>) -> Vec<HostRow> {
    let Some(scope) = reach(view, Permission::SeeHosts) else {
        return Vec::new();
    };
    hosts.retain(|host| host.presence.presence != Presence::Up && scope.sees(host.site));
    let order = |host: &HostView| match host.presence.presence {
        Presence::Down => 0,
        Presence::Unknown => 1,
        Presence::Stale => 2,
        Presence::Up => 3,
    };
    hosts.sort_by_key(|host| (order(host), host.presence.since_ms, host.id));
    let rows = hosts.iter().take(LISTED);
    let cpu = |host: &HostView| view.state.inner.hub.agent_cpu(host.id);
    rows.map(|host| HostRow::new(host, view.tree(), cpu(host)))
        .collect()
}

async fn event_numbers(view: &View, now_ms: i64) -> Result<EventNumbers, Problem> {
    let Some(scope) = reach(view, Permission::SeeSecurityEvents) else {
        return Ok(EventNumbers::default());
    };
    let inner = &view.state.inner;
    let mut kept = inner.event_counts.lock().await;
    let fresh = |at_ms: i64| (0..COUNTS_KEPT_MS).contains(&(now_ms - at_ms));
    kept.0.retain(|(_, at_ms, _)| fresh(*at_ms));
    if let Some((.., numbers)) = kept.0.iter().find(|(of, ..)| *of == scope) {
        return Ok(*numbers);
    }
    let (stream, since_ms) = (EventStream::Security, now_ms - DAY_MS);
    let counts = inner
        .store
        .count_events_by_severity(stream, &scope, since_ms)
        .await?;
    let of = |severity| counts.get(&severity).copied().unwrap_or(0);
    use xiezhi_model::Severity::{Critical, Info, Notice, Warning};
    let numbers = EventNumbers {
        total: counts.values().sum(),
        critical: of(Critical),
        warning: of(Warning),
        notice: of(Notice),
        info: of(Info),
    };
    kept.0.truncate(MOST_COUNTS);
    kept.0.insert(0, (scope, now_ms, numbers));
    Ok(numbers)
}

/// Gaps whose time is unknown are left out here: they may be of any day.
async fn gap_numbers(view: &View, now_ms: i64) -> Result<GapNumbers, Problem> {
    let since_ms = now_ms - DAY_MS;
    let store = &view.state.inner.store;
    let mut gaps = store.gaps(None, &view.scope, since_ms, now_ms).await?;
    gaps.retain(|gap| gap.to_ms >= since_ms);
    let batches = gaps
        .iter()
        .map(|gap| gap.last.saturating_sub(gap.first) + 1)
        .sum();
    Ok(GapNumbers {
        gaps: gaps.len(),
        batches,
    })
}
