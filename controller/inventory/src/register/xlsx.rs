//! XLSX: the first visible worksheet, cell by cell, so that no file makes more memory than it has cells.
//!
//! Before anything is read all of the archive is unpacked into nothing, up to a bound: what an archive
//! says of its own sizes may be a lie. The library is run behind a barrier, because a damaged file may
//! bring it to panic.

use std::io::{self, Cursor, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError};

use super::problem::{CellProblem, CellProblemKind as Kind};
use super::table::{MAX_CELL_BYTES, MAX_COLUMNS, Table, problem};

/// Most bytes that a file may become; 20,000 rows are about 30 MB.
const MAX_UNPACKED_BYTES: u64 = 128 << 20;

/// Most parts of an archive.
const MAX_PARTS: usize = 2000;

/// Other sheets that are looked at, and cells of each.
const MOST_SHEETS: usize = 20;
const CELLS_LOOKED_AT: usize = 10_000;

/// Whole numbers up to here are exact in a spreadsheet, which keeps 15 digits.
const EXACT: f64 = 1e15;

pub(super) fn read(bytes: &[u8]) -> (Table, Vec<CellProblem>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| read_workbook(bytes)));
    let broken = || Err(Kind::Unreadable("it is damaged".to_owned()));
    match outcome.unwrap_or_else(|_| broken()) {
        Ok(both) => both,
        Err(kind) => (Table::default(), vec![problem(1, None, kind)]),
    }
}

fn read_workbook(bytes: &[u8]) -> Result<(Table, Vec<CellProblem>), Kind> {
    must_be_small(bytes)?;
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(unreadable)?;
    let visible = book
        .sheets_metadata()
        .iter()
        .find(|sheet| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible);
    let Some(name) = visible.map(|sheet| sheet.name.clone()) else {
        return Err(Kind::Nothing);
    };
    let merged = book.merge_cells_by_sheet_name(&name).map_err(unreadable)?;
    let mut problems = Vec::new();
    let mut table = read_cells(&mut book, &name, &mut problems)?;
    table.left_sheets = left_sheets(&mut book, &name)?;
    let header = table.rows.iter().take(super::HEADER_WITHIN);
    // A title above the table is merged as a rule, and harmless: it has one cell with a text.
    let lone = |cells: &Vec<String>| cells.iter().filter(|cell| !cell.is_empty()).count() == 1;
    let titles = header
        .take_while(|(_, cells)| lone(cells))
        .last()
        .map_or(0, |(line, _)| *line);
    for area in merged {
        let (from, to) = (area.start, area.end);
        let line = from.0.saturating_add(1);
        if to.0 >= titles && from.0 < table.rows.last().map_or(0, |(line, _)| *line) {
            let place = |(row, column): (u32, u32)| {
                let column = problem(row, Some(column.saturating_add(1)), Kind::Nothing).letters();
                format!("{}{}", column.unwrap_or_default(), row.saturating_add(1))
            };
            let kind = Kind::Merged(format!("{}:{}", place(from), place(to)));
            problems.push(problem(line, Some(from.1.saturating_add(1)), kind));
        }
    }
    Ok((table, problems))
}

/// Other visible sheets that hold anything: who filled them in must hear that they were not read.
fn left_sheets(book: &mut Xlsx<Cursor<&[u8]>>, read: &str) -> Result<Vec<String>, Kind> {
    let sheets = book.sheets_metadata().iter();
    let others = sheets.filter(|sheet| {
        let is_shown = sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible;
        is_shown && sheet.name != read
    });
    let names: Vec<String> = others
        .map(|sheet| sheet.name.clone())
        .take(MOST_SHEETS)
        .collect();
    let mut left = Vec::new();
    for name in names {
        let mut cells = book.worksheet_cells_reader(&name).map_err(unreadable)?;
        let mut looked_at = 0;
        while let Some(cell) = cells.next_cell().map_err(unreadable)? {
            let is_filled = text_of(cell.get_value()).map_or(true, |text| !text.is_empty());
            looked_at += 1;
            if is_filled || looked_at > CELLS_LOOKED_AT {
                left.push(name.chars().take(40).collect());
                break;
            }
        }
    }
    Ok(left)
}

fn unreadable(error: XlsxError) -> Kind {
    match error {
        XlsxError::Password => Kind::Protected,
        other => Kind::Unreadable(other.to_string().chars().take(120).collect()),
    }
}

/// Unpacks all of it into nothing.
fn must_be_small(bytes: &[u8]) -> Result<(), Kind> {
    let damaged = |error: &dyn std::error::Error| Kind::Unreadable(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    if archive.len() > MAX_PARTS {
        return Err(Kind::TooLarge);
    }
    let is_book = |name: &str| name.starts_with("xl/") && name.ends_with(".xml");
    let has_book = archive.file_names().flatten().any(|name| is_book(&name));
    if !has_book {
        return Err(Kind::OtherFormat);
    }
    let mut left = MAX_UNPACKED_BYTES;
    for at in 0..archive.len() {
        let part = archive.by_index(at).map_err(|error| damaged(&error))?;
        let read = io::copy(&mut part.take(left + 1), &mut io::sink());
        let read = read.map_err(|error| damaged(&error))?;
        left = left.checked_sub(read).ok_or(Kind::TooLarge)?;
    }
    Ok(())
}

fn read_cells(
    book: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    problems: &mut Vec<CellProblem>,
) -> Result<Table, Kind> {
    let mut cells = book.worksheet_cells_reader(name).map_err(unreadable)?;
    let mut table = Table::default();
    while let Some(cell) = cells
        .next_cell_with_formula_metadata()
        .map_err(unreadable)?
    {
        let (row, column) = cell.pos;
        let (line, at) = (row.saturating_add(1), column as usize);
        let number = column.saturating_add(1);
        let text = match text_of(&cell.value) {
            // A program wrote the formula and nobody worked it out: what it would say is not in the file.
            Ok(text)
                if text.is_empty() && cell.formula.is_some() && cell.value == DataRef::Empty =>
            {
                Err(Kind::NoResult)
            }
            other => other,
        };
        let text = match text {
            Ok(text) => text,
            Err(kind) => {
                problems.push(problem(line, Some(number), kind));
                String::new()
            }
        };
        if text.is_empty() || at >= MAX_COLUMNS {
            continue;
        }
        if table.rows.last().is_none_or(|(last, _)| *last != line) {
            if table.is_full() {
                problems.push(problem(line, None, Kind::TooLarge));
                break;
            }
            table.rows.push((line, Vec::new()));
        }
        if let Some((_, cells)) = table.rows.last_mut() {
            if cells.len() <= at {
                cells.resize(at + 1, String::new());
            }
            if let Some(place) = cells.get_mut(at) {
                *place = text;
            }
        }
    }
    Ok(table)
}

fn text_of(value: &DataRef<'_>) -> Result<String, Kind> {
    let whole = |text: &str| {
        let text = text.trim();
        let end = text.floor_char_boundary(MAX_CELL_BYTES);
        text.get(..end).unwrap_or_default().to_owned()
    };
    Ok(match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            whole(text)
        }
        DataRef::SharedString(text) => whole(text),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) if number.abs() >= EXACT => return Err(Kind::DigitsLost),
        // Rust writes 301 for 301.0.
        DataRef::Float(number) => number.to_string(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(time) => {
            let (year, month, day, ..) = time.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02}")
        }
        DataRef::Error(error) => return Err(Kind::ErrorCell(error.to_string())),
    })
}
