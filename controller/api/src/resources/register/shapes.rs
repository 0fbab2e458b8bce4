//! Public shapes of the register.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_model::{Field, FieldChange, Item, ItemChange, SiteId};

use crate::rows::SiteName;
use crate::view::View;

/// One item.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Item")]
pub(crate) struct ItemRow {
    id: i64,
    site: SiteName,
    /// Texts by field; a field that holds nothing is not there.
    values: BTreeMap<&'static str, String>,
    created_ms: i64,
    changed_ms: i64,
    /// To be named by whoever changes it.
    version: i64,
}

impl ItemRow {
    pub(super) fn new(item: &Item, view: &View) -> Self {
        let values = item.values.iter();
        Self {
            id: item.id,
            site: SiteName::of(item.site, view.tree()),
            values: values
                .map(|(field, text)| (field.word(), text.clone()))
                .collect(),
            created_ms: item.created_ms,
            changed_ms: item.changed_ms,
            version: item.version,
        }
    }
}

/// A field before and after.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FieldChange")]
pub(crate) struct FieldRow {
    /// The field, or `site`.
    pub(super) field: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

/// One entry of a history.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ItemChange")]
pub(crate) struct ChangeRow {
    id: i64,
    time_ms: i64,
    actor: String,
    /// `create`, `change` or `undo`.
    action: String,
    import: Option<i64>,
    changes: Vec<FieldRow>,
}

/// A site is shown by its name, if the caller sees it.
pub(super) fn field_row(change: FieldChange, view: &View) -> FieldRow {
    let name = |text: String| {
        let site = text.parse().ok().and_then(|id| view.tree().get(SiteId(id)));
        site.map(|site| site.name.clone()).unwrap_or_default()
    };
    match change.field {
        Some(field) => FieldRow {
            field: field.word(),
            before: change.before,
            after: change.after,
        },
        None => FieldRow {
            field: "site",
            before: name(change.before),
            after: name(change.after),
        },
    }
}

pub(super) fn change_row(entry: ItemChange, view: &View) -> ChangeRow {
    let changes = entry.changes.into_iter();
    ChangeRow {
        id: entry.id,
        time_ms: entry.time_ms,
        actor: entry.actor,
        action: entry.action,
        import: entry.import,
        changes: changes.map(|change| field_row(change, view)).collect(),
    }
}

/// The code and name of planned values.
pub(super) fn code_and_name(values: &xiezhi_model::Values) -> (String, String) {
    let of = |field| values.get(&field).cloned().unwrap_or_default();
    (of(Field::Code), of(Field::Name))
}
