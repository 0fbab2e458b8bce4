//! Imports of lists of sites: uploaded, looked at, done, taken back. The shapes are those of the register's
//! imports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_inventory::register::{CellProblem, MOST_LISTED};
use xiezhi_inventory::{SiteList, SiteReading, read_sites};
use xiezhi_model::{PlannedSite, SiteField, SitePlan};
use xiezhi_store::{ImportState, SiteError, SiteImportFile};

use super::change::{FieldRow, field_row};
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

/// What the shapes of the register's imports call this kind.
const KIND: &str = "sites";

/// One import.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteImport")]
pub(crate) struct SiteImportShape {
    id: i64,
    /// `sites`.
    kind: &'static str,
    file: String,
    /// `waiting`, `expired` after a day of that, `applied` or `undone`.
    state: &'static str,
    asked_ms: i64,
    asked_by: String,
    decided_ms: Option<i64>,
    decided_by: String,
    added: usize,
    changed: usize,
    unchanged: usize,
}

impl SiteImportShape {
    fn new(import: SiteImportFile, view: &View) -> Self {
        let state = match import.state {
            ImportState::Waiting if !import.waits(view.state.now_ms()) => "expired",
            state => state.word(),
        };
        Self {
            state,
            id: import.id,
            kind: KIND,
            file: import.file_name,
            asked_ms: import.asked_ms,
            asked_by: import.asked_by,
            decided_ms: import.decided_ms,
            decided_by: import.decided_by,
            added: import.done.added,
            changed: import.done.changed,
            unchanged: import.done.unchanged,
        }
    }
}

/// A row that adds or changes a site.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteImportRow")]
struct SitePreviewRow {
    line: u32,
    is_new: bool,
    /// Whether a site that is there gets another one above it.
    moved: bool,
    /// The site above it, as it will be; its number is 0 if it is new itself, or if there is none.
    site: SiteName,
    /// Its key.
    code: String,
    name: String,
    changes: Vec<FieldRow>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteCellProblem")]
struct SiteProblemRow {
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

impl From<CellProblem> for SiteProblemRow {
    fn from(problem: CellProblem) -> Self {
        Self {
            line: problem.line,
            column: problem.letters(),
            word: problem.kind.word(),
            field: problem.kind.site_field().map(SiteField::word),
            found: problem.kind.found().map(str::to_owned),
            message: problem.kind.to_string(),
        }
    }
}

/// What an import would do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SiteImportPreview")]
pub(crate) struct SitePreview {
    /// `None` if there are problems: then nothing is kept.
    id: Option<i64>,
    /// `sites`.
    kind: &'static str,
    /// To be named by whoever decides.
    digest: Option<String>,
    added: usize,
    /// Those that move are among them.
    changed: usize,
    moved: usize,
    unchanged: usize,
    /// The first rows that add or change something.
    rows: Vec<SitePreviewRow>,
    /// Headers that are no field; their columns are left out.
    ignored: Vec<String>,
    /// Other sheets of the workbook that hold something; only the first is read.
    left_sheets: Vec<String>,
    /// The first problems.
    problems: Vec<SiteProblemRow>,
    problem_count: usize,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct SiteImports {
    /// Newest first.
    items: Vec<SiteImportShape>,
    /// `cursor` of the next page; `None` on the last.
    next: Option<i64>,
}

pub(crate) async fn list(
    view: View,
    Query(page): Query<Page>,
) -> Result<Answer<SiteImports>, Problem> {
    let mut imports = view.state.inner.store.site_imports(page.query()).await?;
    let next = page.cut(&mut imports, |import| import.id);
    let items = imports.into_iter();
    let items = items
        .map(|import| SiteImportShape::new(import, &view))
        .collect();
    Ok(Answer(SiteImports { items, next }))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Upload {
    /// Name of the file, for the list.
    name: String,
}

pub(crate) async fn upload(
    view: View,
    Query(asked): Query<Upload>,
    File(file): File,
) -> Result<Tried<SitePreview>, Problem> {
    let reader = view.clone();
    let read = move |bytes: &[u8]| read_sites(bytes, reader.tree());
    let reading = view.state.inner.uploads.parse(file, read).await?;
    let preview = look(&view, reading, &asked).await?;
    Ok(match preview.id {
        Some(_) => Tried::Made(preview),
        None => Tried::NotMade(preview),
    })
}

/// Plans what was read, and keeps it if nothing stands against it.
async fn look(view: &View, reading: SiteReading, asked: &Upload) -> Result<SitePreview, Problem> {
    let SiteReading {
        list,
        ignored,
        left_sheets,
        problems,
        problem_count,
    } = reading;
    if problem_count > 0 {
        return Ok(SitePreview {
            ignored,
            left_sheets,
            problem_count,
            problems: problems.into_iter().map(SiteProblemRow::from).collect(),
            ..shown(view, &list, &SitePlan::default(), None)
        });
    }
    let store = &view.state.inner.store;
    let (plan, digest) = store.plan_sites(&list.rows).await?;
    let mut preview = shown(view, &list, &plan, Some(digest));
    preview.ignored = ignored;
    preview.left_sheets = left_sheets;
    if preview.problem_count == 0 {
        let name: String = asked.name.chars().take(LONGEST_NAME).collect();
        let audit = view.who.audit(view.state.now_ms(), "sites.upload", "");
        let text = list.to_text();
        let kept = store.keep_site_import(&name, &text, audit);
        preview.id = Some(kept.await?);
    }
    Ok(preview)
}

fn shown(view: &View, list: &SiteList, plan: &SitePlan, digest: Option<String>) -> SitePreview {
    let problems = list.problems(plan).take(MOST_LISTED);
    let added = plan.added();
    SitePreview {
        id: None,
        kind: KIND,
        digest,
        added,
        changed: plan.rows.len() - added,
        moved: plan.moved(),
        unchanged: plan.unchanged,
        rows: rows(view, list, plan),
        ignored: Vec::new(),
        left_sheets: Vec::new(),
        problems: problems.map(SiteProblemRow::from).collect(),
        problem_count: plan.problems.len(),
    }
}

fn rows(view: &View, list: &SiteList, plan: &SitePlan) -> Vec<SitePreviewRow> {
    let there = view.tree().iter();
    let there = there.map(|site| (site.key.as_str(), (site.id.0, site.name.as_str())));
    let new = list.rows.iter().map(|row| &row.site);
    let new = new.map(|site| (site.key.as_str(), site.name.as_str()));
    // What is there keeps its number; what is called anew shows its new name.
    let mut names: std::collections::HashMap<_, _> = there.collect();
    for (key, name) in new {
        names.entry(key).or_insert((0, name)).1 = name;
    }
    let above = |row: &PlannedSite| {
        let parent = row.site.parent.as_deref();
        let (id, name) = parent.and_then(|key| names.get(key)).copied().unzip();
        SiteName {
            id: id.unwrap_or(0),
            name: name.unwrap_or_default().to_owned(),
        }
    };
    let name = |key: &str| names.get(key).map(|(_, name)| *name);
    let rows = plan.rows.iter().take(ROWS_SHOWN).map(|row| SitePreviewRow {
        line: row.line,
        is_new: row.before.is_none(),
        moved: row.moves(),
        site: above(row),
        code: row.site.key.clone(),
        name: row.site.name.clone(),
        changes: row
            .changes
            .iter()
            .map(|change| field_row(change.clone(), view, name))
            .collect(),
    });
    rows.collect()
}

/// A waiting import with its rows.
async fn waiting(view: &View, id: i64) -> Result<SiteList, Problem> {
    let found = view.state.inner.store.site_import(id).await?;
    let (import, text) = found.ok_or_else(|| Problem::not_found("import"))?;
    if !import.waits(view.state.now_ms()) {
        return Err(SiteError::Over.into());
    }
    SiteList::from_text(&text).ok_or_else(|| SiteError::Over.into())
}

/// What it would do now.
pub(crate) async fn preview(
    view: View,
    Path(id): Path<i64>,
) -> Result<Answer<SitePreview>, Problem> {
    let list = waiting(&view, id).await?;
    let (plan, digest) = view.state.inner.store.plan_sites(&list.rows).await?;
    Ok(Answer(SitePreview {
        id: Some(id),
        ..shown(&view, &list, &plan, Some(digest))
    }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SiteImportDecision")]
pub(crate) struct Decision {
    /// Digest of the preview that was looked at.
    digest: String,
}

pub(crate) async fn apply(
    view: View,
    Path(id): Path<i64>,
    Json(decision): Json<Decision>,
) -> Result<Answer<SiteImportShape>, Problem> {
    let list = waiting(&view, id).await?;
    let (now_ms, subject) = (view.state.now_ms(), format!("site-import:{id}"));
    let audit = view.who.audit(now_ms, "sites.import", subject);
    let store = &view.state.inner.store;
    let done = store.apply_site_import(id, &list.rows, &decision.digest, audit);
    Ok(Answer(SiteImportShape::new(done.await?, &view)))
}

/// Forgets one that waits.
pub(crate) async fn give_up(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let store = &view.state.inner.store;
    if store.site_import(id).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    let (now_ms, subject) = (view.state.now_ms(), format!("site-import:{id}"));
    let audit = view.who.audit(now_ms, "sites.give_up", subject);
    store.give_up_site_import(id, audit).await?;
    Ok(Done)
}

pub(crate) async fn undo(
    view: View,
    Path(id): Path<i64>,
) -> Result<Answer<SiteImportShape>, Problem> {
    let store = &view.state.inner.store;
    if store.site_import(id).await?.is_none() {
        return Err(Problem::not_found("import"));
    }
    let (now_ms, subject) = (view.state.now_ms(), format!("site-import:{id}"));
    let audit = view.who.audit(now_ms, "sites.undo", subject);
    let undone = store.undo_site_import(id, audit).await?;
    Ok(Answer(SiteImportShape::new(undone, &view)))
}
