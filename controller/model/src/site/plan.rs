//! What a list of sites would change in the tree: each row against what is there, and the tree that would
//! come of it as a whole.
//!
//! One site that somebody changes is a list of one row, so that every way of changing the tree is checked
//! alike. Making a plan changes nothing.

use std::collections::BTreeMap;

use super::{NewSite, Site, SiteTree, Tier};

/// Longest text of a site, bytes; the longest name of a Chinese court has about 100.
pub const MAX_SITE_TEXT: usize = 512;

/// What a site holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteField {
    /// Identifier, which never changes.
    Key,
    /// Name.
    Name,
    /// Level.
    Tier,
    /// The site above.
    Parent,
    /// 法院代字.
    CourtCode,
    /// Whether it is in use.
    State,
}

impl SiteField {
    /// All of them, in the order of a list's columns.
    pub const ALL: [Self; 6] = [
        Self::Key,
        Self::Name,
        Self::Tier,
        Self::Parent,
        Self::CourtCode,
        Self::State,
    ];

    /// Stable word, also the header of a list's column: `id`, `name`, `tier`, `parent_id`, `court_code` or
    /// `state`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Key => "id",
            Self::Name => "name",
            Self::Tier => "tier",
            Self::Parent => "parent_id",
            Self::CourtCode => "court_code",
            Self::State => "state",
        }
    }

    /// The field that [`SiteField::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.word() == word)
    }
}

/// A field before and after; parents are named by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteChange {
    /// Which.
    pub field: SiteField,
    /// Empty if it held nothing.
    pub before: String,
    /// Empty if it holds nothing any more.
    pub after: String,
}

/// What a site is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// Where it stands in the file, from 1; 0 without a file.
    pub line: u32,
    /// All that it is to hold.
    pub site: NewSite,
    /// Whether it is to be out of use.
    pub retired: bool,
}

/// Why a row does not fit into the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteProblem {
    /// It must hold something.
    #[error("is empty: fill it in")]
    Empty,
    /// It holds a line break, or is far too long.
    #[error("holds a control character or more than {MAX_SITE_TEXT} bytes: correct it")]
    Unusable,
    /// No such tier.
    #[error(
        "{0:?} is no tier: write high_court, intermediate_court, basic_court, tribunal or other \
         (高院, 中院, 基层法院, 派出法庭, 其他)"
    )]
    NoTier(String),
    /// The key stands in two rows.
    #[error("{key:?} stands in row {first} already: give one of them another id")]
    Twice {
        /// Which.
        key: String,
        /// The other row.
        first: u32,
    },
    /// The parent is neither in the list nor in the tree.
    #[error(
        "no site has the id {0:?}, nor has exactly one this name: add it, or correct the parent"
    )]
    NoParent(String),
    /// The parent is out of use.
    #[error("{0:?} is retired: restore it first, or name another site above")]
    RetiredParent(String),
    /// Going up from here leads back here.
    #[error("{0}: these would be above each other in a circle: correct one parent")]
    Circle(String),
    /// A court below one of its own level, or of a lower one.
    #[error("{} cannot stand below {}: correct the tier or the parent", .tier.word(), .above.word())]
    Order {
        /// What it is.
        tier: Tier,
        /// What is above it.
        above: Tier,
    },
    /// A site that stays below it would not fit any more.
    #[error("{name:?} stands below it and is {}: move that one first", .tier.word())]
    OrderBelow {
        /// Its name.
        name: String,
        /// Its tier.
        tier: Tier,
    },
}

impl SiteProblem {
    /// Stable word, for pages that say it in their own language.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unusable => "control",
            Self::NoTier(_) => "no_tier",
            Self::Twice { .. } => "twice",
            Self::NoParent(_) => "no_parent",
            Self::RetiredParent(_) => "retired_parent",
            Self::Circle(_) => "circle",
            Self::Order { .. } => "order",
            Self::OrderBelow { .. } => "order_below",
        }
    }
}

/// A row that adds or changes a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSite {
    /// Row of the file.
    pub line: u32,
    /// What is there now.
    pub before: Option<Site>,
    /// What it will hold.
    pub site: NewSite,
    /// Whether it will be out of use.
    pub retired: bool,
    /// What differs.
    pub changes: Vec<SiteChange>,
}

impl PlannedSite {
    /// Whether a site that is there gets another one above it.
    #[must_use]
    pub fn moves(&self) -> bool {
        let parent = |change: &SiteChange| change.field == SiteField::Parent;
        self.before.is_some() && self.changes.iter().any(parent)
    }
}

/// What a list would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SitePlan {
    /// Rows that add or change something, in the list's order.
    pub rows: Vec<PlannedSite>,
    /// Rows that are so already.
    pub unchanged: usize,
    /// What stands against it, by row; with any of these nothing is done.
    pub problems: Vec<(u32, SiteField, SiteProblem)>,
}

impl SitePlan {
    /// How many rows add a site.
    #[must_use]
    pub fn added(&self) -> usize {
        self.rows.iter().filter(|row| row.before.is_none()).count()
    }

    /// How many rows give a site that is there another one above it.
    #[must_use]
    pub fn moved(&self) -> usize {
        self.rows.iter().filter(|row| row.moves()).count()
    }
}

/// A site of the tree as it would be.
struct Node<'a> {
    name: &'a str,
    tier: Tier,
    parent: Option<&'a str>,
    retired: bool,
    /// The row that makes it so.
    row: Option<&'a SiteRow>,
}

type Nodes<'a> = BTreeMap<&'a str, Node<'a>>;

/// What these rows would do to the tree. Sites that no row names stay as they are.
#[must_use]
pub fn plan_sites(tree: &SiteTree, rows: &[SiteRow]) -> SitePlan {
    let mut plan = SitePlan::default();
    let there: BTreeMap<&str, &Site> = tree.iter().map(|site| (site.key.as_str(), site)).collect();
    let nodes = nodes(tree, rows, &mut plan);
    for row in rows {
        check_row(row, &nodes, &mut plan);
    }
    check_those_below(&nodes, &mut plan);
    check_circles(&nodes, rows, &mut plan);
    plan.problems
        .sort_by_key(|(line, field, _)| (*line, *field));
    for row in rows {
        let before = there.get(row.site.key.as_str()).copied();
        let changes = differences(before, row, tree);
        match changes.is_empty() {
            true => plan.unchanged += 1,
            false => plan.rows.push(PlannedSite {
                line: row.line,
                before: before.cloned(),
                site: row.site.clone(),
                retired: row.retired,
                changes,
            }),
        }
    }
    plan
}

/// All sites as they would be.
fn nodes<'a>(tree: &'a SiteTree, rows: &'a [SiteRow], plan: &mut SitePlan) -> Nodes<'a> {
    let key = |id| tree.get(id).map(|site| site.key.as_str());
    let mut nodes: Nodes<'a> = BTreeMap::new();
    for site in tree.iter() {
        let node = Node {
            name: &site.name,
            tier: site.tier,
            parent: site.parent.and_then(key),
            retired: !site.is_in_use(),
            row: None,
        };
        nodes.insert(&site.key, node);
    }
    for row in rows {
        let node = Node {
            name: &row.site.name,
            tier: row.site.tier,
            parent: row.site.parent.as_deref(),
            retired: row.retired,
            row: Some(row),
        };
        let old = nodes.insert(&row.site.key, node);
        if let Some(first) = old.and_then(|old| old.row) {
            let (key, first) = (row.site.key.clone(), first.line);
            let problem = SiteProblem::Twice { key, first };
            plan.problems.push((row.line, SiteField::Key, problem));
        }
    }
    nodes
}

/// Whether a site of this tier may stand below one of that. A data centre or a prison may stand anywhere,
/// and anything below it.
fn fits(tier: Tier, above: Tier) -> bool {
    tier == Tier::Other || above == Tier::Other || above < tier
}

fn check_row(row: &SiteRow, nodes: &Nodes<'_>, plan: &mut SitePlan) {
    let site = &row.site;
    let mut add = |field, problem| plan.problems.push((row.line, field, problem));
    let texts = [
        (SiteField::Key, site.key.as_str()),
        (SiteField::Name, &site.name),
        (SiteField::CourtCode, &site.court_code),
    ];
    for (field, text) in texts {
        if text.is_empty() && field != SiteField::CourtCode {
            add(field, SiteProblem::Empty);
        }
        if text.len() > MAX_SITE_TEXT || text.chars().any(char::is_control) {
            add(field, SiteProblem::Unusable);
        }
    }
    let Some(parent) = site.parent.as_deref() else {
        return;
    };
    let Some(above) = nodes.get(parent) else {
        add(SiteField::Parent, SiteProblem::NoParent(parent.to_owned()));
        return;
    };
    if above.retired && !row.retired {
        let name = above.name.to_owned();
        add(SiteField::Parent, SiteProblem::RetiredParent(name));
    }
    if parent != site.key && !fits(site.tier, above.tier) {
        let (tier, above) = (site.tier, above.tier);
        add(SiteField::Tier, SiteProblem::Order { tier, above });
    }
}

/// Sites that no row names must still fit below those that a row changes.
fn check_those_below(nodes: &Nodes<'_>, plan: &mut SitePlan) {
    for node in nodes.values().filter(|node| node.row.is_none()) {
        let above = node.parent.and_then(|parent| nodes.get(parent));
        let Some((above, row)) = above.and_then(|above| Some((above, above.row?))) else {
            continue;
        };
        if !fits(node.tier, above.tier) {
            let (name, tier) = (node.name.to_owned(), node.tier);
            let problem = SiteProblem::OrderBelow { name, tier };
            plan.problems.push((row.line, SiteField::Tier, problem));
        }
    }
}

/// Whether the way up from a site was walked already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Now,
    Done,
}

/// Walks up from every row once; meeting a site of the same walk again is a circle.
fn check_circles<'a>(nodes: &Nodes<'a>, rows: &'a [SiteRow], plan: &mut SitePlan) {
    let mut walks: BTreeMap<&str, Walk> = BTreeMap::new();
    for row in rows {
        let mut path: Vec<&str> = Vec::new();
        let mut next = Some(row.site.key.as_str());
        while let Some(key) = next {
            match walks.get(key) {
                Some(Walk::Done) => break,
                Some(Walk::Now) => {
                    let circle: Vec<&str> =
                        path.iter().copied().skip_while(|one| *one != key).collect();
                    tell_circle(&circle, nodes, plan);
                    break;
                }
                None => {}
            }
            walks.insert(key, Walk::Now);
            path.push(key);
            next = nodes.get(key).and_then(|node| node.parent);
        }
        for key in path {
            walks.insert(key, Walk::Done);
        }
    }
}

/// Tells a circle at its first row.
fn tell_circle(circle: &[&str], nodes: &Nodes<'_>, plan: &mut SitePlan) {
    let lines = circle.iter().filter_map(|key| nodes.get(key)?.row);
    let line = lines.map(|row| row.line).min().unwrap_or(0);
    let shown: Vec<&str> = circle.iter().chain(circle.first()).copied().collect();
    let problem = SiteProblem::Circle(shown.join(" → "));
    plan.problems.push((line, SiteField::Parent, problem));
}

fn differences(before: Option<&Site>, row: &SiteRow, tree: &SiteTree) -> Vec<SiteChange> {
    let state = |retired: bool| if retired { "retired" } else { "in_use" };
    let of = |field| {
        let site = &row.site;
        let after = match field {
            SiteField::Key => &site.key,
            SiteField::Name => &site.name,
            SiteField::Tier => site.tier.word(),
            SiteField::Parent => site.parent.as_deref().unwrap_or(""),
            SiteField::CourtCode => &site.court_code,
            SiteField::State => state(row.retired),
        };
        let before = before.map_or("", |site| match field {
            SiteField::Key => &site.key,
            SiteField::Name => &site.name,
            SiteField::Tier => site.tier.word(),
            SiteField::Parent => {
                let above = site.parent.and_then(|id| tree.get(id));
                above.map_or("", |above| above.key.as_str())
            }
            SiteField::CourtCode => &site.court_code,
            SiteField::State => state(!site.is_in_use()),
        });
        (before != after).then(|| SiteChange {
            field,
            before: before.to_owned(),
            after: after.to_owned(),
        })
    };
    SiteField::ALL.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests;
