//! Lists as files that a spreadsheet opens: CSV piece by piece, or one sheet of XLSX.
//!
//! Texts stay texts: what a spreadsheet would run stands behind a quotation mark in CSV ([`guarded`]), and is
//! marked as text in XLSX. An import takes both back as they were.

use std::borrow::Cow;

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use crate::register::MAX_ROWS;

/// With these a spreadsheet takes a text for a formula. Where Chinese or Japanese is written it takes the
/// full-width signs for the others; signs that are not shown hide one of them from who looks.
const RUNS: [char; 12] = [
    '=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n', '\0',
];

/// What makes a cell a text, whatever comes after it.
const GUARD: char = '\'';

/// Whether a spreadsheet might run it, or would if guards before it were taken off.
fn runs(cell: &str) -> bool {
    cell.trim_start_matches(GUARD).starts_with(RUNS)
}

/// A cell behind one guard more if a spreadsheet might run it. A text that has guards of its own before such
/// a sign gets one more, too, so that [`unguarded`] gives back each text as it was.
pub(crate) fn guarded(cell: &str) -> Cow<'_, str> {
    match runs(cell) {
        true => Cow::Owned(format!("{GUARD}{cell}")),
        false => Cow::Borrowed(cell),
    }
}

/// A cell as it was before it was [`guarded`].
pub(crate) fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix(GUARD) {
        Some(rest) if runs(rest) => rest,
        _ => cell,
    }
}

/// Most rows of an XLSX file, which is made in memory: as many as an import takes back. CSV has no end.
pub const MOST_SHEET_ROWS: usize = MAX_ROWS;

/// Most characters of a cell in XLSX.
const LONGEST_CELL: usize = 32_767;

/// How a list is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileKind {
    /// Lines of text in UTF-8.
    #[default]
    Csv,
    /// A workbook of one sheet.
    Xlsx,
}

impl FileKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Xlsx];

    /// How its files' names end.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }

    /// The kind whose files' names end so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What HTTP calls it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

/// The beginning of a CSV file: the mark by which spreadsheets know UTF-8, and the header.
#[must_use]
pub fn csv_start<C: AsRef<str>>(header: &[C]) -> Vec<u8> {
    let mut out = b"\xef\xbb\xbf".to_vec();
    line(&mut out, header);
    out
}

/// Rows as lines of CSV.
#[must_use]
pub fn csv_lines<C: AsRef<str>>(rows: &[Vec<C>]) -> Vec<u8> {
    let mut out = Vec::new();
    for row in rows {
        line(&mut out, row);
    }
    out
}

fn line<C: AsRef<str>>(out: &mut Vec<u8>, cells: &[C]) {
    for (at, cell) in cells.iter().map(AsRef::as_ref).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let cell = guarded(cell);
        let needs_quotes = cell.contains([',', '"', '\n', '\r', ';', '\t']);
        match needs_quotes {
            true => out.extend_from_slice(format!("\"{}\"", cell.replace('"', "\"\"")).as_bytes()),
            false => out.extend_from_slice(cell.as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A list that is no XLSX file.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// More rows than fit.
    #[error(
        "an XLSX file has {MOST_SHEET_ROWS} rows at most: narrow the list, or take it as CSV, which has no end"
    )]
    TooManyRows,
    /// The writer failed.
    #[error("the XLSX file could not be made")]
    Writer(#[from] XlsxError),
}

/// Rows as an XLSX file of one sheet. All cells are texts, so that long numbers keep their digits.
///
/// # Errors
/// [`SheetError::TooManyRows`] beyond [`MOST_SHEET_ROWS`].
pub fn xlsx_file<C: AsRef<str>>(header: &[C], rows: &[Vec<C>]) -> Result<Vec<u8>, SheetError> {
    if rows.len() > MOST_SHEET_ROWS {
        return Err(SheetError::TooManyRows);
    }
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let bold = Format::new().set_bold();
    let text = Format::new().set_num_format("@");
    // Stays a text although somebody edits the cell.
    let quoted = Format::new().set_num_format("@").set_quote_prefix();
    for (column, cell) in (0_u16..).zip(header) {
        sheet.write_string_with_format(0, column, cell.as_ref(), &bold)?;
        sheet.set_column_width(column, 18)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    for (row, cells) in (1_u32..).zip(rows) {
        for (column, cell) in (0_u16..).zip(cells) {
            let cell = cell.as_ref();
            let format = if runs(cell) { &quoted } else { &text };
            if !cell.is_empty() {
                sheet.write_string_with_format(row, column, shortened(cell), format)?;
            }
        }
    }
    Ok(book.save_to_buffer()?)
}

/// As much as a cell can hold; Excel counts in UTF-16.
fn shortened(cell: &str) -> String {
    let mut left = LONGEST_CELL;
    let fits = |sign: &char| {
        let rest = left.checked_sub(sign.len_utf16());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    cell.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use calamine::{Data, Reader as _};

    use super::*;

    fn rows() -> Vec<Vec<&'static str>> {
        vec![
            vec!["=1+1", "692012345678901234", "二\n行"],
            vec!["", "@SUM(A1)", "a,\"b\""],
        ]
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text_in_both() {
        let text = String::from_utf8(csv_lines(&rows())).unwrap();
        assert_eq!(
            text,
            "'=1+1,692012345678901234,\"二\n行\"\r\n,'@SUM(A1),\"a,\"\"b\"\"\"\r\n"
        );
        let file = xlsx_file(&["一", "二", "三"], &rows()).unwrap();
        let mut book = calamine::Xlsx::new(std::io::Cursor::new(file)).unwrap();
        let name = book.sheet_names()[0].clone();
        let sheet = book.worksheet_range(&name).unwrap();
        let text = |row: u32, column: u32| match sheet.get_value((row, column)) {
            Some(Data::String(text)) => text.clone(),
            None | Some(Data::Empty) => String::new(),
            other => panic!("{other:?} is no text"),
        };
        assert_eq!(text(0, 1), "二");
        for (row, cells) in (1..).zip(rows()) {
            for (column, cell) in (0..).zip(cells) {
                assert_eq!(text(row, column), cell);
            }
        }
        let formulas = book.worksheet_formula(&name).unwrap();
        assert!(formulas.cells().all(|(_, _, formula)| formula.is_empty()));
    }

    #[test]
    fn whatever_a_spreadsheet_might_run_is_guarded_and_comes_back_as_it_was() {
        for sign in RUNS {
            for cell in [
                format!("{sign}1+1"),
                format!("'{sign}1"),
                format!("''{sign}"),
            ] {
                let kept = guarded(&cell);
                assert_eq!(kept, format!("'{cell}"));
                assert_eq!(unguarded(&kept), cell);
            }
        }
        for plain in ["", "'", "''", "'名", "1=1", "O'=", "a\n=1"] {
            assert_eq!(guarded(plain), plain);
            assert_eq!(unguarded(plain), plain);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_guard_comes_off_again(cell in "['=＝@\t\n\u{0}a1]{0,6}") {
            let kept = guarded(&cell);
            proptest::prop_assert_eq!(unguarded(&kept), cell.as_str());
            proptest::prop_assert!(!kept.starts_with(RUNS));
        }
    }

    #[test]
    fn a_sheet_has_an_end_and_so_has_a_cell() {
        let many = vec![vec!["x"]; MOST_SHEET_ROWS + 1];
        assert!(matches!(
            xlsx_file(&["a"], &many),
            Err(SheetError::TooManyRows)
        ));
        let long = "𠮷".repeat(LONGEST_CELL);
        assert_eq!(shortened(&long).encode_utf16().count(), LONGEST_CELL - 1);
        assert!(xlsx_file(&["a"], &[vec![long.as_str()]]).is_ok());
    }
}
