//! Taking an import back: what it would do, row by row and field by field, what is in the way, and doing it.

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_model::{Field, FieldChange};
use xiezhi_store::{UndoField, UndoObstacle, UndoRow};

use super::{ImportShape, ROWS_SHOWN};
use crate::answer::Answer;
use crate::extract::Path;
use crate::problem::Problem;
use crate::resources::register::shapes::{ChangeRow, FieldRow, change_row, field_row};
use crate::rows::SiteName;
use crate::view::View;

/// What taking an import back would do now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UndoPreview")]
pub(crate) struct Preview {
    import: ImportShape,
    /// Whether nothing is in the way: all of it is taken back, or nothing.
    possible: bool,
    /// Items that are deleted.
    deleted: usize,
    /// Items that become what they were.
    changed_back: usize,
    /// Rows with something in the way.
    obstacle_count: usize,
    /// The first rows; those with something in the way come first.
    rows: Vec<Row>,
}

/// One row of the import's file.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UndoRow")]
struct Row {
    line: u32,
    /// Number of the item.
    item: i64,
    /// Where it is now; `None` if it is gone, or stands where the caller does not see it.
    site: Option<SiteName>,
    code: String,
    name: String,
    /// The import had added it: it is deleted.
    is_new: bool,
    /// The fields that the import wrote.
    fields: Vec<Written>,
    obstacle: Option<Obstacle>,
}

/// A field that the import wrote.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UndoField")]
struct Written {
    /// The field, or `site`.
    field: &'static str,
    /// What the import wrote.
    imported: String,
    /// What is there now.
    now: String,
    /// What it would hold again; empty where the item is deleted.
    back: String,
}

/// What is in the way of a row.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UndoObstacle")]
struct Obstacle {
    /// `changed`: it was changed since; `named`: others in use name it; `retired`: its site is out of use;
    /// `gone`: the room or owner that it had is gone; `elsewhere`: it stands where the caller does not see it.
    word: &'static str,
    message: String,
    /// The fields that it is about.
    fields: Vec<&'static str>,
    /// What was changed since, newest first; the first five.
    later: Vec<ChangeRow>,
    /// What names it; the first five.
    namers: Vec<Namer>,
    /// How many later changes there are, or how many name it.
    count: u64,
}

/// An item that names another one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ItemName")]
struct Namer {
    /// `rooms`, `staff` or `assets`.
    kind: &'static str,
    id: i64,
    code: String,
    name: String,
}

pub(crate) async fn preview(view: View, Path(id): Path<i64>) -> Result<Answer<Preview>, Problem> {
    let store = &view.state.inner.store;
    if store.import(id, &view.scope).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    let plan = store.undo_plan(id).await?;
    let mut rows = plan.rows;
    let deleted = rows.iter().filter(|row| row.is_new).count();
    let changed_back = rows.len() - deleted;
    let obstacle_count = rows.iter().filter(|row| row.obstacle.is_some()).count();
    rows.sort_by_key(|row| row.obstacle.is_none());
    let shown = rows.into_iter().take(ROWS_SHOWN);
    Ok(Answer(Preview {
        import: ImportShape::new(plan.import, &view),
        possible: obstacle_count == 0,
        deleted,
        changed_back,
        obstacle_count,
        rows: shown.map(|row| row_shape(row, &view)).collect(),
    }))
}

fn row_shape(row: UndoRow, view: &View) -> Row {
    let is_elsewhere = row.site.is_some_and(|site| !view.scope.sees(site));
    // Of what is gone nobody can tell where it stood in the end.
    let is_told = !is_elsewhere && row.site.is_some();
    Row {
        line: row.line,
        item: row.item,
        site: row
            .site
            .filter(|_| !is_elsewhere)
            .map(|site| SiteName::of(site, view.tree())),
        code: row.code,
        name: if is_elsewhere {
            String::new()
        } else {
            row.name
        },
        is_new: row.is_new,
        fields: row
            .fields
            .into_iter()
            .map(|field| written(field, is_told, view))
            .collect(),
        obstacle: row.obstacle.map(|found| match is_elsewhere {
            true => elsewhere(),
            false => obstacle_shape(found, is_told, view),
        }),
    }
}

fn written(field: UndoField, is_told: bool, view: &View) -> Written {
    let UndoField {
        field,
        imported,
        now,
        back,
    } = field;
    let change = |before, after| {
        field_row(
            FieldChange {
                field,
                before,
                after,
            },
            view,
        )
    };
    let FieldRow { field, before, .. } = change(imported.clone(), String::new());
    let now = if is_told { now } else { String::new() };
    let FieldRow {
        before: now,
        after: back,
        ..
    } = change(now, back);
    Written {
        field,
        imported: before,
        now,
        back,
    }
}

fn elsewhere() -> Obstacle {
    Obstacle {
        word: "elsewhere",
        message: "it stands at another site by now: ask who manages the register there".to_owned(),
        fields: Vec::new(),
        later: Vec::new(),
        namers: Vec::new(),
        count: 0,
    }
}

fn obstacle_shape(found: UndoObstacle, is_told: bool, view: &View) -> Obstacle {
    let fields = found.fields.iter();
    let fields = fields.map(|field| field.map_or("site", Field::word));
    let later = found.later.into_iter().filter(|_| is_told);
    let namers = found.namers.into_iter();
    Obstacle {
        word: found.word,
        message: found.why.to_owned(),
        fields: fields.filter(|_| is_told).collect(),
        later: later.map(|change| change_row(change, view)).collect(),
        namers: namers
            .map(|(kind, id, code, name)| Namer {
                kind: kind.word(),
                id,
                code,
                name,
            })
            .collect(),
        count: found.count,
    }
}

pub(crate) async fn undo(view: View, Path(id): Path<i64>) -> Result<Answer<ImportShape>, Problem> {
    let store = &view.state.inner.store;
    if store.import(id, &view.scope).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    let (now_ms, subject) = (view.state.now_ms(), format!("import:{id}"));
    let audit = view.who.audit(now_ms, "register.undo", subject);
    let undone = store.undo_import(id, audit).await?;
    Ok(Answer(ImportShape::new(undone, &view)))
}
