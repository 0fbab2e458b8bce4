//! What can be wrong with a spreadsheet, in words for the person who filled it in.

use std::fmt;

use xiezhi_model::{Field, FieldProblem, RowProblem, SiteField, SiteProblem};

use super::{MAX_FILE_BYTES, MAX_ROWS};

/// Most problems that are told at once.
pub const MOST_LISTED: usize = 200;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CellProblem {
    /// Row in the file, from 1.
    pub line: u32,
    /// Column, from 1; `None` if it is about the whole row.
    pub column: Option<u32>,
    /// What.
    pub kind: CellProblemKind,
}

impl CellProblem {
    /// The column as a spreadsheet names it: `C`.
    #[must_use]
    pub fn letters(&self) -> Option<String> {
        let (mut left, mut letters) = (self.column?, Vec::new());
        while left > 0 {
            let digit = (left - 1) % 26;
            letters.push(char::from(b'A' + u8::try_from(digit).unwrap_or(0)));
            left = (left - 1) / 26;
        }
        Some(letters.iter().rev().collect())
    }
}

impl fmt::Display for CellProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.letters() {
            Some(letters) => write!(
                formatter,
                "row {}, column {letters}: {}",
                self.line, self.kind
            ),
            None => write!(formatter, "row {}: {}", self.line, self.kind),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellProblemKind {
    /// Neither a spreadsheet nor text.
    #[error("the file cannot be read ({0}): open it and save it anew as .xlsx or as CSV")]
    Unreadable(String),
    /// It needs a password.
    #[error("the file is protected by a password: take the password away and save it again")]
    Protected,
    /// `.xls` of before 2007.
    #[error("this is an old .xls file: open it and save it as .xlsx or as CSV")]
    OldFormat,
    /// An archive that is no workbook of Excel.
    #[error(
        "this is no .xlsx workbook, but .ods, .docx or the like: open it and save it as .xlsx or as CSV"
    )]
    OtherFormat,
    /// Too many bytes, packed or unpacked.
    #[error("the file is too large: at most {} MB and {MAX_ROWS} rows; split it", MAX_FILE_BYTES >> 20)]
    TooLarge,
    /// Neither UTF-8 nor GB18030.
    #[error("these signs are neither UTF-8 nor GB18030: save the file as CSV UTF-8 or as .xlsx")]
    Encoding,
    /// No row has the names of the columns.
    #[error("no header was found in the first rows: write a row with {0} and the other columns")]
    NoHeader(String),
    /// Two columns for one field.
    #[error("column {first} is {} already: remove or rename one of them", .field.word())]
    SameField {
        /// Which.
        field: Field,
        /// The other column, from 1.
        first: u32,
    },
    /// Two columns for one field of sites.
    #[error("column {first} is {} already: remove or rename one of them", .field.word())]
    SameSiteField {
        /// Which.
        field: SiteField,
        /// The other column, from 1.
        first: u32,
    },
    /// Cells were merged.
    #[error("cells {0} are merged: take the merging apart and fill in each of them")]
    Merged(String),
    /// The spreadsheet's own error.
    #[error("the cell holds the error {0}: correct its formula or write the value")]
    ErrorCell(String),
    /// A formula whose result is not in the file.
    #[error(
        "the cell holds a formula without its result: open the file in a spreadsheet and save it again"
    )]
    NoResult,
    /// A quotation mark that is never closed.
    #[error(
        "a quotation mark in this row is never closed, so all rows behind it are part of one cell: close it \
         or take it out"
    )]
    OpenQuote,
    /// More cells than columns.
    #[error(
        "the row has more cells than the header, which has {0}: put a text with a comma in quotation marks, \
         or save the file as .xlsx"
    )]
    MoreCells(usize),
    /// A number that is longer than a spreadsheet can hold.
    #[error(
        "the spreadsheet has rounded this number: format the column as text and write it again"
    )]
    DigitsLost,
    /// Nobody knows whose it is.
    #[error("no site is named: add a column 单位 with the site's key or name")]
    NoSite,
    /// The site is not there, or not within reach.
    #[error("{0:?} is no site that you manage: write its key or its whole name")]
    UnknownSite(String),
    /// Several sites are called so.
    #[error("several sites are called {0:?}: write the site's key")]
    SeveralSites(String),
    /// The value is none of this field.
    #[error("{} {found:?} {problem}", .field.word())]
    Field {
        /// Which field.
        field: Field,
        /// What stands there.
        found: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// The same thing twice.
    #[error("{code:?} of this site stands in row {first} already: keep one of them")]
    Duplicate {
        /// Its code.
        code: String,
        /// Where it stood first.
        first: u32,
    },
    /// There is nothing in it.
    #[error("the file has no rows below its header")]
    Nothing,
    /// The register knows better.
    #[error("{} {problem}", .field.map_or("site", Field::word))]
    Row {
        /// Which field; `None` is the site.
        field: Option<Field>,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// A site does not fit into the organisation.
    #[error("{} {problem}", .field.word())]
    Site {
        /// Which field.
        field: SiteField,
        /// What is wrong with it.
        problem: SiteProblem,
    },
}

impl CellProblemKind {
    /// The field that it is about.
    #[must_use]
    pub const fn field(&self) -> Option<Field> {
        match self {
            Self::SameField { field, .. } | Self::Field { field, .. } => Some(*field),
            Self::Row { field, .. } => *field,
            _ => None,
        }
    }

    /// The field of a site that it is about.
    #[must_use]
    pub const fn site_field(&self) -> Option<SiteField> {
        match self {
            Self::SameSiteField { field, .. } | Self::Site { field, .. } => Some(*field),
            _ => None,
        }
    }

    /// What stands in the file, where that tells more than the place.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        match self {
            Self::Merged(found)
            | Self::ErrorCell(found)
            | Self::UnknownSite(found)
            | Self::SeveralSites(found)
            | Self::Field { found, .. }
            | Self::Duplicate { code: found, .. }
            | Self::Site {
                problem:
                    SiteProblem::NoTier(found)
                    | SiteProblem::NoParent(found)
                    | SiteProblem::RetiredParent(found)
                    | SiteProblem::Circle(found)
                    | SiteProblem::Twice { key: found, .. }
                    | SiteProblem::OrderBelow { name: found, .. },
                ..
            }
            | Self::Row {
                problem: RowProblem::Unknown(found),
                ..
            } => Some(found),
            _ => None,
        }
    }

    /// Stable word, for pages that say it in their own language.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Protected => "protected",
            Self::OldFormat => "old_format",
            Self::OtherFormat => "other_format",
            Self::NoResult => "no_result",
            Self::OpenQuote => "open_quote",
            Self::MoreCells(_) => "more_cells",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::NoHeader(_) => "no_header",
            Self::SameField { .. } | Self::SameSiteField { .. } => "same_field",
            Self::Merged(_) => "merged",
            Self::ErrorCell(_) => "error_cell",
            Self::DigitsLost => "digits_lost",
            Self::NoSite => "no_site",
            Self::UnknownSite(_) => "unknown_site",
            Self::SeveralSites(_) => "several_sites",
            Self::Field { problem, .. } => problem.word(),
            Self::Duplicate { .. } => "duplicate",
            Self::Nothing => "nothing",
            Self::Row { problem, .. } => match problem {
                RowProblem::Empty => "empty",
                RowProblem::Unknown(_) => "unknown_code",
                RowProblem::StillNamed(_) => "still_named",
                RowProblem::RetiredSite => "retired_site",
            },
            Self::Site { problem, .. } => problem.word(),
        }
    }
}
