//! `sites`: the organisation tree.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{SITE_HEADER, site_row};
use xiezhi_inventory::register::{CellProblem, MAX_FILE_BYTES, MOST_LISTED};
use xiezhi_inventory::{DEMO_COURTS_CSV, read_sites};
use xiezhi_model::{NewSite, Site, SiteChange, SiteField, SitePlan, SiteTree};
use xiezhi_store::{Older, SiteError, Store};

use super::files::ListFile;
use super::{by_console, change_told, file_name, local_time, one_line, open_store};
use crate::cli::{NewSiteAt, Sites};
use crate::config::Config;
use crate::terminal::say;

/// Entries of a history that are shown.
const SHOWN: u32 = 200;

/// Does what `sites …` asks.
pub(super) async fn run(config: &Config, what: Sites) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Sites::Import { file, preview } => import(&store, file.as_deref(), preview).await?,
        Sites::Imports => list_imports(&store).await?,
        Sites::Undo { id } => undo(&store, id).await?,
        Sites::List => list(&store).await?,
        Sites::Export { file, lang } => export(&store, &file, lang).await?,
        Sites::Add(new) => add(&store, new).await?,
        Sites::Rename { id, name } => change(&store, &id, |site| site.name = name, None).await?,
        Sites::Move { id, to } => change(&store, &id, |site| site.parent = Some(to), None).await?,
        Sites::Retire { id } => change(&store, &id, |_| {}, Some(true)).await?,
        Sites::Restore { id } => change(&store, &id, |_| {}, Some(false)).await?,
        Sites::History { id } => history(&store, &id).await?,
    }
    store.close().await;
    Ok(())
}

async fn export(store: &Store, file: &Path, language: Language) -> Result<()> {
    let tree = store.site_tree().await?;
    let mut sites: Vec<&Site> = tree.iter().filter(|site| site.is_in_use()).collect();
    sites.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let mut list = ListFile::begin_importable(file, &language.header(&SITE_HEADER))?;
    let row = |site: &&Site| site_row(site, &tree, language);
    list.push(sites.iter().map(row).collect())?;
    list.finish(store, by_console("sites.export", "")).await
}

async fn import(store: &Store, file: Option<&Path>, preview: bool) -> Result<()> {
    let (name, bytes) = match file {
        Some(path) => (file_name(path), read(path)?),
        None => (
            "the demonstration's courts".to_owned(),
            DEMO_COURTS_CSV.into(),
        ),
    };
    let reading = read_sites(&bytes, &store.site_tree().await?);
    refuse(&name, &reading.problems, reading.problem_count)?;
    if !reading.ignored.is_empty() {
        let left_out = one_line(&reading.ignored.join(", "));
        say!("columns left out: {left_out}");
    }
    if !reading.left_sheets.is_empty() {
        let left = one_line(&reading.left_sheets.join(", "));
        say!("sheets that were not read: {left}");
    }
    let rows = &reading.list.rows;
    let (plan, digest) = store.plan_sites(rows).await?;
    let problems: Vec<CellProblem> = reading.list.problems(&plan).collect();
    refuse(&name, &problems, problems.len())?;
    if preview {
        show(&plan);
        return Ok(());
    }
    let text = reading.list.to_text();
    let audit = by_console("sites.upload", "");
    let id = store.keep_site_import(&name, &text, audit).await?;
    let audit = by_console("sites.import", name.clone());
    let done = store.apply_site_import(id, rows, &digest, audit).await?;
    say!("import {id}; `sites undo {id}` takes it back");
    let done = done.done;
    say!(
        "{} added, {} changed, {} unchanged",
        done.added,
        done.changed,
        done.unchanged
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let opened = std::fs::File::open(path).with_context(|| format!("reading {name}"))?;
    let mut bytes = Vec::new();
    // One byte more than the bound: the reader refuses it.
    let most = MAX_FILE_BYTES as u64 + 1;
    let read = opened.take(most).read_to_end(&mut bytes);
    read.with_context(|| format!("reading {name}"))?;
    Ok(bytes)
}

fn refuse(name: &str, problems: &[CellProblem], count: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let shown = problems.iter().take(MOST_LISTED);
    let lines: Vec<String> = shown.map(|problem| format!("{name}: {problem}")).collect();
    bail!(
        "nothing was imported; mend these {count} places first:\n{}",
        lines.join("\n")
    )
}

fn told(changes: &[SiteChange]) -> String {
    let told =
        |change: &SiteChange| change_told(change.field.word(), &change.before, &change.after);
    changes.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// What of a new site need not be said: its id stands before it, and it is in use.
const PLAIN: [SiteField; 2] = [SiteField::Key, SiteField::State];

fn show(plan: &SitePlan) {
    for row in &plan.rows {
        let what = match (&row.before, row.moves()) {
            (None, _) => "add",
            (_, true) => "move",
            _ => "change",
        };
        let (line, key) = (row.line, one_line(&row.site.key));
        let mut changes = row.changes.clone();
        changes.retain(|change| row.before.is_some() || !PLAIN.contains(&change.field));
        say!("row {line}: {what} {key}: {}", told(&changes));
    }
    let (added, moved) = (plan.added(), plan.moved());
    let changed = plan.rows.len() - added;
    say!(
        "would be {added} added, {changed} changed ({moved} of them moved), {} unchanged",
        plan.unchanged
    );
}

async fn list_imports(store: &Store) -> Result<()> {
    for import in store.site_imports(Older::newest(SHOWN)).await? {
        say!(
            "{:<6} {:<8} {}  {} added, {} changed  {} {}",
            import.id,
            import.state.word(),
            local_time(import.asked_ms),
            import.done.added,
            import.done.changed,
            one_line(&import.asked_by),
            one_line(&import.file_name)
        );
    }
    Ok(())
}

async fn undo(store: &Store, id: i64) -> Result<()> {
    let audit = by_console("sites.undo", format!("site-import:{id}"));
    match store.undo_site_import(id, audit).await {
        Ok(_) => say!("import {id} was taken back"),
        Err(SiteError::NotUndone(rows)) => {
            let told = rows.iter().take(MOST_LISTED);
            let told: Vec<String> = told
                .map(|row| format!("row {} {}: {}", row.line, one_line(&row.code), row.why))
                .collect();
            bail!("nothing was taken back:\n{}", told.join("\n"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn list(store: &Store) -> Result<()> {
    for site in store.sites().await? {
        let state = if site.is_in_use() { "" } else { "  (retired)" };
        let (key, tier, name) = (&site.key, site.tier.word(), &site.name);
        say!("{key:<12} {tier:<20} {name}{state}");
    }
    Ok(())
}

async fn add(store: &Store, new: NewSiteAt) -> Result<()> {
    let new = NewSite {
        key: new.id,
        name: new.name,
        tier: new.tier,
        parent: new.parent,
        court_code: new.court_code,
    };
    let made = store
        .create_site(&new, by_console("site.create", ""))
        .await?;
    say!("{} was added", one_line(&made.name));
    Ok(())
}

fn find<'t>(tree: &'t SiteTree, key: &str) -> Result<&'t Site> {
    let site = tree.iter().find(|site| site.key == key);
    site.with_context(|| format!("there is no site {key:?}: see `sites list`"))
}

async fn change(
    store: &Store,
    key: &str,
    edit: impl FnOnce(&mut NewSite),
    retired: Option<bool>,
) -> Result<()> {
    let tree = store.site_tree().await?;
    let site = find(&tree, key)?;
    let above = site.parent.and_then(|id| tree.get(id));
    let mut wanted = NewSite {
        key: site.key.clone(),
        name: site.name.clone(),
        tier: site.tier,
        parent: above.map(|above| above.key.clone()),
        court_code: site.court_code.clone(),
    };
    edit(&mut wanted);
    let retired = retired.unwrap_or(!site.is_in_use());
    let audit = by_console("site.change", "");
    let changed = store.change_site(&wanted, retired, site.version, audit);
    let changed = changed.await?;
    let above = changed.parent.and_then(|id| tree.get(id));
    let above = above.map_or("the province", |above| &above.name);
    let state = if changed.is_in_use() {
        "in use"
    } else {
        "retired"
    };
    say!(
        "{key}: {}, below {}, {state}",
        one_line(&changed.name),
        one_line(above)
    );
    Ok(())
}

async fn history(store: &Store, key: &str) -> Result<()> {
    let tree = store.site_tree().await?;
    let site = find(&tree, key)?;
    for entry in store.site_history(site.id, None, SHOWN).await? {
        let mut changes = entry.changes;
        changes.retain(|one| entry.action != "create" || one.field != SiteField::State);
        say!(
            "{}  {:<8} {:<16} {}",
            local_time(entry.time_ms),
            entry.action,
            one_line(&entry.actor),
            told(&changes)
        );
    }
    Ok(())
}
