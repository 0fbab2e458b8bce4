//! Gaps: data that hosts gave up, so that a hole in a chart or a list has a reason.

pub(crate) mod export;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::Fleet;
use xiezhi_model::{Gap, HostId};
use xiezhi_store::GapCursor;

use crate::answer::Answer;
use crate::extract::Query;
use crate::pages::cut;
use crate::problem::Problem;
use crate::rows::HostName;
use crate::view::View;

/// Gaps of a page.
const LARGEST_PAGE: u32 = 1000;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only of this host.
    host: Option<i64>,
    /// What ended at this time or after it.
    from: Option<i64>,
    /// What began at this time or before it.
    to: Option<i64>,
    /// Gaps on a page, 1,000 at most, which is usual.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

impl Filter {
    /// The time that it asks for.
    fn span(&self, now_ms: i64) -> (i64, i64) {
        (self.from.unwrap_or(0), self.to.unwrap_or(now_ms))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GapRow {
    host: HostName,
    epoch: u64,
    /// `polls`, `samples`, `events` or `security`.
    stream: String,
    first: u64,
    last: u64,
    /// 0 where unknown.
    from_ms: i64,
    /// 0 where unknown.
    to_ms: i64,
    /// `full`, `age`, `damaged`, `refused` or `missing`.
    reason: String,
}

impl GapRow {
    pub(crate) fn new(gap: Gap, fleet: &Fleet) -> Self {
        Self {
            host: host_name(gap.host, fleet),
            epoch: gap.epoch,
            stream: gap.stream,
            first: gap.first,
            last: gap.last,
            from_ms: gap.from_ms,
            to_ms: gap.to_ms,
            reason: gap.reason,
        }
    }
}

pub(crate) fn host_name(id: HostId, fleet: &Fleet) -> HostName {
    fleet.get(id).as_ref().map_or_else(
        || HostName {
            id: id.0,
            hostname: format!("#{id}"),
            simulated: false,
        },
        HostName::from,
    )
}

/// Oldest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Gaps {
    items: Vec<GapRow>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<String>,
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Gaps>, Problem> {
    let span = filter.span(view.state.now_ms());
    let inner = &view.state.inner;
    let host = filter.host.map(HostId);
    let after = filter.cursor.as_deref().map(str::parse).transpose();
    let after = after
        .map_err(|error: xiezhi_store::CursorError| Problem::bad_request(error.to_string()))?;
    let size = filter.limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    let gaps = inner.store.gaps_page(
        host,
        &view.scope,
        span,
        after.as_ref(),
        // One more tells whether there is another page.
        size + 1,
    );
    let mut gaps = gaps.await?;
    let next = cut(&mut gaps, size as usize).map(|gap| GapCursor::from(gap).to_string());
    let fleet = &inner.fleet;
    Ok(Answer(Gaps {
        items: gaps
            .into_iter()
            .map(|gap| GapRow::new(gap, fleet))
            .collect(),
        next,
    }))
}
