//! 总览: the whole province in one answer.

use axum::extract::State;
use serde::Serialize;
use xiezhi_ingest::HostView;
use xiezhi_model::{ApprovalState, EventStream, Presence, SiteTree};
use xiezhi_store::EventQuery;

use super::events::{EventRow, row_of};
use super::sites::{SiteRow, Tally};
use crate::answer::Answer;
use crate::problem::Problem;
use crate::rows::{Counts, HostRow};
use crate::state::AppState;

const DAY_MS: i64 = 86_400_000;

/// Hosts and events that the page lists.
const LISTED: usize = 8;

/// How long event counts are kept: they cost a scan of a day.
const COUNTS_KEPT_MS: i64 = 15_000;

#[derive(Serialize)]
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
    organisation: Vec<SiteRow>,
    /// The hosts in the worst states, worst first.
    attention: Vec<HostRow>,
    recent_events: Vec<EventRow>,
}

#[derive(Serialize)]
struct SiteNumbers {
    total: usize,
    with_hosts: usize,
}

/// Security events received within a day, by severity.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct EventNumbers {
    total: u64,
    critical: u64,
    warning: u64,
    notice: u64,
    info: u64,
}

/// Data that hosts gave up within a day.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct GapNumbers {
    gaps: usize,
    batches: u64,
}

/// The last count of events and when it was made.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    at_ms: Option<i64>,
    numbers: EventNumbers,
}

pub(crate) async fn read(State(state): State<AppState>) -> Result<Answer<Overview>, Problem> {
    let now_ms = state.now_ms();
    let store = &state.inner.store;
    let tree = store.site_tree().await?;
    let mut hosts = state.inner.fleet.snapshot();
    hosts.retain(|host| host.revoked_ms.is_none());
    let tally = Tally::new(&tree, &hosts);
    let mut counts = Counts::default();
    hosts
        .iter()
        .for_each(|host| counts.add(host.presence.presence));
    let recent = EventQuery {
        stream: Some(EventStream::Security),
        limit: LISTED as u32,
        ..EventQuery::default()
    };
    let recent = store.search_events(&recent).await?;
    let fleet = &state.inner.fleet;
    Ok(Answer(Overview {
        now_ms,
        counts,
        simulated: hosts.iter().filter(|host| host.simulated).count(),
        conflicts: hosts
            .iter()
            .filter(|host| host.identity_conflict_ms.is_some())
            .count(),
        pending_approvals: store.approvals(Some(ApprovalState::Pending)).await?.len(),
        sites: SiteNumbers {
            total: tree.iter().count(),
            with_hosts: tally.sites_with_hosts(),
        },
        events_24h: event_numbers(&state, now_ms).await?,
        gaps_24h: gap_numbers(&state, now_ms).await?,
        organisation: tree.iter().map(|site| tally.row(site)).collect(),
        attention: attention(&state, &tree, hosts),
        recent_events: recent
            .events
            .into_iter()
            .map(|event| row_of(event, &tree, fleet))
            .collect(),
    }))
}

/// Down before unknown before stale; within a state the longest silent first.
fn attention(state: &AppState, tree: &SiteTree, mut hosts: Vec<HostView>) -> Vec<HostRow> {
    hosts.retain(|host| host.presence.presence != Presence::Up);
    let order = |host: &HostView| match host.presence.presence {
        Presence::Down => 0,
        Presence::Unknown => 1,
        Presence::Stale => 2,
        Presence::Up => 3,
    };
    hosts.sort_by_key(|host| (order(host), host.presence.since_ms, host.id));
    let rows = hosts.iter().take(LISTED);
    rows.map(|host| HostRow::new(host, tree, state.inner.hub.agent_cpu(host.id)))
        .collect()
}

async fn event_numbers(state: &AppState, now_ms: i64) -> Result<EventNumbers, Problem> {
    let mut kept = state.inner.event_counts.lock().await;
    if kept
        .at_ms
        .is_some_and(|at_ms| (0..COUNTS_KEPT_MS).contains(&(now_ms - at_ms)))
    {
        return Ok(kept.numbers);
    }
    let store = &state.inner.store;
    let counts = store
        .count_events_by_severity(EventStream::Security, now_ms - DAY_MS)
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
    *kept = EventCounts {
        at_ms: Some(now_ms),
        numbers,
    };
    Ok(numbers)
}

/// Gaps whose time is unknown are left out here: they may be of any day.
async fn gap_numbers(state: &AppState, now_ms: i64) -> Result<GapNumbers, Problem> {
    let since_ms = now_ms - DAY_MS;
    let mut gaps = state.inner.store.gaps(None, since_ms, now_ms).await?;
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
