//! Spreadsheets of rooms, staff and assets: read into checked rows, with every problem in its cell.
//!
//! A file is CSV (UTF-8, UTF-16 or GB18030) or XLSX. Somewhere in its first rows stands a header with the
//! names of columns in Chinese or English, in any order; columns that nobody knows are left out and
//! named. A file with any problem yields nothing to import. Texts are texts: what looks like a formula is
//! kept as it is written, and put behind a quotation mark in exports.

mod export;
mod problem;
pub(crate) mod table;
mod text;
mod xlsx;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xiezhi_model::register::half_width;
use xiezhi_model::{Field, FieldProblem, RegisterKind, SiteId, SiteTree, Values};

pub use self::export::{export_header, export_row};
use self::problem::CellProblemKind as Kind;
pub use self::problem::{CellProblem, CellProblemKind, MOST_LISTED};
use self::table::Table;

/// Largest file, bytes. 20,000 rows of a spreadsheet with all columns are about 2 MB.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// Most rows of a file: all of them are one transaction. A whole province comes in several files.
pub const MAX_ROWS: usize = 20_000;

/// Headers of the column that names the site.
const SITE_HEADERS: [&str; 7] = [
    "site",
    "单位",
    "所属单位",
    "法院",
    "所属法院",
    "单位编号",
    "单位名称",
];

/// The header must be among so many rows; a title may stand above it.
pub(crate) const HEADER_WITHIN: usize = 10;

/// One checked row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// Where it stands in the file, from 1.
    pub line: u32,
    /// Whose it is.
    pub site: SiteId,
    /// Values of the columns that the file has; an empty one takes away what is there.
    pub values: Values,
}

/// A file without problems of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// What it is about.
    pub kind: RegisterKind,
    /// Column of each field, from 1.
    pub columns: BTreeMap<Field, u32>,
    /// Column of the site, from 1; `None` if the file has none.
    pub site_column: Option<u32>,
    /// In the file's order.
    pub rows: Vec<SheetRow>,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The rows; not to be imported if there are problems.
    pub sheet: Sheet,
    /// Headers that are no field.
    pub ignored: Vec<String>,
    /// Other sheets of the workbook that hold something; only the first is read.
    pub left_sheets: Vec<String>,
    /// At most [`MOST_LISTED`], in the file's order.
    pub problems: Vec<CellProblem>,
    /// How many there are.
    pub problem_count: usize,
}

/// Reads a spreadsheet. Sites are looked for in `tree` by key or name; `usual` is that of rows that name
/// none.
#[must_use]
pub fn read_register(
    kind: RegisterKind,
    bytes: &[u8],
    tree: &SiteTree,
    usual: Option<SiteId>,
) -> Reading {
    let (table, mut problems) = table::read(bytes);
    let mut reader = Reader {
        kind,
        sites: sites_by_word(tree),
        usual,
        site_column: None,
        columns: BTreeMap::new(),
        ignored: Vec::new(),
        problems: Vec::new(),
    };
    let rows = match problems.is_empty() || !table.rows.is_empty() {
        true => reader.rows(&table),
        false => Vec::new(),
    };
    problems.append(&mut reader.problems);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let problem_count = problems.len();
    problems.truncate(MOST_LISTED);
    Reading {
        sheet: Sheet {
            kind,
            columns: reader.columns,
            site_column: reader.site_column.and_then(column_at),
            rows,
        },
        ignored: reader.ignored,
        left_sheets: table.left_sheets,
        problems,
        problem_count,
    }
}

/// Sites by key, and by name where only one has it.
fn sites_by_word(tree: &SiteTree) -> BTreeMap<String, Option<SiteId>> {
    let mut words = BTreeMap::new();
    for site in tree.iter() {
        let several = words.insert(site.name.clone(), Some(site.id)).is_some();
        if several {
            words.insert(site.name.clone(), None);
        }
    }
    words.extend(tree.iter().map(|site| (site.key.clone(), Some(site.id))));
    words
}

struct Reader {
    kind: RegisterKind,
    sites: BTreeMap<String, Option<SiteId>>,
    usual: Option<SiteId>,
    site_column: Option<usize>,
    columns: BTreeMap<Field, u32>,
    ignored: Vec<String>,
    problems: Vec<CellProblem>,
}

impl Reader {
    fn rows(&mut self, table: &Table) -> Vec<SheetRow> {
        let Some(header) = self.header(table) else {
            let expected = [Field::Code, Field::Name].map(|field| header_of(field, self.kind));
            self.add(1, None, Kind::NoHeader(expected.join("、")));
            return Vec::new();
        };
        let mut first: BTreeMap<(SiteId, String), u32> = BTreeMap::new();
        let mut rows = Vec::new();
        for (line, cells) in table.rows.iter().skip(header + 1) {
            if cells.iter().all(String::is_empty) {
                continue;
            }
            if let Some((column, kind)) = table.overflow(header, cells) {
                self.add(*line, Some(column), kind);
            }
            let Some(row) = self.row(*line, cells) else {
                continue;
            };
            let code = row.values.get(&Field::Code).cloned().unwrap_or_default();
            match first.get(&(row.site, code.clone())) {
                Some(&first) if !code.is_empty() => {
                    let column = self.columns.get(&Field::Code).copied();
                    self.add(*line, column, Kind::Duplicate { code, first });
                }
                _ => {
                    first.insert((row.site, code), *line);
                }
            }
            rows.push(row);
        }
        if rows.is_empty() && self.problems.is_empty() {
            self.add(1, None, Kind::Nothing);
        }
        rows
    }

    fn add(&mut self, line: u32, column: Option<u32>, kind: CellProblemKind) {
        self.problems.push(CellProblem { line, column, kind });
    }

    /// Finds the header, and where each field stands.
    fn header(&mut self, table: &Table) -> Option<usize> {
        let code = |cells: &Vec<String>| {
            let is_code = |cell: &&String| field_of(cell, self.kind) == Some(Field::Code);
            cells.iter().find(is_code).is_some()
                && cells.iter().filter(|cell| !cell.is_empty()).count() > 1
        };
        let rows = table.rows.iter().take(HEADER_WITHIN);
        let at = rows.enumerate().find(|(_, (_, cells))| code(cells))?.0;
        let (line, cells) = table.rows.get(at)?;
        for (at, cell) in cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty())
        {
            let column = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            if is_site(cell) && self.site_column.is_none() {
                self.site_column = Some(at);
                continue;
            }
            match field_of(cell, self.kind) {
                Some(field) if !self.columns.contains_key(&field) => {
                    self.columns.insert(field, column);
                }
                Some(field) => {
                    let first = self.columns.get(&field).copied().unwrap_or(0);
                    self.add(*line, Some(column), Kind::SameField { field, first });
                }
                None => self.ignored.push(cell.chars().take(40).collect()),
            }
        }
        Some(at)
    }

    fn row(&mut self, line: u32, cells: &[String]) -> Option<SheetRow> {
        let mut values = Values::new();
        for (field, column) in self.columns.clone() {
            let text = cells.get(column as usize - 1).map_or("", String::as_str);
            let checked = match field.check(self.kind, text) {
                Ok(text) if text.is_empty() && matches!(field, Field::Code | Field::Name) => {
                    Err(FieldProblem::Empty)
                }
                Ok(text) if damaged(field, &text) => {
                    self.add(line, Some(column), Kind::DigitsLost);
                    continue;
                }
                checked => checked,
            };
            match checked {
                Ok(text) => drop(values.insert(field, text)),
                Err(problem) => {
                    let found = text.chars().take(40).collect();
                    self.add(
                        line,
                        Some(column),
                        Kind::Field {
                            field,
                            found,
                            problem,
                        },
                    );
                }
            }
        }
        let site = self.site(line, cells)?;
        Some(SheetRow { line, site, values })
    }

    fn site(&mut self, line: u32, cells: &[String]) -> Option<SiteId> {
        let text = self.site_column.and_then(|at| cells.get(at));
        let text = text.map_or("", |text| text.trim());
        let column = self.site_column.and_then(column_at);
        let found = || text.chars().take(80).collect::<String>();
        let known = self.sites.get(text);
        let known = known.or_else(|| self.sites.get(&half_width(text)));
        let kind = match (text, self.usual, known) {
            ("", Some(usual), _) => return Some(usual),
            ("", None, _) => Kind::NoSite,
            (_, _, Some(Some(site))) => return Some(*site),
            (_, _, Some(None)) => Kind::SeveralSites(found()),
            (_, _, None) => Kind::UnknownSite(found()),
        };
        self.add(line, column, kind);
        None
    }
}

/// The number of a column, from 1.
fn column_at(place: usize) -> Option<u32> {
    u32::try_from(place + 1).ok()
}

/// Whether a spreadsheet has rounded a long number of this field, as in `6.92E+12`.
fn damaged(field: Field, text: &str) -> bool {
    let numbers = matches!(
        field,
        Field::Code | Field::Serial | Field::Phone | Field::Room | Field::Owner
    );
    let rounded = text.split_once("E+").is_some_and(|(digits, exponent)| {
        let is_number = |text: &str| {
            text.chars()
                .all(|sign| sign.is_ascii_digit() || sign == '.')
        };
        !digits.is_empty() && is_number(digits) && exponent.parse::<u32>().is_ok()
    });
    numbers && rounded
}

/// A header without what people put around it: spaces, a star for required ones, notes in brackets.
pub(crate) fn plain(header: &str) -> String {
    let header = header.split(['(', '（']).next().unwrap_or_default();
    let signs = header
        .chars()
        .filter(|sign| !sign.is_whitespace() && !matches!(sign, '*' | '＊' | ':' | '：'));
    signs.collect::<String>().to_lowercase()
}

fn is_site(header: &str) -> bool {
    SITE_HEADERS.contains(&plain(header).as_str())
}

fn field_of(header: &str, kind: RegisterKind) -> Option<Field> {
    let header = plain(header);
    let has = |field: &&Field| {
        let names = field.headers(kind).iter();
        field.word() == header || names.into_iter().any(|name| plain(name) == header)
    };
    kind.fields().iter().find(has).copied()
}

/// The first Chinese header of a field.
fn header_of(field: Field, kind: RegisterKind) -> &'static str {
    field.headers(kind).first().copied().unwrap_or_default()
}

/// A [`Sheet`] as the store keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    columns: BTreeMap<String, u32>,
    #[serde(default)]
    site_column: Option<u32>,
    rows: Vec<(u32, i64, BTreeMap<String, String>)>,
}

impl Sheet {
    /// As one text, for [`Sheet::from_text`].
    #[must_use]
    pub fn to_text(&self) -> String {
        let words = |values: &Values| {
            let words = values
                .iter()
                .map(|(field, text)| (field.word().to_owned(), text.clone()));
            words.collect()
        };
        let columns = self
            .columns
            .iter()
            .map(|(field, &column)| (field.word().to_owned(), column));
        let kept = Kept {
            columns: columns.collect(),
            site_column: self.site_column,
            rows: self
                .rows
                .iter()
                .map(|row| (row.line, row.site.0, words(&row.values)))
                .collect(),
        };
        // Maps with texts as keys: there is nothing that JSON could refuse.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What [`Sheet::to_text`] wrote.
    #[must_use]
    pub fn from_text(kind: RegisterKind, text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let columns = kept.columns.into_iter();
        let columns = columns.filter_map(|(word, column)| Some((Field::from_word(&word)?, column)));
        let values = |words: BTreeMap<String, String>| {
            let values = words.into_iter();
            values
                .filter_map(|(word, text)| Some((Field::from_word(&word)?, text)))
                .collect()
        };
        let rows = kept.rows.into_iter().map(|(line, site, words)| SheetRow {
            line,
            site: SiteId(site),
            values: values(words),
        });
        Some(Self {
            kind,
            columns: columns.collect(),
            site_column: kept.site_column,
            rows: rows.collect(),
        })
    }

    /// The problem of a row that only the register itself could tell; without a field it is the site's.
    #[must_use]
    pub fn problem(
        &self,
        line: u32,
        field: Option<Field>,
        problem: xiezhi_model::RowProblem,
    ) -> CellProblem {
        let column = match field {
            Some(field) => self.columns.get(&field).copied(),
            None => self.site_column,
        };
        CellProblem {
            line,
            column,
            kind: Kind::Row { field, problem },
        }
    }
}

#[cfg(test)]
mod tests;
