//! The register as CSV that a spreadsheet opens and an import takes back.

use xiezhi_model::{Field, RegisterKind, Values};

use super::header_of;

/// With these a spreadsheet takes a text for a formula.
pub(super) const RUNS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One line of an export.
#[derive(Debug, Clone, Copy)]
pub struct ExportedItem<'a> {
    /// Key of its site.
    pub site: &'a str,
    /// What is known of it.
    pub values: &'a Values,
}

/// CSV in UTF-8 with the mark by which spreadsheets know it. `with_header` begins a file; without it lines
/// go on. Texts that a spreadsheet would run stand behind a quotation mark.
#[must_use]
pub fn csv_export<'a>(
    kind: RegisterKind,
    items: impl IntoIterator<Item = ExportedItem<'a>>,
    with_header: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    if with_header {
        out.extend_from_slice(b"\xef\xbb\xbf");
        let headers = kind.fields().iter().map(|field| header_of(*field, kind));
        line(&mut out, std::iter::once("单位").chain(headers));
    }
    for item in items {
        let texts = kind
            .fields()
            .iter()
            .map(|field| text(*field, kind, item.values));
        line(&mut out, std::iter::once(item.site).chain(texts));
    }
    out
}

fn text(field: Field, kind: RegisterKind, values: &Values) -> &str {
    let text = values.get(&field).map_or("", String::as_str);
    match field.shape(kind) {
        // Choices are shown as people say them.
        xiezhi_model::register::Shape::Choice(words) => {
            let shown = words.iter().find(|(word, _)| *word == text);
            shown.map_or(text, |(_, chinese)| chinese)
        }
        _ => text,
    }
}

fn line<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let guard = if cell.starts_with(RUNS) { "'" } else { "" };
        let needs_quotes = cell.contains([',', '"', '\n', '\r', ';', '\t']);
        match needs_quotes {
            true => out
                .extend_from_slice(format!("\"{guard}{}\"", cell.replace('"', "\"\"")).as_bytes()),
            false => out.extend_from_slice(format!("{guard}{cell}").as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
}
