//! Rows of values, and what tells rows apart.

use std::collections::{BTreeMap, BTreeSet};

use xiezhi_document::{Said, Section};

use super::identity::names;
use super::metric::{is_sample_name, metrics};
use super::{label, oid, oids, required_oid};
use crate::profile::{Condition, Label, Meaning, Table};

/// The tables of a profile.
pub(super) fn tables(
    section: &mut Section<'_>,
    enums: &BTreeMap<String, BTreeMap<i64, Meaning>>,
) -> Vec<Table> {
    let mut ids = BTreeSet::new();
    section
        .sections("tables", |section| {
            let table = table(section, enums)?;
            if !ids.insert(table.id.clone()) {
                let id = &table.id;
                section.problem(
                    "id",
                    Said::new(
                        format!("there are two tables `{id}`; give one of them another id"),
                        format!("表 `{id}` 重复，请改用不同的 id"),
                    ),
                );
            }
            Some(table)
        })
        .into_iter()
        .flatten()
        .collect()
}

fn table(
    section: &mut Section<'_>,
    enums: &BTreeMap<String, BTreeMap<i64, Meaning>>,
) -> Option<Table> {
    let id = section.required_text("id", Said::new("what it holds", "表的标识"));
    let text = label(section, "label");
    let rows = conditions(section, "rows");
    let labels: Vec<Label> = section
        .sections("labels", row_label)
        .into_iter()
        .flatten()
        .collect();
    let columns = metrics(section, "columns", enums);
    if labels.is_empty() {
        section.problem(
            "labels",
            Said::new(
                "a table needs `labels`: what tells its rows apart",
                "表格需要 `labels`：用什么区分各行",
            ),
        );
    }
    if columns.is_empty() {
        section.problem(
            "columns",
            Said::new("a table needs `columns`", "表格需要 `columns`"),
        );
    }
    let id = id?;
    Some(Table {
        label: text.unwrap_or_else(|| crate::profile::Text {
            zh: id.clone(),
            en: id.clone(),
        }),
        id,
        rows,
        labels,
        columns,
    })
}

/// Conditions: `[{oid: OID, is: [3, 9]}, {oid: OID, is_not: [""]}]`.
pub(super) fn conditions(section: &mut Section<'_>, key: &str) -> Vec<Condition> {
    section
        .sections(key, |section| {
            let object = required_oid(section, "oid");
            let is = section.parsed_list("is", Said::new("text or a number", "文本或数字"));
            let is_not = section.parsed_list("is_not", Said::new("text or a number", "文本或数字"));
            if is.is_empty() && is_not.is_empty() {
                section.problem(
                    "is",
                    Said::new(
                        "a condition needs `is` or `is_not`",
                        "条件需要 `is` 或 `is_not`",
                    ),
                );
            }
            object.map(|object| Condition { object, is, is_not })
        })
        .into_iter()
        .flatten()
        .collect()
}

fn row_label(section: &mut Section<'_>) -> Option<Label> {
    let name = section.required_text(
        "name",
        Said::new(
            "the name of the object in its MIB, for instance entPhysicalName",
            "该对象在 MIB 中的名称，例如 entPhysicalName",
        ),
    );
    let objects = oids(section, "oid");
    let arcs = arcs(section);
    let through = oid(section, "through");
    let names = names(section);
    let name = name?;
    if !is_sample_name(&name) {
        section.problem(
            "name",
            Said::new(
                "a name has letters, digits and underscores only and begins with a letter",
                "名称只能用字母、数字和下划线，且以字母开头",
            ),
        );
    }
    if through.is_some() && objects.is_empty() {
        section.problem(
            "through",
            Said::new(
                "`through` needs `oid`: the column that it leads to",
                "`through` 需要同时写 `oid`：所指向的列",
            ),
        );
    }
    Some(Label {
        name,
        objects,
        arcs,
        through,
        names,
    })
}

/// `arcs: [0]` is the first arc of the index, `arcs: [0, 2]` its first three.
fn arcs(section: &mut Section<'_>) -> Option<(usize, usize)> {
    let numbers: Vec<usize> = section.parsed_list(
        "arcs",
        Said::new("a place in the index, from 0", "索引中的位置（从 0 起）"),
    );
    match numbers.as_slice() {
        [] => None,
        [first] => Some((*first, *first)),
        [first, last] if first <= last => Some((*first, *last)),
        _ => {
            section.problem(
                "arcs",
                Said::new(
                    "`arcs` is one place in the index or the first and the last",
                    "`arcs` 是索引中的一个位置，或首尾两个位置",
                ),
            );
            None
        }
    }
}
