//! Sites: nodes of the organisation tree.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::plan::{
    MAX_SITE_TEXT, PlannedSite, SiteChange, SiteField, SitePlan, SiteProblem, SiteRow, plan_sites,
};

/// Number of a site, given by the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteId(pub i64);

impl fmt::Display for SiteId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Level of a site in the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 高院
    HighCourt,
    /// 中院
    IntermediateCourt,
    /// 基层法院
    BasicCourt,
    /// 派出法庭
    Tribunal,
    /// Anything else: a data centre, a prison with a leased line.
    Other,
}

impl Tier {
    /// All of them, highest first.
    pub const ALL: [Self; 5] = [
        Self::HighCourt,
        Self::IntermediateCourt,
        Self::BasicCourt,
        Self::Tribunal,
        Self::Other,
    ];

    /// `high_court`, `intermediate_court`, `basic_court`, `tribunal` or `other`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HighCourt => "high_court",
            Self::IntermediateCourt => "intermediate_court",
            Self::BasicCourt => "basic_court",
            Self::Tribunal => "tribunal",
            Self::Other => "other",
        }
    }

    /// The tier that [`Tier::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.word() == word)
    }
}

/// One node of the organisation tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Identifier in the import file: `gs-01`. Never changes, unlike name and code.
    pub key: String,
    /// Name for people.
    pub name: String,
    /// Level.
    pub tier: Tier,
    /// The site above.
    pub parent: Option<SiteId>,
    /// 法院代字; empty where there is none.
    pub court_code: String,
    /// Since when it is out of use, Unix milliseconds. Its history and that of its hosts stay.
    pub retired_ms: Option<i64>,
    /// Number of its last change; 0 if nobody changed it since changes are kept.
    pub version: i64,
}

impl Site {
    /// Whether it is in use.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.retired_ms.is_none()
    }
}

/// A site as an import file describes it: its parent is named by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// Identifier in the import file.
    pub key: String,
    /// Name for people.
    pub name: String,
    /// Level.
    pub tier: Tier,
    /// Key of the site above.
    pub parent: Option<String>,
    /// 法院代字; empty where there is none.
    pub court_code: String,
}

/// All sites with who is below whom.
#[derive(Debug, Clone, Default)]
pub struct SiteTree {
    sites: BTreeMap<SiteId, Site>,
    children: BTreeMap<Option<SiteId>, Vec<SiteId>>,
    /// How many sites in use are below each that has any.
    below: BTreeMap<SiteId, usize>,
}

impl SiteTree {
    /// Builds the tree. A site whose parent is not among `sites` counts as a root, so that nothing
    /// disappears from view.
    #[must_use]
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let sites: BTreeMap<_, _> = sites.into_iter().map(|site| (site.id, site)).collect();
        let mut children: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for site in sites.values() {
            let parent = site.parent.filter(|parent| sites.contains_key(parent));
            children.entry(parent).or_default().push(site.id);
        }
        let mut tree = Self {
            sites,
            children,
            below: BTreeMap::new(),
        };
        tree.below = tree.count_below();
        tree
    }

    /// Children before parents, so that every number is ready when it is needed.
    fn count_below(&self) -> BTreeMap<SiteId, usize> {
        let mut order = self.roots().to_vec();
        let mut at = 0;
        while let Some(&next) = order.get(at) {
            order.extend_from_slice(self.children(next));
            at += 1;
        }
        let mut below: BTreeMap<SiteId, usize> = BTreeMap::new();
        for id in order.into_iter().rev() {
            let Some(site) = self.get(id) else { continue };
            let own = below.get(&id).copied().unwrap_or(0) + usize::from(site.is_in_use());
            if let Some(parent) = site.parent.filter(|_| own > 0) {
                *below.entry(parent).or_default() += own;
            }
        }
        below
    }

    /// How many sites in use are below this one.
    #[must_use]
    pub fn sites_below(&self, id: SiteId) -> usize {
        self.below.get(&id).copied().unwrap_or(0)
    }

    /// The site with this number.
    #[must_use]
    pub fn get(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(&id)
    }

    /// All sites by number.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.sites.values()
    }

    /// Sites without a parent.
    #[must_use]
    pub fn roots(&self) -> &[SiteId] {
        self.children.get(&None).map_or(&[], Vec::as_slice)
    }

    /// Sites directly below this one.
    #[must_use]
    pub fn children(&self, id: SiteId) -> &[SiteId] {
        self.children.get(&Some(id)).map_or(&[], Vec::as_slice)
    }

    /// This site and all below it.
    #[must_use]
    pub fn subtree(&self, id: SiteId) -> BTreeSet<SiteId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<_> = self
            .sites
            .contains_key(&id)
            .then_some(id)
            .into_iter()
            .collect();
        while let Some(next) = open.pop() {
            if found.insert(next) {
                open.extend_from_slice(self.children(next));
            }
        }
        found
    }

    /// The sites of a scope alone. What is above them is not there: the highest become roots.
    #[must_use]
    pub fn within(&self, scope: &crate::Scope) -> Self {
        let seen = self.iter().filter(|site| scope.sees(site.id));
        Self::new(seen.cloned())
    }

    /// The sites above this one, nearest first.
    #[must_use]
    pub fn ancestors(&self, id: SiteId) -> Vec<SiteId> {
        let mut above = Vec::new();
        let mut next = self.get(id).and_then(|site| site.parent);
        while let Some(parent) = next.filter(|parent| !above.contains(parent)) {
            above.push(parent);
            next = self.get(parent).and_then(|site| site.parent);
        }
        above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: i64, parent: Option<i64>) -> Site {
        Site {
            id: SiteId(id),
            key: id.to_string(),
            name: id.to_string(),
            tier: Tier::Other,
            parent: parent.map(SiteId),
            court_code: String::new(),
            retired_ms: None,
            version: 0,
        }
    }

    #[test]
    fn a_subtree_holds_the_site_and_all_below() {
        let tree = SiteTree::new([
            site(1, None),
            site(2, Some(1)),
            site(3, Some(2)),
            site(4, Some(1)),
        ]);
        assert_eq!(tree.subtree(SiteId(2)), [SiteId(2), SiteId(3)].into());
        assert_eq!(tree.subtree(SiteId(9)), BTreeSet::new());
        assert_eq!(tree.ancestors(SiteId(3)), [SiteId(2), SiteId(1)]);
        assert_eq!(tree.children(SiteId(1)), [SiteId(2), SiteId(4)]);
        assert_eq!(tree.sites_below(SiteId(1)), 3);
        assert_eq!(tree.sites_below(SiteId(4)), 0);
    }

    #[test]
    fn an_orphan_is_a_root_and_a_cycle_ends() {
        let tree = SiteTree::new([site(1, Some(7)), site(2, Some(3)), site(3, Some(2))]);
        assert_eq!(tree.roots(), [SiteId(1)]);
        assert_eq!(tree.subtree(SiteId(2)).len(), 2);
        assert_eq!(tree.ancestors(SiteId(2)), [SiteId(3), SiteId(2)]);
    }

    #[test]
    fn tier_words_lead_back_to_tiers() {
        for tier in Tier::ALL {
            assert_eq!(Tier::from_word(tier.word()), Some(tier));
        }
        assert_eq!(Tier::from_word("supreme_court"), None);
    }
}
