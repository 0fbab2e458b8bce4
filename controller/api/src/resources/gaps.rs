//! Gaps: data that hosts gave up, so that a hole in a chart or a list has a reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::Fleet;
use xiezhi_model::{Gap, HostId};

use crate::answer::Answer;
use crate::extract::Query;
use crate::problem::Problem;
use crate::rows::HostName;
use crate::view::View;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only of this host.
    host: Option<i64>,
    /// What ended at this time or after it.
    from: Option<i64>,
    /// What began at this time or before it.
    to: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GapRow {
    host: HostName,
    epoch: u64,
    /// `samples`, `events` or `security`.
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

/// At most 1,000, oldest first; narrow the time for more.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Gaps {
    items: Vec<GapRow>,
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Gaps>, Problem> {
    let (from, to) = (
        filter.from.unwrap_or(0),
        filter.to.unwrap_or_else(|| view.state.now_ms()),
    );
    let inner = &view.state.inner;
    let host = filter.host.map(HostId);
    let gaps = inner.store.gaps(host, &view.scope, from, to).await?;
    let fleet = &inner.fleet;
    Ok(Answer(Gaps {
        items: gaps
            .into_iter()
            .map(|gap| GapRow::new(gap, fleet))
            .collect(),
    }))
}
