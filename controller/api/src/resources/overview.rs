//! 总览: the whole province in one answer.

mod day;
mod wall;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{ApprovalState, EventStream, Permission, Presence, Scope};
use xiezhi_store::EventQuery;

use self::day::EventNumbers;
pub(crate) use self::day::{EventCounts, events as events_of_the_day};
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

/// Data that hosts gave up within a day.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
struct GapNumbers {
    gaps: usize,
    batches: u64,
}

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
        events_24h: event_numbers(&view).await?,
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

async fn event_numbers(view: &View) -> Result<EventNumbers, Problem> {
    let mut numbers = EventNumbers::default();
    let Some(scope) = reach(view, Permission::SeeSecurityEvents) else {
        return Ok(numbers);
    };
    let day = day::events(&view.state).await?;
    for host in view.hosts_in(&scope) {
        numbers.join(day.get(&host.id).copied().unwrap_or_default());
    }
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
