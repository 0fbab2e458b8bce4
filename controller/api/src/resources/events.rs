//! Search of events, newest first, with the gaps that lie among them.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::Fleet;
use xiezhi_model::{EventStream, HostId, Severity, SiteId, SiteTree, StoredEvent};
use xiezhi_store::{EventCursor, EventPage, EventQuery};

use super::gaps::GapRow;
use crate::answer::Answer;
use crate::extract::Query;
use crate::problem::Problem;
use crate::rows::{HostName, SiteName};
use crate::state::AppState;

/// Longest text that is searched for, in characters.
const MAX_TEXT: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Text in the message or a field.
    q: Option<String>,
    /// This site and all below it.
    site: Option<i64>,
    host: Option<i64>,
    /// One kind.
    kind: Option<String>,
    /// At least this severe.
    severity: Option<Severity>,
    /// `security` unless given; `all` for both.
    stream: Stream,
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stream {
    #[default]
    Security,
    Events,
    All,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventRow {
    id: i64,
    host: HostName,
    site: SiteName,
    stream: &'static str,
    time_ms: i64,
    received_ms: i64,
    kind: String,
    severity: &'static str,
    message: String,
    fields: BTreeMap<String, String>,
    /// Whether the host's key signed it: `not_expected`, `good`, `missing` or `bad`.
    signature: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Events {
    items: Vec<EventRow>,
    /// Gaps of event streams that touch the time of this page, whatever the text, kind and
    /// severity searched for: nobody knows what is in them.
    gaps: Vec<GapRow>,
    next: Option<String>,
}

pub(crate) fn row_of(event: StoredEvent, tree: &SiteTree, fleet: &Fleet) -> EventRow {
    let simulated = fleet.get(event.host).is_some_and(|host| host.simulated);
    EventRow {
        id: event.id,
        host: HostName {
            id: event.host.0,
            hostname: event.hostname,
            simulated,
        },
        site: SiteName::of(event.site, tree),
        stream: event.stream.word(),
        time_ms: event.time_ms,
        received_ms: event.received_ms,
        kind: event.kind,
        severity: event.severity.word(),
        message: event.message,
        fields: event.fields,
        signature: event.signature.word(),
    }
}

pub(crate) async fn search(
    State(state): State<AppState>,
    Query(filter): Query<Filter>,
) -> Result<Answer<Events>, Problem> {
    let query = query_of(&filter)?;
    let tree = state.inner.store.site_tree().await?;
    let page = state.inner.store.search_events(&query).await?;
    let gaps = gaps_of(&state, &query, &page, &tree).await?;
    let fleet = &state.inner.fleet;
    Ok(Answer(Events {
        next: page.next.map(|cursor| cursor.to_string()),
        items: page
            .events
            .into_iter()
            .map(|event| row_of(event, &tree, fleet))
            .collect(),
        gaps,
    }))
}

fn query_of(filter: &Filter) -> Result<EventQuery, Problem> {
    let text = filter
        .q
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > MAX_TEXT) {
        return Err(Problem::bad_request(format!(
            "`q` may have {MAX_TEXT} characters at most"
        )));
    }
    let cursor = filter
        .cursor
        .as_deref()
        .map(str::parse::<EventCursor>)
        .transpose();
    Ok(EventQuery {
        site: filter.site.map(SiteId),
        host: filter.host.map(HostId),
        stream: match filter.stream {
            Stream::Security => Some(EventStream::Security),
            Stream::Events => Some(EventStream::Events),
            Stream::All => None,
        },
        kinds: filter
            .kind
            .iter()
            .filter(|kind| !kind.is_empty())
            .cloned()
            .collect(),
        least_severity: filter.severity,
        text: text.map(str::to_owned),
        from_ms: filter.from,
        to_ms: filter.to,
        after: cursor.map_err(|error| Problem::bad_request(format!("`cursor`: {error}")))?,
        limit: filter.limit.unwrap_or(100).clamp(1, 1000),
    })
}

async fn gaps_of(
    state: &AppState,
    query: &EventQuery,
    page: &EventPage,
    tree: &SiteTree,
) -> Result<Vec<GapRow>, Problem> {
    let newest = query.after.map(|cursor| cursor.time_ms);
    let to_ms = newest.or(query.to_ms).unwrap_or_else(|| state.now_ms());
    let oldest = page.next.map(|cursor| cursor.time_ms);
    let from_ms = oldest.or(query.from_ms).unwrap_or(0);
    let sites = query.site.map(|site| tree.subtree(site));
    let fleet = &state.inner.fleet;
    let within = |host: HostId| {
        sites.as_ref().is_none_or(|sites| {
            fleet
                .get(host)
                .is_some_and(|host| sites.contains(&host.site))
        })
    };
    let mut gaps = state.inner.store.gaps(query.host, from_ms, to_ms).await?;
    gaps.retain(|gap| gap.stream != "samples" && within(gap.host));
    Ok(gaps
        .into_iter()
        .map(|gap| GapRow::new(gap, fleet))
        .collect())
}
