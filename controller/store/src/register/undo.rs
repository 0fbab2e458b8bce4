//! Takes an import back, as long as nothing of it was changed since; and says before, row by row and field by
//! field, what would change back and what is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sqlx::any::AnyRow;
use xiezhi_model::{
    AuditEntry, Field, FieldChange, Item, ItemChange, RegisterKind, SiteId, Values,
};

use super::RegisterError;
use super::imports::{Import, ImportState, count_before, decide, import_of, locked, told};
use super::items::{goes, to_look_up};
use super::plan::retired_sites;
use super::rows::{
    NewChange, Source, Value, by_codes, change_from, changes_from, insert_changes, item_from,
    namers_of, names_of, update_item,
};
use crate::row::{self, Write};
use crate::{Store, StoreError, audit};

/// Items that one statement names.
const AT_ONCE: usize = 500;

/// Most later changes, or items that name one, that are told of a row.
pub const UNDO_DETAILS: usize = 5;

/// Most rows whose namers are looked up one by one.
const MOST_NAMED: usize = 100;

/// A field of a row that an import wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoField {
    /// Which; `None` is the site, whose number stands in the texts.
    pub field: Option<Field>,
    /// What the import wrote.
    pub imported: String,
    /// What is there now; empty if the item is gone.
    pub now: String,
    /// What it would hold again; empty where the import had added the item.
    pub back: String,
}

/// What taking an import back does to one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoRow {
    /// Row of the import's file.
    pub line: u32,
    /// Number of the item.
    pub item: i64,
    /// Where it is now; `None` if it is gone.
    pub site: Option<SiteId>,
    /// Its code.
    pub code: String,
    /// Its name now, or as it was imported.
    pub name: String,
    /// Whether the import had added it: it is deleted.
    pub is_new: bool,
    /// The fields that the import wrote.
    pub fields: Vec<UndoField>,
    /// What is in the way.
    pub obstacle: Option<UndoObstacle>,
}

/// Why a row cannot be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoObstacle {
    /// Row of the import's file.
    pub line: u32,
    /// Code of the item.
    pub code: String,
    /// Why, and what to do.
    pub why: &'static str,
    /// Stable word of it, for pages that say it in their own language.
    pub word: &'static str,
    /// The fields that it is about; `None` is the site.
    pub fields: Vec<Option<Field>>,
    /// Of `changed`: what was changed since, newest first; the first [`UNDO_DETAILS`].
    pub later: Vec<ItemChange>,
    /// Of `named`: code and name of what names it, with its kind and number; the first [`UNDO_DETAILS`].
    pub namers: Vec<(RegisterKind, i64, String, String)>,
    /// How many later changes there are, or how many name it.
    pub count: u64,
}

impl fmt::Display for UndoObstacle {
    /// In one line, without what any field holds.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "row {} {:?}: {}", self.line, self.code, self.why)?;
        let fields = self.fields.iter();
        let fields: Vec<&str> = fields
            .map(|field| field.map_or("site", Field::word))
            .collect();
        match fields.is_empty() {
            true => Ok(()),
            false => write!(formatter, " ({})", fields.join(", ")),
        }
    }
}

/// What taking an import back would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoPlan {
    /// The import.
    pub import: Import,
    /// Its rows in the file's order.
    pub rows: Vec<UndoRow>,
}

/// What an import did to one item.
struct Done {
    change: i64,
    item_id: i64,
    line: u32,
    is_new: bool,
    changes: Vec<FieldChange>,
    item: Option<Item>,
}

impl Store {
    /// What taking an import back would do now, row by row; nothing is changed. Whether the caller may see the
    /// import is asked before.
    ///
    /// # Errors
    /// [`RegisterError::Over`] if it is not one that was done.
    pub async fn undo_plan(&self, id: i64) -> Result<UndoPlan, RegisterError> {
        let mut source = Source::Reading(&self.database);
        let import = import_of(&mut source, id, ImportState::Applied).await?;
        let done = done_by(&mut source, id).await?;
        let obstacles = obstacles(&mut source, import.kind, &done).await?;
        let rows = done.iter().zip(obstacles);
        let rows = rows.map(|(one, obstacle)| row_of(one, obstacle));
        let rows = rows.collect();
        Ok(UndoPlan { import, rows })
    }

    /// Takes an import back: what it added is gone, what it changed is as before. All of it or nothing.
    ///
    /// # Errors
    /// [`RegisterError::NotUndone`] with every row that was changed since, or is named by others;
    /// [`RegisterError::Over`] if it is not one that was done.
    pub async fn undo_import(&self, id: i64, audit: AuditEntry) -> Result<Import, RegisterError> {
        let mut write = self.database.write().await?;
        let applied = locked(&mut write, id, ImportState::Applied).await?;
        let mut source = Source::Writing(&mut write);
        let done = done_by(&mut source, id).await?;
        let obstacles = obstacles(&mut source, applied.kind, &done).await?;
        let obstacles: Vec<UndoObstacle> = obstacles.into_iter().flatten().collect();
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

async fn done_by(source: &mut Source<'_>, import: i64) -> Result<Vec<Done>, StoreError> {
    let sql = "SELECT c.id AS change_id, c.item_id, c.line, c.action, c.changes, COALESCE(i.id, 0) AS id, \
               COALESCE(i.kind, 0) AS kind, COALESCE(i.site_id, 0) AS site_id, \
               COALESCE(i.field_values, '{}') AS field_values, COALESCE(i.created_ms, 0) AS created_ms, \
               COALESCE(i.changed_ms, 0) AS changed_ms, COALESCE(i.version, 0) AS version \
               FROM register_changes c LEFT JOIN register_items i ON i.id = c.item_id \
               WHERE c.import_id = $1 AND c.action <> 'undo' ORDER BY c.id";
    let rows = source
        .rows(sql.to_owned(), vec![Value::Number(import)])
        .await?;
    rows.iter().map(done_from).collect()
}

fn done_from(found: &AnyRow) -> Result<Done, StoreError> {
    let there = row::number(found, "id")? != 0;
    Ok(Done {
        change: row::number(found, "change_id")?,
        item_id: row::number(found, "item_id")?,
        line: u32::try_from(row::number(found, "line")?).unwrap_or(0),
        is_new: row::text(found, "action")? == "create",
        changes: changes_from(found)?,
        item: there.then(|| item_from(found)).transpose()?,
    })
}

impl Done {
    /// What the import wrote into a field, or what is there if it wrote nothing.
    fn imported(&self, field: Field) -> String {
        let mut wrote = self.changes.iter();
        let wrote = wrote.rfind(|change| change.field == Some(field));
        match (wrote, &self.item) {
            (Some(change), _) => change.after.clone(),
            (None, Some(item)) => item.value(field).to_owned(),
            (None, None) => String::new(),
        }
    }

    fn code(&self) -> String {
        self.imported(Field::Code)
    }
}

fn set(values: &mut Values, field: Field, text: &str) {
    match text.is_empty() {
        true => drop(values.remove(&field)),
        false => drop(values.insert(field, text.to_owned())),
    }
}

/// What the item held before.
fn before(item: &Item, changes: &[FieldChange]) -> Item {
    let mut item = item.clone();
    for change in changes {
        match change.field {
            Some(field) => set(&mut item.values, field, &change.before),
            // A site that cannot be read is another one.
            None => item.site = SiteId(change.before.parse().unwrap_or(0)),
        }
    }
    item
}

/// Whether later changes, oldest first, left the item as it was before them.
fn came_to_nothing(item: &Item, later: &[ItemChange]) -> bool {
    let mut was = item.clone();
    for one in later.iter().rev() {
        was = before(&was, &one.changes);
    }
    was.values == item.values && was.site == item.site
}

fn row_of(one: &Done, obstacle: Option<UndoObstacle>) -> UndoRow {
    let now = |field: Option<Field>| match (&one.item, field) {
        (Some(item), Some(field)) => item.value(field).to_owned(),
        (Some(item), None) => item.site.to_string(),
        (None, _) => String::new(),
    };
    let fields = one.changes.iter().map(|change| UndoField {
        field: change.field,
        imported: change.after.clone(),
        now: now(change.field),
        back: change.before.clone(),
    });
    let name = match &one.item {
        Some(item) => item.value(Field::Name).to_owned(),
        None => one.imported(Field::Name),
    };
    UndoRow {
        line: one.line,
        item: one.item_id,
        site: one.item.as_ref().map(|item| item.site),
        code: one.code(),
        name,
        is_new: one.is_new,
        fields: fields.collect(),
        obstacle,
    }
}

/// Later changes of those of some items that were changed since, oldest first.
async fn later_of(
    source: &mut Source<'_>,
    done: &[Done],
) -> Result<BTreeMap<i64, Vec<ItemChange>>, StoreError> {
    let is_touched = |one: &&Done| {
        let version = one.item.as_ref().map(|item| item.version);
        version != Some(one.change)
    };
    let since: BTreeMap<i64, i64> = done
        .iter()
        .filter(is_touched)
        .map(|one| (one.item_id, one.change))
        .collect();
    let mut later: BTreeMap<i64, Vec<ItemChange>> =
        since.keys().map(|item| (*item, Vec::new())).collect();
    let items: Vec<i64> = since.keys().copied().collect();
    for some in items.chunks(AT_ONCE) {
        let numbers: Vec<String> = some.iter().map(ToString::to_string).collect();
        let first = some.iter().filter_map(|item| since.get(item)).min();
        let sql = format!(
            "SELECT item_id, id, time_ms, actor, action, import_id, changes FROM register_changes \
             WHERE item_id IN ({}) AND id > {} ORDER BY id",
            numbers.join(", "),
            first.copied().unwrap_or(0)
        );
        for found in source.rows(sql, Vec::new()).await? {
            let item = row::number(&found, "item_id")?;
            let change = change_from(&found)?;
            let is_later = since.get(&item).is_some_and(|own| change.id > *own);
            if is_later {
                later.entry(item).or_default().push(change);
            }
        }
    }
    Ok(later)
}

/// What stands against taking each of them back.
async fn obstacles(
    source: &mut Source<'_>,
    kind: RegisterKind,
    done: &[Done],
) -> Result<Vec<Option<UndoObstacle>>, StoreError> {
    let later = later_of(source, done).await?;
    // Those that nobody touched since: only what became of others can be in their way.
    let free = |one: &&Done| {
        let item = one.item.as_ref();
        item.is_some_and(|item| {
            later
                .get(&one.item_id)
                .is_none_or(|later| came_to_nothing(item, later))
        })
    };
    let mut going: Vec<&Item> = Vec::new();
    let mut asked: BTreeMap<RegisterKind, BTreeSet<(SiteId, String)>> = BTreeMap::new();
    for one in done.iter().filter(free) {
        let Some(item) = &one.item else { continue };
        let was = before(item, &one.changes);
        if one.is_new || goes(item, &was) {
            going.push(item);
        }
        if !one.is_new {
            for (field, of) in to_look_up(&was, Some(item)) {
                let code = was.value(field).to_owned();
                asked.entry(of).or_default().insert((was.site, code));
            }
        }
    }
    let namers = namers_of(source, kind, going).await?;
    let mut known: BTreeMap<RegisterKind, BTreeSet<(SiteId, String)>> = BTreeMap::new();
    for (of, codes) in asked {
        let codes = codes.iter().map(|(site, code)| (*site, code.as_str()));
        let found = by_codes(source, of, codes).await?;
        let in_use = found.into_iter().filter(|(_, item)| item.is_in_use());
        known.insert(of, in_use.map(|(code, _)| code).collect());
    }
    let retired = retired_sites(source).await?;

    let (mut all, mut looked_up) = (Vec::with_capacity(done.len()), 0);
    for one in done {
        let is_free = free(&one);
        let found = match &one.item {
            Some(item) if is_free => {
                let is_known = |of: RegisterKind, code: (SiteId, String)| {
                    known.get(&of).is_some_and(|known| known.contains(&code))
                };
                in_the_way(one, item, &namers, &retired, is_known)
            }
            _ => Some(changed_since(one, &later)),
        };
        let Some(mut found) = found else {
            all.push(None);
            continue;
        };
        if let Some(item) = one.item.as_ref().filter(|_| found.word == "named")
            && looked_up < MOST_NAMED
        {
            looked_up += 1;
            found.namers = names_of(source, item, UNDO_DETAILS).await?;
        }
        all.push(Some(found));
    }
    Ok(all)
}

fn obstacle(one: &Done, word: &'static str, why: &'static str) -> UndoObstacle {
    UndoObstacle {
        line: one.line,
        code: one.code(),
        why,
        word,
        ..UndoObstacle::default()
    }
}

fn changed_since(one: &Done, later: &BTreeMap<i64, Vec<ItemChange>>) -> UndoObstacle {
    let later = later.get(&one.item_id).map_or(&[][..], Vec::as_slice);
    let fields: BTreeSet<Option<Field>> = later
        .iter()
        .flat_map(|one| one.changes.iter().map(|change| change.field))
        .collect();
    let newest = later.iter().rev().take(UNDO_DETAILS);
    UndoObstacle {
        fields: fields.into_iter().collect(),
        later: newest.cloned().collect(),
        count: later.len() as u64,
        ..obstacle(one, "changed", "changed since")
    }
}

/// What is in the way of an item that nobody touched since.
fn in_the_way(
    one: &Done,
    item: &Item,
    namers: &BTreeMap<(SiteId, String), i64>,
    retired: &BTreeSet<SiteId>,
    is_known: impl Fn(RegisterKind, (SiteId, String)) -> bool,
) -> Option<UndoObstacle> {
    let was = before(item, &one.changes);
    let code = (item.site, item.value(Field::Code).to_owned());
    if (one.is_new || goes(item, &was))
        && let Some(count) = namers.get(&code)
    {
        return Some(UndoObstacle {
            count: count.unsigned_abs(),
            ..obstacle(one, "named", "others in use name it")
        });
    }
    if one.is_new {
        return None;
    }
    if was.is_in_use() && !item.is_in_use() && retired.contains(&item.site) {
        return Some(obstacle(one, "retired", "its site is retired by now"));
    }
    let mut gone = to_look_up(&was, Some(item)).into_iter();
    let gone = gone.find(|(field, of)| !is_known(*of, (was.site, was.value(*field).to_owned())));
    gone.map(|(field, _)| UndoObstacle {
        fields: vec![Some(field)],
        ..obstacle(one, "gone", "the room or owner that it had is gone")
    })
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
                changed_ms: audit.time_ms,
                version,
                ..before(&item, &one.changes)
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
