//! Imports of spreadsheets: uploaded, looked at, done, taken back.

pub(crate) mod undo;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_inventory::register::{CellProblem, MOST_LISTED, Reading, Sheet, read_register};
use xiezhi_model::RegisterKind;
use xiezhi_store::{Import, ImportRow, ImportState, Plan};

use super::Part;
use super::shapes::{FieldRow, code_and_name, field_row};
use crate::answer::{Answer, Done, Tried};
use crate::extract::{File, Json, Path, Query};
use crate::pages::Page;
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::view::View;

/// Rows of a preview that are shown.
const ROWS_SHOWN: usize = 500;

/// Longest name of a file, in characters.
const LONGEST_NAME: usize = 200;

/// One import.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Import")]
pub(crate) struct ImportShape {
    id: i64,
    /// `rooms`, `staff` or `assets`.
    kind: &'static str,
    file: String,
    /// `waiting`, `expired` after a day of that, `applied` or `undone`.
    state: &'static str,
    asked_ms: i64,
    asked_by: String,
    decided_ms: Option<i64>,
    decided_by: String,
    added: i64,
    changed: i64,
    unchanged: i64,
}

impl ImportShape {
    fn new(import: Import, view: &View) -> Self {
        let state = match import.state {
            ImportState::Waiting if !import.waits(view.state.now_ms()) => "expired",
            state => state.word(),
        };
        Self {
            state,
            id: import.id,
            kind: import.kind.word(),
            file: import.file_name,
            asked_ms: import.asked_ms,
            asked_by: import.asked_by,
            decided_ms: import.decided_ms,
            decided_by: import.decided_by,
            added: import.added,
            changed: import.changed,
            unchanged: import.unchanged,
        }
    }
}

/// A row that adds or changes something.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ImportRow")]
struct PreviewRow {
    line: u32,
    is_new: bool,
    site: SiteName,
    code: String,
    name: String,
    changes: Vec<FieldRow>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CellProblem")]
struct ProblemRow {
    /// Row of the file, from 1.
    line: u32,
    /// Column as a spreadsheet names it.
    column: Option<String>,
    /// Stable word of what is wrong.
    word: &'static str,
    /// The field that it is about.
    field: Option<&'static str>,
    /// What stands there.
    found: Option<String>,
    message: String,
}

/// What an import would do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ImportPreview")]
pub(crate) struct Preview {
    /// `None` if there are problems: then nothing is kept.
    id: Option<i64>,
    kind: &'static str,
    /// To be named by whoever decides.
    digest: Option<String>,
    added: usize,
    changed: usize,
    unchanged: usize,
    /// The first rows that add or change something.
    rows: Vec<PreviewRow>,
    /// Headers that are no field; their columns are left out.
    ignored: Vec<String>,
    /// Other sheets of the workbook that hold something; only the first is read.
    left_sheets: Vec<String>,
    /// The first problems.
    problems: Vec<ProblemRow>,
    problem_count: usize,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Imports {
    /// Newest first.
    items: Vec<ImportShape>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

pub(crate) async fn list(view: View, Query(page): Query<Page>) -> Result<Answer<Imports>, Problem> {
    let store = &view.state.inner.store;
    let mut imports = store.imports(&view.scope, page.query()).await?;
    let next = page.cut(&mut imports, |import| import.id);
    let items = imports.into_iter();
    let items = items
        .map(|import| ImportShape::new(import, &view))
        .collect();
    Ok(Answer(Imports { items, next }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upload {
    /// What the file lists.
    kind: Part,
    /// Name of the file, for the list.
    #[serde(default)]
    name: String,
    /// Site of rows that name none.
    #[serde(default)]
    site: Option<i64>,
}

pub(crate) async fn upload(
    view: View,
    Query(asked): Query<Upload>,
    File(file): File,
) -> Result<Tried<Preview>, Problem> {
    let kind = asked.kind.into();
    let usual = asked.site.map(|site| view.site_in_use(site)).transpose()?;
    let usual = usual.map(|site| site.id);
    let reader = view.clone();
    let read = move |bytes: &[u8]| read_register(kind, bytes, reader.tree(), usual);
    let reading = view.state.inner.uploads.parse(file, read).await?;
    let preview = look(&view, reading, &asked).await?;
    Ok(match preview.id {
        Some(_) => Tried::Made(preview),
        None => Tried::NotMade(preview),
    })
}

/// Plans what was read, and keeps it if nothing stands against it.
async fn look(view: &View, reading: Reading, asked: &Upload) -> Result<Preview, Problem> {
    let Reading {
        sheet,
        ignored,
        left_sheets,
        problems,
        problem_count,
    } = reading;
    if problem_count > 0 {
        return Ok(Preview {
            ignored,
            left_sheets,
            problem_count,
            problems: problems.iter().map(problem_row).collect(),
            ..nothing(sheet.kind)
        });
    }
    let store = &view.state.inner.store;
    let rows = rows_of(&sheet);
    let plan = store.plan_import(sheet.kind, &rows).await?;
    let mut preview = shown(view, &sheet, &plan);
    preview.ignored = ignored;
    preview.left_sheets = left_sheets;
    if preview.problem_count == 0 {
        let sites = rows.iter().map(|row| row.site).collect();
        let name: String = asked.name.chars().take(LONGEST_NAME).collect();
        let audit = view.who.audit(view.state.now_ms(), "register.upload", "");
        let text = sheet.to_text();
        let kept = store.keep_import(sheet.kind, &name, &text, &sites, audit);
        preview.id = Some(kept.await?);
    }
    Ok(preview)
}

fn nothing(kind: RegisterKind) -> Preview {
    Preview {
        id: None,
        kind: kind.word(),
        digest: None,
        added: 0,
        changed: 0,
        unchanged: 0,
        rows: Vec::new(),
        ignored: Vec::new(),
        left_sheets: Vec::new(),
        problems: Vec::new(),
        problem_count: 0,
    }
}

fn rows_of(sheet: &Sheet) -> Vec<ImportRow> {
    let rows = sheet.rows.iter().map(|row| ImportRow {
        line: row.line,
        site: row.site,
        values: row.values.clone(),
    });
    rows.collect()
}

fn problem_row(problem: &CellProblem) -> ProblemRow {
    ProblemRow {
        line: problem.line,
        column: problem.letters(),
        word: problem.kind.word(),
        field: problem.kind.field().map(xiezhi_model::Field::word),
        found: problem.kind.found().map(str::to_owned),
        message: problem.kind.to_string(),
    }
}

fn shown(view: &View, sheet: &Sheet, plan: &Plan) -> Preview {
    let problems = plan.problems.iter().take(MOST_LISTED);
    let problems = problems
        .map(|found| problem_row(&sheet.problem(found.line, found.field, found.problem.clone())));
    let rows = plan.rows.iter().take(ROWS_SHOWN).map(|row| {
        let (code, name) = code_and_name(&row.values);
        let changes = row.changes.iter().cloned();
        PreviewRow {
            line: row.line,
            is_new: row.before.is_none(),
            site: SiteName::of(row.site, view.tree()),
            code,
            name,
            changes: changes.map(|change| field_row(change, view)).collect(),
        }
    });
    let added = plan.added();
    Preview {
        digest: Some(plan.digest()),
        added,
        changed: plan.rows.len() - added,
        unchanged: plan.unchanged,
        rows: rows.collect(),
        problems: problems.collect(),
        problem_count: plan.problems.len(),
        ..nothing(sheet.kind)
    }
}

/// A waiting import of the caller's scope with its rows.
async fn waiting(view: &View, id: i64) -> Result<Sheet, Problem> {
    let found = view.state.inner.store.import(id, &view.scope).await?;
    let (import, text) = found.ok_or_else(|| Problem::not_found("import"))?;
    if !import.waits(view.state.now_ms()) {
        return Err(xiezhi_store::RegisterError::Over.into());
    }
    Sheet::from_text(import.kind, &text).ok_or_else(|| xiezhi_store::RegisterError::Over.into())
}

/// What it would do now.
pub(crate) async fn preview(view: View, Path(id): Path<i64>) -> Result<Answer<Preview>, Problem> {
    let sheet = waiting(&view, id).await?;
    let store = &view.state.inner.store;
    let plan = store.plan_import(sheet.kind, &rows_of(&sheet)).await?;
    let preview = shown(&view, &sheet, &plan);
    Ok(Answer(Preview {
        id: Some(id),
        ..preview
    }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ImportDecision")]
pub(crate) struct Decision {
    /// Digest of the preview that was looked at.
    digest: String,
}

pub(crate) async fn apply(
    view: View,
    Path(id): Path<i64>,
    Json(decision): Json<Decision>,
) -> Result<Answer<ImportShape>, Problem> {
    let sheet = waiting(&view, id).await?;
    let (now_ms, subject) = (view.state.now_ms(), format!("import:{id}"));
    let audit = view.who.audit(now_ms, "register.import", subject);
    let store = &view.state.inner.store;
    let rows = rows_of(&sheet);
    let done = store.apply_import(id, &rows, &decision.digest, audit);
    Ok(Answer(ImportShape::new(done.await?, &view)))
}

/// Forgets one that waits.
pub(crate) async fn give_up(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let store = &view.state.inner.store;
    if store.import(id, &view.scope).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    let (now_ms, subject) = (view.state.now_ms(), format!("import:{id}"));
    let audit = view.who.audit(now_ms, "register.give_up", subject);
    store.give_up_import(id, audit).await?;
    Ok(Done)
}
