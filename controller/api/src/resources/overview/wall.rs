//! What the wall of the overview draws: sites with the states of their hosts, and no more of them than a
//! browser can draw. In a province of thousands of tribunals their hosts count for the courts above.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_model::{Site, SiteId, SiteTree, Tier};

use crate::resources::sites::Tally;
use crate::rows::Counts;

/// Most cells. A province has some hundred courts; all of China has 3,500.
const MOST_CELLS: usize = 4000;

/// One site of the wall.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WallCell")]
pub(crate) struct Cell {
    id: i64,
    name: String,
    tier: &'static str,
    parent: Option<i64>,
    /// States of its hosts, and of those of sites below it that the wall leaves out.
    hosts: Counts,
    /// Whether hosts of other sites are among them: live messages count each site for itself.
    rolled: bool,
}

/// Sites in use; of those that are not, the ones that hosts were left at.
pub(super) fn cells(tree: &SiteTree, tally: &Tally<'_>) -> Vec<Cell> {
    cells_within(tree, tally, MOST_CELLS)
}

fn cells_within(tree: &SiteTree, tally: &Tally<'_>, most: usize) -> Vec<Cell> {
    let there = |site: &&Site| site.is_in_use() || tally.has_hosts(site.id);
    let all: Vec<&Site> = tree.iter().filter(there).collect();
    let lowest = lowest(&all, most);
    let is_kept = |site: &Site| {
        let above = || tree.ancestors(site.id);
        let lower = |id: &SiteId| tree.get(*id).is_none_or(|site| site.tier > lowest);
        // What has nothing above it to count for stays itself.
        site.tier <= lowest || above().iter().all(lower) && tally.has_hosts(site.id)
    };
    let (kept, left): (Vec<&Site>, Vec<&Site>) = all.into_iter().partition(|site| is_kept(site));
    let mut rolled: HashMap<SiteId, Counts> = HashMap::new();
    for site in left.iter().filter(|site| tally.has_hosts(site.id)) {
        let above = tree.ancestors(site.id).into_iter();
        let mut above = above.filter(|id| tree.get(*id).is_some_and(|site| site.tier <= lowest));
        if let Some(above) = above.next() {
            rolled
                .entry(above)
                .or_default()
                .add_all(&tally.own(site.id));
        }
    }
    let cell = |site: &Site| {
        let more = rolled.get(&site.id);
        let mut hosts = tally.own(site.id);
        if let Some(more) = more {
            hosts.add_all(more);
        }
        Cell {
            id: site.id.0,
            name: site.name.clone(),
            tier: site.tier.word(),
            parent: site.parent.map(|parent| parent.0),
            hosts,
            rolled: more.is_some(),
        }
    };
    kept.into_iter().map(cell).collect()
}

/// The lowest tier that is drawn, so that there are not too many.
fn lowest(all: &[&Site], most: usize) -> Tier {
    let count = |tier: Tier| all.iter().filter(|site| site.tier <= tier).count();
    let mut tiers = Tier::ALL.into_iter().rev();
    tiers
        .find(|tier| count(*tier) <= most)
        .unwrap_or(Tier::HighCourt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: i64, tier: Tier, parent: Option<i64>) -> Site {
        Site {
            id: SiteId(id),
            key: id.to_string(),
            name: id.to_string(),
            tier,
            parent: parent.map(SiteId),
            court_code: String::new(),
            retired_ms: None,
            version: 0,
        }
    }

    #[test]
    fn hosts_of_sites_that_are_left_out_count_for_the_court_above() {
        let mut gone = site(5, Tier::BasicCourt, Some(1));
        gone.retired_ms = Some(1);
        let tree = SiteTree::new([
            site(1, Tier::HighCourt, None),
            site(2, Tier::BasicCourt, Some(1)),
            site(3, Tier::Tribunal, Some(2)),
            site(4, Tier::Other, Some(3)),
            gone,
        ]);
        let tally = Tally::of(&tree, [(SiteId(2), 1), (SiteId(3), 1), (SiteId(4), 2)]);
        let shown = |most| -> Vec<(i64, usize, bool)> {
            let cells = cells_within(&tree, &tally, most);
            let told = cells.iter();
            told.map(|cell| (cell.id, cell.hosts.up, cell.rolled))
                .collect()
        };
        assert_eq!(
            shown(4),
            [(1, 0, false), (2, 1, false), (3, 1, false), (4, 2, false)]
        );
        assert_eq!(shown(2), [(1, 0, false), (2, 4, true)]);
        assert_eq!(shown(1), [(1, 4, true)]);
    }
}
