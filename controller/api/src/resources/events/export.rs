//! The list of events as a file, with the gaps that lie among them: a file without them would look whole.

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{EVENT_HEADER, event_gap_row, event_row};
use xiezhi_model::{Gap, Permission};
use xiezhi_store::{EventQuery, EventSight};

use super::{Filter, query_of, reach, seen_gaps};
use crate::files::{Export, Leaving, Rows, SLICE};
use crate::problem::Problem;
use crate::resources::gaps::host_name;
use crate::view::View;

/// Gaps that a file may have: they are in memory while it is made.
const MOST_GAPS: usize = 50_000;

struct Walk {
    view: View,
    language: Language,
    query: EventQuery,
    sight: EventSight,
    /// Those that did not leave yet, oldest first.
    gaps: Vec<Gap>,
}

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let mut query = query_of(&asked.filter)?;
    let sight = reach(&view, &mut query)?;
    let store = &view.state.inner.store;
    // Up to the newest event of this moment: what comes later is not in it.
    query.up_to = Some(store.newest_event().await?);
    query.limit = SLICE;
    let count = store.count_events_seen(&query, &sight).await?;
    let now_ms = view.state.now_ms();
    let span = (query.from_ms.unwrap_or(0), query.to_ms.unwrap_or(now_ms));
    let gaps = all_gaps(&view, &query, span, &sight).await?;
    let rows = count.saturating_add(gaps.len() as u64);
    let language = asked.form.language;
    let walk = Walk {
        view: view.clone(),
        language,
        query,
        sight,
        gaps,
    };
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeHosts,
        form: asked.form,
        name: "events",
        audit: view.who.audit(now_ms, "events.export", ""),
        header: language.header(&EVENT_HEADER),
    };
    let pages = stream::try_unfold(Some(walk), next);
    leaving.paged(rows, pages).await
}

/// Those that newer events stand before come last.
async fn all_gaps(
    view: &View,
    query: &EventQuery,
    span: (i64, i64),
    sight: &EventSight,
) -> Result<Vec<Gap>, Problem> {
    let (mut gaps, mut after) = (Vec::new(), None);
    loop {
        let (some, next) = seen_gaps(view, query, span, after.as_ref(), sight).await?;
        gaps.extend(some);
        if gaps.len() > MOST_GAPS {
            let detail =
                "too many gaps lie among these events: ask for a shorter time, or for one site";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, "too_many_rows", detail));
        }
        if next.is_none() {
            gaps.sort_by_key(end_of);
            return Ok(gaps);
        }
        after = next;
    }
}

/// Where a gap stands among the events; 0 where nobody knows.
fn end_of(gap: &Gap) -> i64 {
    gap.to_ms.max(gap.from_ms)
}

/// The next page, older than the one before.
async fn next(walk: Option<Walk>) -> Result<Option<(Rows, Option<Walk>)>, Problem> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    let store = walk.view.state.inner.store.clone();
    let page = store.search_events_seen(&walk.query, &walk.sight).await?;
    let mut rows = Rows::new();
    for event in &page.events {
        while let Some(gap) = walk.gaps.pop_if(|gap| end_of(gap) >= event.time_ms) {
            rows.push(walk.gap(&gap));
        }
        rows.push(event_row(event, walk.view.tree(), walk.language));
    }
    walk.query.after = page.next;
    if walk.query.after.is_some() {
        return Ok(Some((rows, Some(walk))));
    }
    while let Some(gap) = walk.gaps.pop() {
        rows.push(walk.gap(&gap));
    }
    Ok(Some((rows, None)))
}

impl Walk {
    fn gap(&self, gap: &Gap) -> Vec<String> {
        let fleet = &self.view.state.inner.fleet;
        let site = fleet.get(gap.host).map(|host| host.site);
        let name = host_name(gap.host, fleet).hostname;
        event_gap_row(gap, &name, site, self.view.tree(), self.language)
    }
}
