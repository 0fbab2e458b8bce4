//! Lists of courts and other sites: read into rows that fit into the organisation, with every problem in
//! its cell.
//!
//! A list is a spreadsheet as those of the register are ([`crate::register`]): CSV (UTF-8, UTF-16 or
//! GB18030) or XLSX, with a header in its first rows whose columns stand in any order. A parent is named by
//! its id or by its whole name, and may stand in the list or in the organisation already. A field without a
//! column stays as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xiezhi_model::{
    NewSite, Site, SiteField, SitePlan, SiteProblem, SiteRow, SiteTree, Tier, plan_sites,
};

use crate::lists::{OUT_OF_USE, SITE_STATE};
use crate::register::table::{self, Table};
use crate::register::{CellProblem, CellProblemKind as Kind, HEADER_WITHIN, MOST_LISTED, plain};

/// What people write above the columns, besides the field's own word.
const HEADERS: [(SiteField, &[&str]); 5] = [
    (
        SiteField::Key,
        &["key", "site", "编号", "单位编号", "法院编号", "标识"],
    ),
    (
        SiteField::Name,
        &["名称", "单位名称", "法院名称", "法院", "单位"],
    ),
    (SiteField::Tier, &["层级", "级别", "法院层级", "法院级别"]),
    (
        SiteField::Parent,
        &[
            "parent",
            "上级",
            "上级编号",
            "上级单位",
            "上级法院",
            "上级单位编号",
            "上级法院编号",
        ],
    ),
    (
        SiteField::CourtCode,
        &["code", "法院代字", "代字", "案号代字"],
    ),
];

/// What people write for a tier, besides its own word.
const TIERS: [(Tier, &[&str]); 5] = [
    (Tier::HighCourt, &["高院", "高级法院", "高级人民法院"]),
    (
        Tier::IntermediateCourt,
        &["中院", "中级法院", "中级人民法院"],
    ),
    (
        Tier::BasicCourt,
        &["基层", "基层院", "基层法院", "基层人民法院"],
    ),
    (Tier::Tribunal, &["法庭", "派出法庭", "人民法庭"]),
    (Tier::Other, &["其他", "其它"]),
];

/// What people call a tier; an import takes it back.
pub(crate) fn tier_name(tier: Tier) -> &'static str {
    let known = TIERS.iter().find(|(one, _)| *one == tier);
    known
        .and_then(|(_, names)| names.first().copied())
        .unwrap_or(tier.word())
}

/// Rows of a list with where its columns stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteList {
    /// Column of each field, from 1.
    pub columns: BTreeMap<SiteField, u32>,
    /// In the file's order.
    pub rows: Vec<SiteRow>,
}

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteReading {
    /// The rows; not to be imported if there are problems.
    pub list: SiteList,
    /// Headers that are no field.
    pub ignored: Vec<String>,
    /// Other sheets of the workbook that hold something; only the first is read.
    pub left_sheets: Vec<String>,
    /// At most [`MOST_LISTED`], in the file's order.
    pub problems: Vec<CellProblem>,
    /// How many there are.
    pub problem_count: usize,
}

/// Reads a list of sites for this organisation.
#[must_use]
pub fn read_sites(bytes: &[u8], tree: &SiteTree) -> SiteReading {
    let (table, problems) = table::read(bytes);
    let mut reader = Reader {
        there: tree.iter().map(|site| (site.key.as_str(), site)).collect(),
        tree,
        list: SiteList::default(),
        state: None,
        ignored: Vec::new(),
        problems,
    };
    if reader.problems.is_empty() || !table.rows.is_empty() {
        reader.rows(&table);
    }
    reader.list.resolve_parents(tree);
    let plan = plan_sites(tree, &reader.list.rows);
    let mut problems = reader.problems;
    problems.extend(reader.list.problems(&plan));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let problem_count = problems.len();
    problems.truncate(MOST_LISTED);
    SiteReading {
        list: reader.list,
        ignored: reader.ignored,
        left_sheets: table.left_sheets,
        problems,
        problem_count,
    }
}

struct Reader<'t> {
    tree: &'t SiteTree,
    there: BTreeMap<&'t str, &'t Site>,
    list: SiteList,
    /// Column of the state, as an export has it.
    state: Option<usize>,
    ignored: Vec<String>,
    problems: Vec<CellProblem>,
}

impl Reader<'_> {
    fn rows(&mut self, table: &Table) {
        let Some(header) = self.header(table) else {
            let expected = "id、name、tier、parent_id、court_code".to_owned();
            self.add(1, None, Kind::NoHeader(expected));
            return;
        };
        for (line, cells) in table.rows.iter().skip(header + 1) {
            if !cells.iter().all(String::is_empty) {
                if let Some((column, kind)) = table.overflow(header, cells) {
                    self.add(*line, Some(column), kind);
                }
                self.row(*line, cells);
            }
        }
        if self.list.rows.is_empty() && self.problems.is_empty() {
            self.add(1, None, Kind::Nothing);
        }
    }

    fn add(&mut self, line: u32, column: Option<u32>, kind: Kind) {
        self.problems.push(CellProblem { line, column, kind });
    }

    fn add_to(&mut self, line: u32, field: SiteField, problem: SiteProblem) {
        let problem = self.list.problem(line, field, problem);
        self.problems.push(problem);
    }

    /// Finds the header, and where each field stands.
    fn header(&mut self, table: &Table) -> Option<usize> {
        let is_header = |cells: &[String]| {
            let has = |wanted| cells.iter().any(|cell| field_of(cell) == Some(wanted));
            has(SiteField::Key) && has(SiteField::Name)
        };
        let mut rows = table.rows.iter().take(HEADER_WITHIN);
        let at = rows.position(|(_, cells)| is_header(cells))?;
        let (line, cells) = table.rows.get(at)?;
        for (column, cell) in (1_u32..).zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            match field_of(cell) {
                Some(field) => {
                    if let Some(&first) = self.list.columns.get(&field) {
                        let kind = Kind::SameSiteField { field, first };
                        self.add(*line, Some(column), kind);
                    } else {
                        self.list.columns.insert(field, column);
                    }
                }
                None => {
                    if [SITE_STATE.0, SITE_STATE.1].contains(&plain(cell).as_str()) {
                        self.state = Some(column as usize);
                    }
                    self.ignored.push(cell.chars().take(40).collect());
                }
            }
        }
        Some(at)
    }

    /// A row with mistakes still becomes a site, so that they are not told again for those below it; only
    /// one without an id cannot be anyone's parent.
    fn row(&mut self, line: u32, cells: &[String]) {
        let columns = &self.list.columns;
        let text = |field| {
            let at = *columns.get(&field)? as usize;
            Some(cells.get(at - 1).map_or("", |cell| cell.trim()))
        };
        let key = text(SiteField::Key).unwrap_or_default().to_owned();
        let before = self.there.get(key.as_str()).copied();
        let name = text(SiteField::Name).unwrap_or_default().to_owned();
        let code = text(SiteField::CourtCode).map(str::to_owned);
        let parent = text(SiteField::Parent).map(str::to_owned);
        let tier = text(SiteField::Tier).map(str::to_owned);
        if key.is_empty() {
            self.add_to(line, SiteField::Key, SiteProblem::Empty);
            return;
        }
        let tier = match (tier, before) {
            (Some(text), _) if !text.is_empty() => tier_of(&text).or_else(|| {
                let found = text.chars().take(80).collect();
                self.add_to(line, SiteField::Tier, SiteProblem::NoTier(found));
                None
            }),
            (None, Some(before)) => Some(before.tier),
            _ => {
                self.add_to(line, SiteField::Tier, SiteProblem::Empty);
                None
            }
        };
        let parent = match parent {
            Some(text) => (!text.is_empty()).then_some(text),
            None => {
                let above = before.and_then(|site| self.tree.get(site.parent?));
                above.map(|above| above.key.clone())
            }
        };
        let kept = || before.map(|site| site.court_code.clone());
        let site = NewSite {
            key,
            name,
            tier: tier.unwrap_or(Tier::Other),
            parent,
            court_code: code.or_else(kept).unwrap_or_default(),
        };
        // A list restores what it names, but for what it says is out of use. It puts nothing out of use.
        let said = self.state.and_then(|at| cells.get(at - 1));
        let retired = before.is_some_and(|site| !site.is_in_use())
            && said.is_some_and(|said| [OUT_OF_USE.0, OUT_OF_USE.1].contains(&said.trim()));
        self.list.rows.push(SiteRow {
            line,
            site,
            retired,
        });
    }
}

fn field_of(header: &str) -> Option<SiteField> {
    let header = plain(header);
    let is = |(field, names): &&(SiteField, &[&str])| {
        field.word() == header || names.iter().any(|name| *name == header)
    };
    HEADERS.iter().find(is).map(|(field, _)| *field)
}

fn tier_of(text: &str) -> Option<Tier> {
    let is = |(tier, names): &&(Tier, &[&str])| tier.word() == text || names.contains(&text);
    TIERS.iter().find(is).map(|(tier, _)| *tier)
}

/// A [`SiteList`] as the store keeps it: line, key, name, tier, parent and court code.
#[derive(Serialize, Deserialize)]
struct Kept {
    columns: BTreeMap<String, u32>,
    rows: Vec<(u32, String, String, String, Option<String>, String)>,
    /// Lines of sites that stay out of use.
    #[serde(default)]
    retired: Vec<u32>,
}

impl SiteList {
    /// Parents that are named by their names get their keys. What nobody has stays, and is told later.
    fn resolve_parents(&mut self, tree: &SiteTree) {
        let mut keys: BTreeMap<String, ()> = BTreeMap::new();
        let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
        let of_list = self.rows.iter().map(|row| (&row.site.key, &row.site.name));
        let of_tree = tree.iter().map(|site| (&site.key, &site.name));
        for (key, name) in of_list.chain(of_tree) {
            if keys.insert(key.clone(), ()).is_none() {
                let several = names.insert(name.clone(), Some(key.clone())).is_some();
                if several {
                    names.insert(name.clone(), None);
                }
            }
        }
        for row in &mut self.rows {
            let parent = row.site.parent.as_ref();
            let named = parent.filter(|parent| !keys.contains_key(*parent));
            if let Some(Some(key)) = named.and_then(|name| names.get(name)) {
                row.site.parent = Some(key.clone());
            }
        }
    }

    /// What stands against a plan of these rows, by cell.
    pub fn problems<'p>(&'p self, plan: &'p SitePlan) -> impl Iterator<Item = CellProblem> + 'p {
        let problems = plan.problems.iter();
        problems.map(|(line, field, problem)| self.problem(*line, *field, problem.clone()))
    }

    fn problem(&self, line: u32, field: SiteField, problem: SiteProblem) -> CellProblem {
        CellProblem {
            line,
            column: self.columns.get(&field).copied(),
            kind: Kind::Site { field, problem },
        }
    }

    /// As one text, for [`SiteList::from_text`].
    #[must_use]
    pub fn to_text(&self) -> String {
        let columns = self.columns.iter();
        let rows = self.rows.iter().map(|row| {
            let site = row.site.clone();
            let tier = site.tier.word().to_owned();
            (
                row.line,
                site.key,
                site.name,
                tier,
                site.parent,
                site.court_code,
            )
        });
        let kept = Kept {
            columns: columns
                .map(|(field, column)| (field.word().to_owned(), *column))
                .collect(),
            rows: rows.collect(),
            retired: self
                .rows
                .iter()
                .filter(|row| row.retired)
                .map(|row| row.line)
                .collect(),
        };
        // Maps with texts as keys: there is nothing that JSON could refuse.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What [`SiteList::to_text`] wrote.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let columns = kept.columns.into_iter();
        let columns = columns.filter_map(|(word, at)| Some((SiteField::from_word(&word)?, at)));
        let rows = kept.rows.into_iter();
        let rows = rows.map(|(line, key, name, tier, parent, court_code)| {
            let site = NewSite {
                key,
                name,
                tier: Tier::from_word(&tier)?,
                parent,
                court_code,
            };
            let retired = kept.retired.contains(&line);
            Some(SiteRow {
                line,
                site,
                retired,
            })
        });
        Some(Self {
            columns: columns.collect(),
            rows: rows.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests;
