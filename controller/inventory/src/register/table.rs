//! Any file as rows of texts, within bounds.

use super::problem::{CellProblem, CellProblemKind as Kind};
use super::{HEADER_WITHIN, MAX_FILE_BYTES, MAX_ROWS, text, xlsx};

/// Most columns that are looked at; the register has twelve.
pub(super) const MAX_COLUMNS: usize = 100;

/// Longest cell that is kept, bytes; no field takes so much.
pub(super) const MAX_CELL_BYTES: usize = 8192;

/// Rows with their numbers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<(u32, Vec<String>)>,
}

impl Table {
    /// Whether one more row is one too many.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS + HEADER_WITHIN
    }
}

pub(super) fn problem(line: u32, column: Option<u32>, kind: Kind) -> CellProblem {
    CellProblem { line, column, kind }
}

/// Reads a file, whatever it is.
pub(crate) fn read(bytes: &[u8]) -> (Table, Vec<CellProblem>) {
    let nothing = |kind| (Table::default(), vec![problem(1, None, kind)]);
    if bytes.len() > MAX_FILE_BYTES {
        return nothing(Kind::TooLarge);
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        // An encrypted workbook of today lies in the same container as one of before 2007.
        let name: Vec<u8> = "EncryptedPackage"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let encrypted = bytes.windows(name.len()).any(|part| part == name);
        return nothing(if encrypted {
            Kind::Protected
        } else {
            Kind::OldFormat
        });
    }
    match bytes.starts_with(b"PK\x03\x04") {
        true => xlsx::read(bytes),
        false => text::read(bytes),
    }
}
