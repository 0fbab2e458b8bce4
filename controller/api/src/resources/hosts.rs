//! The list of hosts: filtered, ordered and paged here, so that 20,000 hosts cost a page of rows.

pub(crate) mod export;
mod order;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{Presence, SiteId, SiteTree};

use self::order::{Cursor, Direction, Key, Sort};
use super::fleet::{Version, versions};
use crate::answer::Answer;
use crate::extract::Query;
use crate::problem::Problem;
use crate::rows::{Counts, HostRow};
use crate::view::View;

const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;

/// What to list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Part of a host's or site's name, whatever its case.
    q: Option<String>,
    /// Only this site.
    site: Option<i64>,
    /// With `site`: and all sites below it.
    deep: bool,
    /// Only hosts in this state.
    #[schemars(schema_with = "crate::openapi::presence")]
    presence: Option<Presence>,
    /// Only agents of this version.
    version: Option<String>,
    /// Leave simulated hosts out.
    real: bool,
    /// Only hosts that look rolled back or cloned.
    conflict: bool,
    /// By what they are ordered.
    sort: Sort,
    /// From the least or from the most.
    order: Direction,
    /// Hosts on a page, 500 at most; 100 unless given.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Hosts {
    items: Vec<HostRow>,
    /// Where to go on; `None` on the last page.
    next: Option<String>,
    /// Hosts that match, on all pages.
    total: usize,
    /// States of the hosts that match but for the filter on state.
    counts: Counts,
    /// All simulated hosts.
    simulated: usize,
    /// Versions of all hosts.
    versions: Vec<Version>,
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Hosts>, Problem> {
    let (state, tree, hosts) = (&view.state, view.tree(), view.hosts());
    let cursor = filter.cursor.as_deref().map(Cursor::parse).transpose()?;
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let cpu = |host: &HostView| state.inner.hub.agent_cpu(host.id);

    let (counts, keyed) = ordered(&filter, &view, &hosts);
    let direction = filter.order;
    let total = keyed.len();
    let start = cursor.map_or(0, |cursor| {
        keyed.partition_point(|(key, host)| {
            direction
                .compare((key, host.id.0), (&cursor.key, cursor.id))
                .is_le()
        })
    });
    let page: Vec<_> = keyed.iter().skip(start).take(limit).collect();
    let more = start + page.len() < total;
    let last = page.last().filter(|_| more);
    Ok(Answer(Hosts {
        next: last.map(|(key, host)| {
            Cursor {
                key: key.clone(),
                id: host.id.0,
            }
            .to_text()
        }),
        items: page
            .iter()
            .map(|(_, host)| HostRow::new(host, tree, cpu(host)))
            .collect(),
        total,
        counts,
        simulated: hosts
            .iter()
            .filter(|host| host.simulated && host.revoked_ms.is_none())
            .count(),
        versions: versions(&hosts),
    }))
}

/// The hosts that match, in their order, and the states of those that match but for the filter on state.
fn ordered<'a>(
    filter: &Filter,
    view: &View,
    hosts: &'a [HostView],
) -> (Counts, Vec<(Key, &'a HostView)>) {
    let tree = view.tree();
    let cpu = |host: &HostView| view.state.inner.hub.agent_cpu(host.id);
    let matching = select(filter, tree, hosts);
    let mut counts = Counts::default();
    matching
        .iter()
        .for_each(|host| counts.add(host.presence.presence));
    let wanted = |host: &&&HostView| {
        filter
            .presence
            .is_none_or(|presence| host.presence.presence == presence)
    };
    let mut keyed: Vec<(Key, &HostView)> = matching
        .iter()
        .filter(wanted)
        .map(|&host| (filter.sort.key(host, tree, cpu(host)), host))
        .collect();
    let direction = filter.order;
    keyed.sort_by(|a, b| direction.compare((&a.0, a.1.id.0), (&b.0, b.1.id.0)));
    (counts, keyed)
}

/// The hosts that match all but the filter on state.
fn select<'a>(filter: &Filter, tree: &SiteTree, hosts: &'a [HostView]) -> Vec<&'a HostView> {
    let sites = filter.site.map(|site| {
        if filter.deep {
            tree.subtree(SiteId(site))
        } else {
            [SiteId(site)].into()
        }
    });
    let text = filter
        .q
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let text = text.map(str::to_lowercase);
    let named = |host: &HostView, text: &str| {
        host.hostname.to_lowercase().contains(text)
            || tree
                .get(host.site)
                .is_some_and(|site| site.name.to_lowercase().contains(text))
    };
    let keep = |host: &&HostView| {
        sites
            .as_ref()
            .is_none_or(|sites| sites.contains(&host.site))
            && filter
                .version
                .as_ref()
                .is_none_or(|version| &host.version == version)
            && !(filter.real && host.simulated)
            && !(filter.conflict && host.identity_conflict_ms.is_none())
            && text.as_ref().is_none_or(|text| named(host, text))
    };
    hosts.iter().filter(keep).collect()
}
