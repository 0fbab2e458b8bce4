//! What the agent says that it could not read has words in Chinese.
//!
//! The sentences are found in the agent's source, so that one that is added without words fails here
//! and not on a page.

use std::path::Path;

use super::text;

/// The texts in quotes of every call, in a source without its tests.
fn said(source: &str, call: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let calls = code.split(call).skip(1);
    let arguments = calls.filter_map(|rest| rest.split(");").next());
    let texts = arguments.flat_map(|all| all.split('"').skip(1).step_by(2));
    texts
        .filter(|text| !text.contains('{') && text.contains(char::is_alphabetic))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reason_of_missing_facts_has_words_in_chinese() {
    let collect = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/collect/src");
    let mut files = vec![collect.join("facts.rs")];
    let folder = std::fs::read_dir(collect.join("facts")).unwrap();
    files.extend(folder.map(|entry| entry.unwrap().path()));
    let mut found = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(file).unwrap();
        for call in [".miss(", "looking.check("] {
            found.extend(said(&source, call));
        }
    }
    assert!(found.len() > 12, "reasons are no longer found: {found:?}");
    let table = text("lib/reasons.js").replace("\\'", "'");
    let has = |text: &str| {
        ["'TEXT':", " TEXT:"]
            .iter()
            .any(|form| table.contains(&form.replace("TEXT", text)))
    };
    let unknown: Vec<&String> = found.iter().filter(|text| !has(text)).collect();
    assert!(
        unknown.is_empty(),
        "give each a line in SUBJECTS or SENTENCES of lib/reasons.js: {unknown:?}"
    );
}
