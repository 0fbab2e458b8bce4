//! The register as rows of a file that an import takes back.

use xiezhi_model::{Field, RegisterKind, Values};

use super::header_of;
use crate::Language;

/// Headers of a file: the site, then every field.
#[must_use]
pub fn export_header(kind: RegisterKind, language: Language) -> Vec<String> {
    let fields = kind.fields().iter();
    let headers = fields.map(|field| language.of((header_of(*field, kind), field.word())));
    std::iter::once(language.of(("单位", "site")))
        .chain(headers)
        .map(str::to_owned)
        .collect()
}

/// One item of the site with this key.
#[must_use]
pub fn export_row(
    kind: RegisterKind,
    site: &str,
    values: &Values,
    language: Language,
) -> Vec<String> {
    let fields = kind.fields().iter();
    let texts = fields.map(|field| text(*field, kind, values, language));
    std::iter::once(site)
        .chain(texts)
        .map(str::to_owned)
        .collect()
}

fn text(field: Field, kind: RegisterKind, values: &Values, language: Language) -> &str {
    let text = values.get(&field).map_or("", String::as_str);
    match field.shape(kind) {
        // Choices are shown as people say them.
        xiezhi_model::register::Shape::Choice(words) => {
            let shown = words.iter().find(|(word, _)| *word == text);
            match language {
                Language::Chinese => shown.map_or(text, |(_, chinese)| chinese),
                Language::English => text,
            }
        }
        _ => text,
    }
}
