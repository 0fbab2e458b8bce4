//! The register as rows of a file that an import takes back.

use xiezhi_model::{Field, RegisterKind, Values};

use super::header_of;

/// Headers of a file: the site, then every field.
#[must_use]
pub fn export_header(kind: RegisterKind) -> Vec<String> {
    let fields = kind.fields().iter();
    let headers = fields.map(|field| header_of(*field, kind));
    std::iter::once("单位")
        .chain(headers)
        .map(str::to_owned)
        .collect()
}

/// One item of the site with this key.
#[must_use]
pub fn export_row(kind: RegisterKind, site: &str, values: &Values) -> Vec<String> {
    let texts = kind.fields().iter().map(|field| text(*field, kind, values));
    std::iter::once(site)
        .chain(texts)
        .map(str::to_owned)
        .collect()
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
