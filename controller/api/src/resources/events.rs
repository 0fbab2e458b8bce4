//! Search of events, newest first, with the gaps that lie among them.

pub(crate) mod export;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::Fleet;
use xiezhi_model::{EventStream, Gap, HostId, Permission, Severity, SiteId, SiteTree, StoredEvent};
use xiezhi_store::{EventCursor, EventPage, EventQuery, EventSight, GapCursor};

use super::gaps::GapRow;
use crate::answer::Answer;
use crate::extract::Query;
use crate::problem::Problem;
use crate::rows::{HostName, SiteName};
use crate::view::View;

/// Longest text that is searched for, in characters.
const MAX_TEXT: usize = 200;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Text in the message or a field.
    q: Option<String>,
    /// This site and all below it.
    site: Option<i64>,
    /// Only of this host.
    host: Option<i64>,
    /// Only about this device of a host, by its name.
    device: Option<String>,
    /// One kind.
    kind: Option<String>,
    /// At least this severe.
    #[schemars(schema_with = "crate::openapi::severity")]
    severity: Option<Severity>,
    /// `security` unless given; `all` for both.
    stream: Stream,
    /// At this time or after it.
    from: Option<i64>,
    /// At this time or before it.
    to: Option<i64>,
    /// Events on a page, 1,000 at most; 100 unless given.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Stream {
    #[default]
    Security,
    Events,
    All,
}

#[derive(Debug, Serialize, JsonSchema)]
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

#[derive(Serialize, JsonSchema)]
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
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Events>, Problem> {
    let mut query = query_of(&filter)?;
    let sight = reach(&view, &mut query)?;
    let (inner, tree) = (&view.state.inner, view.tree());
    let page = inner.store.search_events_seen(&query, &sight).await?;
    let gaps = gaps_of(&view, &query, &page, &sight).await?;
    let fleet = &inner.fleet;
    Ok(Answer(Events {
        next: page.next.map(|cursor| cursor.to_string()),
        items: page
            .events
            .into_iter()
            .map(|event| row_of(event, tree, fleet))
            .collect(),
        gaps,
    }))
}

/// Security events need a permission of their own, which may reach other courts than the sight of the
/// rest. Who has it nowhere is shown the others, and told so if they asked for security events alone.
fn reach(view: &View, query: &mut EventQuery) -> Result<EventSight, Problem> {
    let events = view.scope.clone();
    match (view.scope_of(Permission::SeeSecurityEvents), query.stream) {
        (_, Some(EventStream::Events)) => Ok(EventSight::all(&events)),
        (Some(security), _) => Ok(EventSight { security, events }),
        (None, None) => {
            query.stream = Some(EventStream::Events);
            Ok(EventSight::all(&events))
        }
        (None, Some(_)) => {
            let detail = "this account does not see security events: ask for a role that does";
            Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail))
        }
    }
}

fn query_of(filter: &Filter) -> Result<EventQuery, Problem> {
    let text = filter
        .q
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    for (name, text) in [("q", text), ("device", filter.device.as_deref())] {
        if text.is_some_and(|text| text.chars().count() > MAX_TEXT) {
            let detail = format!("`{name}` may have {MAX_TEXT} characters at most");
            return Err(Problem::bad_request(detail));
        }
    }
    let cursor = filter
        .cursor
        .as_deref()
        .map(str::parse::<EventCursor>)
        .transpose();
    Ok(EventQuery {
        site: filter.site.map(SiteId),
        host: filter.host.map(HostId),
        device: filter.device.clone(),
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
        up_to: None,
        after: cursor.map_err(|error| Problem::bad_request(format!("`cursor`: {error}")))?,
        limit: filter.limit.unwrap_or(100).clamp(1, 1000),
    })
}

async fn gaps_of(
    view: &View,
    query: &EventQuery,
    page: &EventPage,
    sight: &EventSight,
) -> Result<Vec<GapRow>, Problem> {
    let newest = query.after.map(|cursor| cursor.time_ms);
    let to_ms = newest.or(query.to_ms);
    let to_ms = to_ms.unwrap_or_else(|| view.state.now_ms());
    let oldest = page.next.map(|cursor| cursor.time_ms);
    let from_ms = oldest.or(query.from_ms).unwrap_or(0);
    let (gaps, _) = seen_gaps(view, query, (from_ms, to_ms), None, sight).await?;
    let fleet = &view.state.inner.fleet;
    Ok(gaps
        .into_iter()
        .map(|gap| GapRow::new(gap, fleet))
        .collect())
}

/// Gaps of a page.
const GAPS: u32 = 1000;

/// A page of the gaps of event streams within a time, of hosts that were asked for and that the caller sees;
/// and where to go on.
async fn seen_gaps(
    view: &View,
    query: &EventQuery,
    span: (i64, i64),
    after: Option<&GapCursor>,
    sight: &EventSight,
) -> Result<(Vec<Gap>, Option<GapCursor>), Problem> {
    let (state, tree) = (&view.state, view.tree());
    let sites = query.site.map(|site| tree.subtree(site));
    let fleet = &state.inner.fleet;
    let within = |host: HostId| {
        sites.as_ref().is_none_or(|sites| {
            fleet
                .get(host)
                .is_some_and(|host| sites.contains(&host.site))
        })
    };
    let scope = sight.anywhere(query.stream);
    let store = &state.inner.store;
    let page = store.gaps_page(query.host, &scope, span, after, GAPS);
    let mut gaps = page.await?;
    let full = gaps.len() == GAPS as usize;
    let next = gaps.last().filter(|_| full).map(GapCursor::from);
    let is_seen = |gap: &Gap| {
        let mut streams = EventStream::ALL.into_iter();
        let stream = streams.find(|stream| stream.word() == gap.stream);
        let host = fleet.get(gap.host);
        stream
            .zip(host)
            .is_some_and(|(stream, host)| sight.of(stream).sees(host.site))
    };
    gaps.retain(|gap| gap.stream != "samples" && within(gap.host) && is_seen(gap));
    Ok((gaps, next))
}
