//! CSV: UTF-8 with or without a mark, UTF-16 with one, GB18030 otherwise.

use std::borrow::Cow;

use csv::ReaderBuilder;
use encoding_rs::{DecoderResult, Encoding, GB18030, UTF_8};

use super::problem::{CellProblem, CellProblemKind as Kind};
use super::table::{MAX_CELL_BYTES, MAX_COLUMNS, Table, problem};

pub(super) fn read(bytes: &[u8]) -> (Table, Vec<CellProblem>) {
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(line) => return (Table::default(), vec![problem(line, None, Kind::Encoding)]),
    };
    // The reader counts a row of Windows or of an old Mac one too low, or not at all.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(&text))
        .from_reader(text.as_bytes());
    let mut table = Table {
        is_text: true,
        ..Table::default()
    };
    let mut problems = Vec::new();
    // A spreadsheet counts a cell of several lines as one row.
    let (mut inner, mut last) = (0_u32, None);
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                problems.push(problem(1, None, Kind::Unreadable(error.to_string())));
                break;
            }
        };
        let line = record.position().map_or(0, |at| line_at(at, &text));
        let line = u32::try_from(line)
            .unwrap_or(u32::MAX)
            .saturating_sub(inner);
        let ends: usize = record.iter().map(|cell| cell.matches('\n').count()).sum();
        let ends = u32::try_from(ends).unwrap_or(u32::MAX);
        inner = inner.saturating_add(ends);
        last = Some((line, ends));
        if table.is_full() {
            problems.push(problem(line, None, Kind::TooLarge));
            break;
        }
        let cells = record.iter().take(MAX_COLUMNS).map(cell).collect();
        table.rows.push((line, cells));
    }
    // One that is never closed swallows all rows behind it.
    let odd = !text.matches('"').count().is_multiple_of(2);
    if let Some((line, _)) = last.filter(|(_, ends)| odd && *ends > 0) {
        problems.push(problem(line, None, Kind::OpenQuote));
    }
    (table, problems)
}

/// The line of a record: its position is that of the empty lines before it.
fn line_at(at: &csv::Position, text: &str) -> u64 {
    let from = usize::try_from(at.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| **byte == b'\n').count();
    at.line().saturating_add(empty as u64)
}

/// The whole text, or the line of the first sign that is none.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, u32> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return decode_as(encoding, bytes.get(mark..).unwrap_or_default());
    }
    match std::str::from_utf8(bytes) {
        // UTF-16 without its mark: every second byte is zero.
        Ok(text) if text.bytes().filter(|byte| *byte == 0).count() > text.len() / 4 => Err(1),
        Ok(text) => Ok(Cow::Borrowed(text)),
        // Chinese in GB18030 is hardly ever good UTF-8 for long. A UTF-8 file with one broken sign has
        // many good ones before it.
        Err(error) if looks_like_utf8(bytes, error.valid_up_to()) => {
            Err(line_of(bytes, error.valid_up_to()))
        }
        Err(_) => decode_as(GB18030, bytes),
    }
}

fn looks_like_utf8(bytes: &[u8], valid: usize) -> bool {
    let good = bytes.get(..valid).unwrap_or_default();
    good.iter().filter(|byte| **byte >= 0x80).count() >= 12
}

fn decode_as(encoding: &'static Encoding, bytes: &[u8]) -> Result<Cow<'static, str>, u32> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(bytes.len().saturating_mul(3) / 2 + 16);
    let mut read = 0;
    loop {
        let rest = bytes.get(read..).unwrap_or_default();
        let (result, taken) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        read += taken;
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => text.reserve(rest.len().max(64)),
            DecoderResult::Malformed(..) => return Err(line_of(bytes, read)),
        }
    }
    // Old programs write UTF-16 without an end, others a zero byte per letter: neither is text.
    if encoding != UTF_8 && text.contains('\0') {
        return Err(1);
    }
    Ok(Cow::Owned(text))
}

fn line_of(bytes: &[u8], at: usize) -> u32 {
    let before = bytes.get(..at).unwrap_or_default();
    let ends = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(ends).unwrap_or(u32::MAX).saturating_add(1)
}

/// The sign that stands most often in the first lines.
fn delimiter(text: &str) -> u8 {
    let head: String = text.lines().take(3).collect();
    let count = |sign: &u8| head.bytes().filter(|byte| byte == sign).count();
    // Of equals the last is taken.
    let most = [b';', b'\t', b','].into_iter().max_by_key(count);
    most.unwrap_or(b',')
}

/// A cell as it was meant: exports put a quotation mark before what a spreadsheet would run.
fn cell(text: &str) -> String {
    let text = crate::export::unguarded(text.trim());
    let end = text.floor_char_boundary(MAX_CELL_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}
