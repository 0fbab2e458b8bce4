//! `register`: rooms, staff and assets, from spreadsheets or one by one, in files and on paper.

mod items;
mod paper;

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_inventory::register::{CellProblem, MAX_FILE_BYTES, MOST_LISTED, Sheet, read_register};
use xiezhi_model::{Field, FieldChange, RegisterKind, Scope, SiteId};
use xiezhi_store::{ImportRow, Older, Plan, RegisterError, Store, UndoObstacle, UndoRow};

use super::{by_console, change_told, file_name, local_time, one_line, open_store};
use crate::cli::Register;
use crate::config::Config;
use crate::terminal::say;

/// Imports that are listed.
const SHOWN: u32 = 200;

/// Does what `register …` asks.
pub(super) async fn run(config: &Config, what: Register) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Register::Import {
            file,
            kind,
            site,
            dry_run,
        } => import(&store, &file, kind, site.as_deref(), dry_run).await?,
        Register::List(which) => items::list(&store, which).await?,
        Register::Show(item) => items::show(&store, &item).await?,
        Register::Add { item, values } => items::add(&store, &item, values).await?,
        Register::Change { item, values, to } => {
            items::change(&store, &item, values, to.as_deref()).await?;
        }
        Register::Export { file, lang, which } => items::export(&store, &file, lang, which).await?,
        Register::Labels {
            file,
            address,
            lang,
            which,
        } => paper::labels(&store, &file, &address, lang, which).await?,
        Register::Instructions {
            file,
            site,
            controller,
            uses,
            expires,
            approval,
            lang,
        } => {
            let asked = paper::Asked {
                file: &file,
                site,
                controller,
                uses,
                expires,
                approval,
                language: lang,
            };
            paper::instructions(config, &store, asked).await?;
        }
        Register::Imports => list(&store).await?,
        Register::Undo { id, dry_run } => undo(&store, id, dry_run).await?,
    }
    store.close().await;
    Ok(())
}

async fn import(
    store: &Store,
    file: &Path,
    kind: RegisterKind,
    site: Option<&str>,
    dry_run: bool,
) -> Result<()> {
    let sheet = read(store, file, kind, site).await?;
    let rows: Vec<ImportRow> = sheet
        .rows
        .iter()
        .map(|row| ImportRow {
            line: row.line,
            site: row.site,
            values: row.values.clone(),
        })
        .collect();
    let plan = store.plan_import(kind, &rows).await?;
    let problems = plan.problems.iter();
    let problems: Vec<CellProblem> = problems
        .map(|found| sheet.problem(found.line, found.field, found.problem.clone()))
        .collect();
    refuse(file, &problems, problems.len())?;
    if dry_run {
        show(&plan);
        return Ok(());
    }
    let name = file_name(file);
    let sites = rows.iter().map(|row| row.site).collect();
    let audit = by_console("register.upload", "");
    let text = sheet.to_text();
    let id = store.keep_import(kind, &name, &text, &sites, audit);
    let id = id.await?;
    let audit = by_console("register.import", format!("import:{id}"));
    let done = store.apply_import(id, &rows, &plan.digest(), audit).await?;
    say!(
        "import {id}: {} added, {} changed, {} unchanged",
        done.added,
        done.changed,
        done.unchanged
    );
    Ok(())
}

async fn read(store: &Store, file: &Path, kind: RegisterKind, site: Option<&str>) -> Result<Sheet> {
    let usual = match site {
        None => None,
        Some(key) => Some(named(store, key).await?),
    };
    let name = file.display();
    let opened = std::fs::File::open(file).with_context(|| format!("opening {name}"))?;
    let mut bytes = Vec::new();
    // One byte more than the bound: the reader refuses it.
    let most = MAX_FILE_BYTES as u64 + 1;
    let read = opened.take(most).read_to_end(&mut bytes);
    read.with_context(|| format!("reading {name}"))?;
    let reading = read_register(kind, &bytes, &store.site_tree().await?, usual);
    refuse(file, &reading.problems, reading.problem_count)?;
    if !reading.ignored.is_empty() {
        say!(
            "columns left out: {}",
            one_line(&reading.ignored.join(", "))
        );
    }
    if !reading.left_sheets.is_empty() {
        say!(
            "sheets that were not read: {}",
            one_line(&reading.left_sheets.join(", "))
        );
    }
    Ok(reading.sheet)
}

async fn named(store: &Store, key: &str) -> Result<SiteId> {
    let site = store.site_by_key(key).await?;
    let site = site.with_context(|| format!("there is no site {key:?}: see `sites list`"))?;
    Ok(site.id)
}

fn refuse(file: &Path, problems: &[CellProblem], count: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let name = file.display();
    let shown = problems.iter().take(MOST_LISTED);
    let lines: Vec<String> = shown.map(|problem| format!("{name}: {problem}")).collect();
    bail!(
        "nothing was imported; mend these {count} places first:\n{}",
        lines.join("\n")
    )
}

fn show(plan: &Plan) {
    for row in &plan.rows {
        let what = if row.before.is_none() {
            "add"
        } else {
            "change"
        };
        let code = row.values.get(&Field::Code).map_or("", String::as_str);
        let told = |change: &FieldChange| {
            let field = change.field.map_or("site", Field::word);
            change_told(field, &change.before, &change.after)
        };
        let changes: Vec<String> = row.changes.iter().map(told).collect();
        say!(
            "row {}: {what} {}: {}",
            row.line,
            one_line(code),
            changes.join(", ")
        );
    }
    let added = plan.added();
    let changed = plan.rows.len() - added;
    say!(
        "would be {added} added, {changed} changed, {} unchanged",
        plan.unchanged
    );
}

async fn list(store: &Store) -> Result<()> {
    for import in store
        .imports(&Scope::Province, Older::newest(SHOWN))
        .await?
    {
        say!(
            "{:<6} {:<7} {:<8} {}  {} added, {} changed  {} {}",
            import.id,
            import.kind.word(),
            import.state.word(),
            local_time(import.asked_ms),
            import.added,
            import.changed,
            one_line(&import.asked_by),
            one_line(&import.file_name)
        );
    }
    Ok(())
}

async fn undo(store: &Store, id: i64, dry_run: bool) -> Result<()> {
    if dry_run {
        let plan = store.undo_plan(id).await?;
        plan.rows.iter().for_each(show_undo);
        let stopped = plan.rows.iter().filter(|row| row.obstacle.is_some());
        match stopped.count() {
            0 => say!("would take back {} rows", plan.rows.len()),
            count => say!("{count} rows are in the way: nothing would be taken back"),
        }
        return Ok(());
    }
    let audit = by_console("register.undo", format!("import:{id}"));
    match store.undo_import(id, audit).await {
        Ok(_) => say!("import {id} was taken back"),
        Err(RegisterError::NotUndone(rows)) => {
            let told = rows.iter().take(MOST_LISTED).flat_map(obstacle_told);
            let told: Vec<String> = told.collect();
            bail!("nothing was taken back:\n{}", told.join("\n"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What would become of a row, and what is in the way.
fn show_undo(row: &UndoRow) {
    let what = if row.is_new { "delete" } else { "change back" };
    let fields = row.fields.iter().filter(|_| !row.is_new).map(|field| {
        let name = field.field.map_or("site", Field::word);
        change_told(name, &field.now, &field.back)
    });
    let fields: Vec<String> = fields.collect();
    say!(
        "row {}: {what} {} {}{}",
        row.line,
        one_line(&row.code),
        one_line(&row.name),
        if fields.is_empty() {
            String::new()
        } else {
            format!(": {}", fields.join(", "))
        }
    );
    for line in row.obstacle.iter().flat_map(obstacle_told) {
        say!("  in the way: {line}");
    }
}

/// An obstacle, and each later change or each thing that names the item.
fn obstacle_told(obstacle: &UndoObstacle) -> Vec<String> {
    let mut lines = vec![one_line(&obstacle.to_string())];
    lines.extend(obstacle.later.iter().map(|later| {
        let told = later.changes.iter().map(|change| {
            let field = change.field.map_or("site", Field::word);
            change_told(field, &change.before, &change.after)
        });
        let told: Vec<String> = told.collect();
        let import = later
            .import
            .map_or_else(String::new, |import| format!(" (import {import})"));
        let text = format!(
            "{} {} {}{import}: {}",
            local_time(later.time_ms),
            later.actor,
            later.action,
            told.join(", ")
        );
        format!("    {}", one_line(&text))
    }));
    lines.extend(obstacle.namers.iter().map(|(kind, _, code, name)| {
        let text = format!("named by {} {code} {name}", kind.noun());
        format!("    {}", one_line(&text))
    }));
    lines
}
