//! Who made a device, which model, which serial number.

use std::collections::BTreeMap;

use xiezhi_document::{Said, Section};

use super::table::conditions;
use crate::profile::{FACTS, Fact, FactSource, Pattern};

/// `model: OID`, `vendor: "APC"`, `firmware: {oid: OID, regex: "v(?<v>.*)"}`, or a list of mappings
/// of which the first that yields something counts.
pub(super) fn identity(section: &mut Section<'_>) -> BTreeMap<Fact, Vec<FactSource>> {
    let mut identity = BTreeMap::new();
    for (word, fact) in FACTS {
        let sources = sources(section, word);
        if !sources.is_empty() {
            identity.insert(*fact, sources);
        }
    }
    identity
}

fn sources(section: &mut Section<'_>, key: &str) -> Vec<FactSource> {
    if section.is_section(key) {
        return section.section(key, source).flatten().into_iter().collect();
    }
    if section.is_list(key) {
        return section
            .sections(key, source)
            .into_iter()
            .flatten()
            .collect();
    }
    let Some(text) = section.text(key) else {
        return Vec::new();
    };
    let object = text.parse().ok();
    let constant = object.is_none().then_some(text);
    vec![FactSource {
        constant,
        object,
        rows: Vec::new(),
        pattern: None,
        names: BTreeMap::new(),
    }]
}

fn source(section: &mut Section<'_>) -> Option<FactSource> {
    let object = super::required_oid(section, "oid");
    let rows = conditions(section, "rows");
    let pattern = pattern(section);
    let names = names(section);
    object.map(|object| FactSource {
        constant: None,
        object: Some(object),
        rows,
        pattern,
        names,
    })
}

/// A regular expression under `regex`.
pub(super) fn pattern(section: &mut Section<'_>) -> Option<Pattern> {
    let text = section.text("regex")?;
    match Pattern::new(&text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            section.problem(
                "regex",
                Said::new(
                    format!("not a regular expression: {error}"),
                    format!("不是有效的正则表达式：{error}"),
                ),
            );
            None
        }
    }
}

/// What numbers stand for: `names: {1: celsius, 2: fahrenheit}`.
pub(super) fn names(section: &mut Section<'_>) -> BTreeMap<i64, String> {
    section
        .section("names", |section| {
            let mut names = BTreeMap::new();
            for key in section.keys() {
                let text = section.text(&key);
                match key.parse::<i64>() {
                    Ok(number) => names.extend(text.map(|text| (number, text))),
                    Err(_) => section.problem(
                        &key,
                        Said::new(
                            format!("`{key}` must be the number that the device tells"),
                            format!("`{key}` 应为设备返回的数字"),
                        ),
                    ),
                }
            }
            names
        })
        .unwrap_or_default()
}
