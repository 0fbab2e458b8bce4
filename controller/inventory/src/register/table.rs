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
    /// Sheets that hold something and were not read.
    pub(crate) left_sheets: Vec<String>,
    /// Whether signs of the file part the cells: one that is not in quotation marks moves all behind it.
    pub(crate) is_text: bool,
}

impl Table {
    /// Whether one more row is one too many.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS + HEADER_WITHIN
    }
}

impl Table {
    /// What is wrong with a row of a text that has more cells than the header has columns.
    pub(crate) fn overflow(&self, header: usize, cells: &[String]) -> Option<(u32, Kind)> {
        let width = self.rows.get(header).map_or(0, |(_, cells)| cells.len());
        let is_over = self.is_text && cells.iter().skip(width).any(|cell| !cell.is_empty());
        let column = u32::try_from(width).unwrap_or(u32::MAX).saturating_add(1);
        is_over.then_some((column, Kind::MoreCells(width)))
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
