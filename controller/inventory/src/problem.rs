//! What can be wrong with a list of courts, in words for the person who wrote it.

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// Line in the file, from 1; the header is line 1.
    pub line: u64,
    /// What.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.kind)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The first line is another one.
    #[error("the header is {found:?}: write id,name,tier,parent_id,court_code")]
    Header {
        /// What stands there.
        found: String,
    },
    /// The line does not have five fields.
    #[error("{found} fields instead of 5: put quotes around a field that holds a comma")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("not UTF-8: save the file as UTF-8 (a spreadsheet calls it \"CSV UTF-8\")")]
    Encoding,
    /// Quotes that do not close, or the like.
    #[error("not readable as CSV: {0}")]
    Unreadable(String),
    /// A field that must hold something is empty.
    #[error("{field} is empty: fill it in")]
    Empty {
        /// Which.
        field: &'static str,
    },
    /// A field holds a line break or another control character, or is far too long.
    #[error("{field} holds a control character or more than {MAX_FIELD_BYTES} bytes: correct it")]
    Unusable {
        /// Which.
        field: &'static str,
    },
    /// No such tier.
    #[error(
        "unknown tier {found:?}: write high_court, intermediate_court, basic_court, tribunal or other"
    )]
    Tier {
        /// What stands there.
        found: String,
    },
    /// The identifier was used above.
    #[error("id {id:?} is already used on line {first}: give one of them another id")]
    Duplicate {
        /// Which.
        id: String,
        /// Where it was first used.
        first: u64,
    },
    /// The parent is not in the file.
    #[error("parent {parent:?} is not in the file: add it, or correct parent_id")]
    Parent {
        /// Which.
        parent: String,
    },
    /// Going up from here leads back here.
    #[error("{path}: these are above each other in a circle: correct one parent_id")]
    Cycle {
        /// The circle, from child to parent.
        path: String,
    },
    /// There is nothing in it.
    #[error("the file holds no sites")]
    Nothing,
    /// The file is too long.
    #[error("more than {MAX_SITES} sites: no province has so many; check the file")]
    TooMany,
}

/// Longest field; the longest name of a Chinese court has about 100 bytes.
pub(crate) const MAX_FIELD_BYTES: usize = 512;

/// Most sites of a file.
pub(crate) const MAX_SITES: usize = 20_000;
