//! Takes an import back, as long as nothing of it was changed since.

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, Field, FieldChange, Item, Values};

use super::RegisterError;
use super::imports::{Import, ImportState, count_before, decide, locked, told};
use super::items::to_look_up;
use super::rows::{
    NewChange, Source, Value, by_codes, changes_from, insert_changes, item_from, update_item,
};
use crate::row::{self, Write};
use crate::sites::must_be_in_use;
use crate::{Store, StoreError, audit};

/// A row that cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoObstacle {
    /// Row of the import's file.
    pub line: u32,
    /// Code of the item; empty if it is gone.
    pub code: String,
    /// Why, and what to do.
    pub why: &'static str,
    /// Stable word of it, for pages that say it in their own language.
    pub word: &'static str,
}

/// What an import did to one item.
struct Done {
    change: i64,
    line: u32,
    is_new: bool,
    changes: Vec<FieldChange>,
    item: Option<Item>,
}

impl Store {
    /// Takes an import back: what it added is gone, what it changed is as before. All of it or nothing.
    ///
    /// # Errors
    /// [`RegisterError::NotUndone`] with every row that was changed since, or is named by others;
    /// [`RegisterError::Over`] if it is not one that was done.
    pub async fn undo_import(&self, id: i64, audit: AuditEntry) -> Result<Import, RegisterError> {
        let mut write = self.database.write().await?;
        let applied = locked(&mut write, id, ImportState::Applied).await?;
        let done = done_by(&mut write, id).await?;
        let mut obstacles = Vec::new();
        for one in &done {
            if let Some((word, why)) = obstacle(&mut write, one).await? {
                let code = one.item.as_ref().map_or("", |item| item.value(Field::Code));
                obstacles.push(UndoObstacle {
                    line: one.line,
                    code: code.to_owned(),
                    why,
                    word,
                });
            }
        }
        if !obstacles.is_empty() {
            return Err(RegisterError::NotUndone(obstacles));
        }
        take_back(&mut write, id, done, &audit).await?;
        let import = Import {
            state: ImportState::Undone,
            decided_ms: Some(audit.time_ms),
            decided_by: audit.actor.to_string(),
            ..applied
        };
        decide(&mut write, &import).await?;
        audit::append(&mut write, &told(audit, &import)).await?;
        write.commit().await?;
        Ok(import)
    }
}

async fn done_by(write: &mut Write, import: i64) -> Result<Vec<Done>, StoreError> {
    let sql = "SELECT c.id AS change_id, c.line, c.action, c.changes, COALESCE(i.id, 0) AS id, \
               COALESCE(i.kind, 0) AS kind, COALESCE(i.site_id, 0) AS site_id, \
               COALESCE(i.field_values, '{}') AS field_values, COALESCE(i.created_ms, 0) AS created_ms, \
               COALESCE(i.changed_ms, 0) AS changed_ms, COALESCE(i.version, 0) AS version \
               FROM register_changes c LEFT JOIN register_items i ON i.id = c.item_id \
               WHERE c.import_id = $1 ORDER BY c.id";
    let mut source = Source::Writing(write);
    let rows = source
        .rows(sql.to_owned(), vec![Value::Number(import)])
        .await?;
    rows.iter().map(done_from).collect()
}

fn done_from(found: &AnyRow) -> Result<Done, StoreError> {
    let there = row::number(found, "id")? != 0;
    Ok(Done {
        change: row::number(found, "change_id")?,
        line: u32::try_from(row::number(found, "line")?).unwrap_or(0),
        is_new: row::text(found, "action")? == "create",
        changes: changes_from(found)?,
        item: there.then(|| item_from(found)).transpose()?,
    })
}

/// What the item held before.
fn values_before(item: &Item, changes: &[FieldChange]) -> Values {
    let mut values = item.values.clone();
    for change in changes {
        let Some(field) = change.field else { continue };
        match change.before.is_empty() {
            true => drop(values.remove(&field)),
            false => drop(values.insert(field, change.before.clone())),
        }
    }
    values
}

/// What stands against taking one back.
async fn obstacle(
    write: &mut Write,
    one: &Done,
) -> Result<Option<(&'static str, &'static str)>, StoreError> {
    let Some(item) = one.item.as_ref().filter(|item| item.version == one.change) else {
        return Ok(Some(("changed", "changed since")));
    };
    if one.is_new {
        let namers = Source::Writing(write).count_namers(item).await?;
        return Ok((namers > 0).then_some(("named", "others in use name it")));
    }
    let before = Item {
        values: values_before(item, &one.changes),
        ..item.clone()
    };
    if before.is_in_use() && !item.is_in_use() {
        match must_be_in_use(write, item.site).await {
            Err(StoreError::Retired(_)) => {
                return Ok(Some(("retired", "its site is retired by now")));
            }
            other => other?,
        }
    }
    for (field, kind) in to_look_up(&before, Some(item)) {
        let code = (before.site, before.value(field));
        let found = by_codes(&mut Source::Writing(write), kind, [code]).await?;
        if !found.values().any(Item::is_in_use) {
            return Ok(Some(("gone", "the room or owner that it had is gone")));
        }
    }
    Ok(None)
}

async fn take_back(
    write: &mut Write,
    import: i64,
    done: Vec<Done>,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let all = row::signed(done.len() as u64);
    let mut version = count_before(write, "register_changes", all).await?;
    let mut changes = Vec::new();
    for one in done {
        let Some(item) = one.item else { continue };
        version += 1;
        if one.is_new {
            let query = sqlx::query("DELETE FROM register_items WHERE id = $1").bind(item.id);
            query.execute(&mut **write).await?;
        } else {
            let before = Item {
                values: values_before(&item, &one.changes),
                changed_ms: audit.time_ms,
                version,
                ..item.clone()
            };
            update_item(write, &before).await?;
        }
        let back = one.changes.into_iter().map(|change| FieldChange {
            before: change.after,
            after: change.before,
            ..change
        });
        changes.push(NewChange {
            id: version,
            item: item.id,
            import: Some((import, one.line)),
            action: "undo",
            changes: back.collect(),
        });
    }
    insert_changes(write, &changes, audit).await
}
