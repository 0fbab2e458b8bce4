//! The organisation tree with the states of its hosts.

use std::collections::HashMap;

use serde::Serialize;
use xiezhi_ingest::HostView;
use xiezhi_model::{Site, SiteId, SiteTree};

use crate::answer::Answer;
use crate::extract::Path;
use crate::problem::Problem;
use crate::rows::{Counts, SiteName};
use crate::view::View;

/// One site.
#[derive(Debug, Serialize)]
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
}

/// All sites; a province has some hundreds, so there are no pages.
#[derive(Serialize)]
pub(crate) struct Sites {
    items: Vec<SiteRow>,
}

/// One site with its surroundings.
#[derive(Serialize)]
pub(crate) struct SitePage {
    site: SiteRow,
    /// The sites above it, from the root down.
    path: Vec<SiteName>,
    /// The sites directly below it.
    children: Vec<SiteRow>,
}

/// States of the hosts of each site; hosts that were revoked are not counted.
pub(crate) struct Tally {
    own: HashMap<SiteId, Counts>,
    rollup: HashMap<SiteId, Counts>,
}

impl Tally {
    pub(crate) fn new(tree: &SiteTree, hosts: &[HostView]) -> Self {
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
        Self { own, rollup }
    }

    pub(crate) fn row(&self, site: &Site) -> SiteRow {
        SiteRow {
            id: site.id.0,
            key: site.key.clone(),
            name: site.name.clone(),
            tier: site.tier.word(),
            parent: site.parent.map(|parent| parent.0),
            code: site.court_code.clone(),
            hosts: self.own.get(&site.id).copied().unwrap_or_default(),
            rollup: self.rollup.get(&site.id).copied().unwrap_or_default(),
        }
    }

    pub(crate) fn sites_with_hosts(&self) -> usize {
        self.own.len()
    }
}

pub(crate) async fn list(view: View) -> Answer<Sites> {
    let tree = view.tree();
    let tally = Tally::new(tree, &view.hosts());
    Answer(Sites {
        items: tree.iter().map(|site| tally.row(site)).collect(),
    })
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<SitePage>, Problem> {
    let (tree, site) = (view.tree(), view.site(id)?);
    let tally = Tally::new(tree, &view.hosts());
    let mut path = SiteName::path_to(site.id, tree);
    path.pop();
    let children = tree
        .children(site.id)
        .iter()
        .filter_map(|&child| tree.get(child));
    let children = children.map(|child| tally.row(child)).collect();
    Ok(Answer(SitePage {
        site: tally.row(site),
        path,
        children,
    }))
}
