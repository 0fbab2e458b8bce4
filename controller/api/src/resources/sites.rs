//! The organisation tree with the states of its hosts: level by level, by search, and one site at a time.

mod change;
pub(crate) mod export;
pub(crate) mod imports;

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{Site, SiteId, SiteTree};

pub(crate) use self::change::{change, create, history};
use crate::answer::Answer;
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::rows::{Counts, SiteName};
use crate::view::View;

const PAGE: usize = 100;

/// Of the whole tree a page holds more: most provinces fit into one.
const FLAT_PAGE: usize = 1000;
const LARGEST_PAGE: usize = 1000;

/// One site.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SiteRow {
    id: i64,
    key: String,
    name: String,
    tier: &'static str,
    parent: Option<i64>,
    code: String,
    /// States of its own hosts.
    hosts: Counts,
    /// States of its own hosts and of all below it.
    rollup: Counts,
    /// Sites directly below it.
    children: usize,
    /// Sites in use below it, at every level.
    below: usize,
    /// Since when it is out of use.
    retired_ms: Option<i64>,
    /// To be named by whoever changes it.
    version: i64,
    /// Where a search found it: the sites above it, from the root down.
    path: Vec<SiteName>,
}

/// Which sites to list; without a parent and a text, those of every level.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "SiteFilter")]
pub(crate) struct Filter {
    /// Number of the site whose children are wanted; `none`: the highest that the caller sees.
    parent: Option<String>,
    /// Part of a name, an id or a court code, whatever its case.
    q: Option<String>,
    /// Also those that are out of use.
    retired: bool,
    /// Sites on a page, 1,000 at most; 1,000 of the whole tree and 100 of a part unless given.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// One page of sites, by id.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Sites {
    items: Vec<SiteRow>,
    /// Where to go on; `None` on the last page.
    next: Option<String>,
    /// How many there are on all pages.
    total: usize,
}

/// One site with its surroundings.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SitePage {
    site: SiteRow,
    /// The sites above it, from the root down.
    path: Vec<SiteName>,
    /// The first sites in use directly below it, by id.
    children: Vec<SiteRow>,
    /// Where the list of them goes on; `None` if these are all.
    children_next: Option<String>,
}

/// States of the hosts of each site; hosts that were revoked are not counted.
pub(crate) struct Tally<'t> {
    tree: &'t SiteTree,
    /// Whether sites that are out of use count as children.
    retired: bool,
    own: HashMap<SiteId, Counts>,
    rollup: HashMap<SiteId, Counts>,
}

impl<'t> Tally<'t> {
    pub(crate) fn new(tree: &'t SiteTree, hosts: &[HostView]) -> Self {
        let mut own: HashMap<SiteId, Counts> = HashMap::new();
        for host in hosts.iter().filter(|host| host.revoked_ms.is_none()) {
            own.entry(host.site)
                .or_default()
                .add(host.presence.presence);
        }
        let mut rollup = own.clone();
        for (&site, counts) in &own {
            for above in tree.ancestors(site) {
                rollup.entry(above).or_default().add_all(counts);
            }
        }
        Self {
            tree,
            retired: false,
            own,
            rollup,
        }
    }

    pub(crate) fn row(&self, site: &Site) -> SiteRow {
        SiteRow {
            id: site.id.0,
            key: site.key.clone(),
            name: site.name.clone(),
            tier: site.tier.word(),
            parent: site.parent.map(|parent| parent.0),
            code: site.court_code.clone(),
            hosts: self.own(site.id),
            rollup: self.rollup.get(&site.id).copied().unwrap_or_default(),
            children: self
                .tree
                .children(site.id)
                .iter()
                .filter(|id| self.shows(**id))
                .count(),
            below: self.tree.sites_below(site.id),
            retired_ms: site.retired_ms,
            version: site.version,
            path: Vec::new(),
        }
    }

    fn shows(&self, id: SiteId) -> bool {
        self.retired || self.tree.get(id).is_some_and(Site::is_in_use)
    }

    /// Of so many hosts of each site, all of them up.
    #[cfg(test)]
    pub(crate) fn of(tree: &'t SiteTree, up: impl IntoIterator<Item = (SiteId, usize)>) -> Self {
        let mut tally = Self::new(tree, &[]);
        for (site, up) in up {
            tally.own.entry(site).or_default().up = up;
        }
        tally
    }

    /// States of a site's own hosts.
    pub(crate) fn own(&self, site: SiteId) -> Counts {
        self.own.get(&site).copied().unwrap_or_default()
    }

    pub(crate) fn has_hosts(&self, site: SiteId) -> bool {
        self.own.contains_key(&site)
    }

    pub(crate) fn sites_with_hosts(&self) -> usize {
        self.own.len()
    }
}

pub(crate) async fn list(
    view: View,
    Query(filter): Query<Filter>,
) -> Result<Answer<Sites>, Problem> {
    let tree = view.tree();
    let mut found = found(tree, &filter)?;
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let total = found.len();
    if let Some(cursor) = &filter.cursor {
        found.retain(|site| site.key > *cursor);
    }
    let flat = filter.parent.is_none() && filter.q.is_none();
    let usual = if flat { FLAT_PAGE } else { PAGE };
    let limit = filter.limit.unwrap_or(usual).clamp(1, LARGEST_PAGE);
    let (shown, next) = page(found, limit);
    let mut tally = Tally::new(tree, &view.hosts());
    tally.retired = filter.retired;
    let searched = filter.q.is_some();
    let row = |site: &Site| {
        let mut row = tally.row(site);
        if searched {
            row.path = SiteName::path_to(site.id, tree);
            row.path.pop();
        }
        row
    };
    Ok(Answer(Sites {
        items: shown.into_iter().map(row).collect(),
        next,
        total,
    }))
}

/// At most so many, and where the next page goes on.
fn page(mut found: Vec<&Site>, limit: usize) -> (Vec<&Site>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|site| site.key.clone());
    (found, next)
}

/// All that a filter finds, in no order.
fn found<'t>(tree: &'t SiteTree, filter: &Filter) -> Result<Vec<&'t Site>, Problem> {
    let q = filter
        .q
        .as_deref()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    let matches = |site: &&Site| {
        let has = |text: &str| text.to_lowercase().contains(&q);
        (filter.retired || site.is_in_use())
            && (q.is_empty() || has(&site.name) || has(&site.key) || has(&site.court_code))
    };
    let of = |ids: &[SiteId]| -> Vec<&'t Site> {
        let sites = ids.iter().filter_map(|id| tree.get(*id));
        sites.filter(matches).collect()
    };
    Ok(match filter.parent.as_deref() {
        None => tree.iter().filter(matches).collect(),
        Some("none") => of(tree.roots()),
        Some(text) => {
            let id = text.parse().map_err(|_| {
                Problem::bad_request("`parent` must be the number of a site, or `none`")
            })?;
            let parent = tree.get(SiteId(id));
            of(tree.children(parent.ok_or_else(|| Problem::not_found("site"))?.id))
        }
    })
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<SitePage>, Problem> {
    let (tree, site) = (view.tree(), view.site(id)?);
    let tally = Tally::new(tree, &view.hosts());
    let mut path = SiteName::path_to(site.id, tree);
    path.pop();
    let children = tree.children(site.id).iter().filter_map(|&id| tree.get(id));
    let mut children: Vec<&Site> = children.filter(|child| child.is_in_use()).collect();
    children.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let (children, children_next) = page(children, PAGE);
    Ok(Answer(SitePage {
        site: tally.row(site),
        path,
        children: children.into_iter().map(|child| tally.row(child)).collect(),
        children_next,
    }))
}
