//! Takes an import of sites back, as long as nothing of it was changed or used since.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use xiezhi_model::{
    AuditEntry, NewSite, PlannedSite, Site, SiteChange, SiteField, SiteId, SiteRow, SiteTree, Tier,
    plan_sites,
};

use super::history::changes_from;
use super::imports::{SiteImportFile, decide, locked, told};
use super::write::{By, NewChange, insert_changes, write_rows};
use super::{SiteError, locked_tree, usage};
use crate::register::{ImportState, UndoObstacle, forget_stale};
use crate::row::{self, Write};
use crate::{Store, StoreError, audit, authority};

/// What the history says of it.
const UNDO: &str = "undo";

/// What an import did to one site.
struct Done {
    change: i64,
    line: u32,
    site: SiteId,
    is_new: bool,
    changes: Vec<SiteChange>,
}

impl Store {
    /// Takes an import back: what it added is gone, what it changed is as before. All of it or nothing.
    ///
    /// # Errors
    /// [`SiteError::NotUndone`] with every site that was changed or used since; [`SiteError::Over`] if it
    /// is not one that was done.
    pub async fn undo_site_import(
        &self,
        id: i64,
        audit: AuditEntry,
    ) -> Result<SiteImportFile, SiteError> {
        let mut write = self.database.write().await?;
        let applied = locked(&mut write, id, ImportState::Applied).await?;
        let tree = locked_tree(&mut write).await?;
        let done = done_by(&mut write, id).await?;
        let (new, changed): (Vec<Done>, Vec<Done>) = done.into_iter().partition(|one| one.is_new);
        let mut obstacles = changed_since(&tree, new.iter().chain(&changed));
        let rows: Vec<SiteRow> = changed
            .iter()
            .filter_map(|one| row_before(&tree, one))
            .collect();
        let plan = plan_sites(&tree, &rows);
        for (line, field, problem) in &plan.problems {
            obstacles.push(UndoObstacle {
                line: *line,
                code: field.word().to_owned(),
                why: match problem {
                    xiezhi_model::SiteProblem::Circle(_) => "it would stand above itself",
                    _ => "what stood above it does not fit any more",
                },
                word: "misfit",
                ..UndoObstacle::default()
            });
        }
        if !obstacles.is_empty() {
            return Err(SiteError::NotUndone(obstacles));
        }
        put_back(&mut write, &tree, &plan.rows, id, &audit).await?;
        take_away(&mut write, &tree, &new, id, &audit).await?;
        authority::count(&mut write).await?;
        let file = SiteImportFile {
            state: ImportState::Undone,
            decided_ms: Some(audit.time_ms),
            decided_by: audit.actor.to_string(),
            ..applied
        };
        decide(&mut write, &file).await?;
        let audit = audit.with("file", row::cut(&file.file_name, 200));
        audit::append(&mut write, &told(audit, file.done)).await?;
        write.commit().await?;
        Ok(file)
    }
}

async fn done_by(write: &mut Write, import: i64) -> Result<Vec<Done>, StoreError> {
    let sql = "SELECT id, site_id, line, action, changes FROM site_changes \
               WHERE import_id = $1 ORDER BY id";
    let rows = sqlx::query(sql)
        .bind(import)
        .fetch_all(&mut **write)
        .await?;
    rows.iter().map(done_from).collect()
}

fn done_from(found: &AnyRow) -> Result<Done, StoreError> {
    Ok(Done {
        change: row::number(found, "id")?,
        line: u32::try_from(row::number(found, "line")?).unwrap_or(0),
        site: SiteId(row::number(found, "site_id")?),
        is_new: row::text(found, "action")? == "create",
        changes: changes_from(found)?,
    })
}

fn changed_since<'d>(tree: &SiteTree, done: impl Iterator<Item = &'d Done>) -> Vec<UndoObstacle> {
    let changed = done.filter_map(|one| {
        let site = tree.get(one.site);
        let is_same = site.is_some_and(|site| site.version == one.change);
        (!is_same).then(|| UndoObstacle {
            line: one.line,
            code: site.map(|site| site.key.clone()).unwrap_or_default(),
            why: "changed since",
            word: "changed",
            ..UndoObstacle::default()
        })
    });
    changed.collect()
}

/// What a site held before.
fn row_before(tree: &SiteTree, one: &Done) -> Option<SiteRow> {
    let site: &Site = tree.get(one.site)?;
    let above = site.parent.and_then(|id| tree.get(id));
    let mut row = SiteRow {
        line: one.line,
        site: NewSite {
            key: site.key.clone(),
            name: site.name.clone(),
            tier: site.tier,
            parent: above.map(|above| above.key.clone()),
            court_code: site.court_code.clone(),
        },
        retired: !site.is_in_use(),
    };
    for SiteChange { field, before, .. } in &one.changes {
        let site = &mut row.site;
        match field {
            SiteField::Key => {}
            SiteField::Name => site.name.clone_from(before),
            SiteField::Tier => site.tier = Tier::from_word(before)?,
            SiteField::Parent => site.parent = (!before.is_empty()).then(|| before.clone()),
            SiteField::CourtCode => site.court_code.clone_from(before),
            SiteField::State => row.retired = before == "retired",
        }
    }
    Some(row)
}

async fn put_back(
    write: &mut Write,
    tree: &SiteTree,
    rows: &[PlannedSite],
    import: i64,
    audit: &AuditEntry,
) -> Result<(), SiteError> {
    for row in rows.iter().filter(|row| row.retired) {
        let there = row.before.as_ref().filter(|site| site.is_in_use());
        let Some(site) = there else { continue };
        let uses = usage::uses(write, site.id, audit.time_ms).await?;
        if !uses.is_empty() {
            return Err(SiteError::StillUsed(uses));
        }
    }
    let by = By {
        import: Some(import),
        action: Some(UNDO),
        audit,
    };
    write_rows(write, tree, rows, &by).await?;
    Ok(())
}

/// Deletes what the import had added.
async fn take_away(
    write: &mut Write,
    tree: &SiteTree,
    new: &[Done],
    import: i64,
    audit: &AuditEntry,
) -> Result<(), SiteError> {
    // What nobody can decide on any more must not hold a site.
    forget_stale(write, audit.time_ms).await?;
    usage::refile(write, tree, import).await?;
    let named = usage::named_of_import(write, import).await?;
    let obstacles = new.iter().filter_map(|one| {
        let namer = named.get(&one.site)?;
        Some(UndoObstacle {
            line: one.line,
            code: tree
                .get(one.site)
                .map_or_else(String::new, |site| site.key.clone()),
            why: namer.why,
            word: namer.word,
            ..UndoObstacle::default()
        })
    });
    let obstacles: Vec<UndoObstacle> = obstacles.collect();
    if !obstacles.is_empty() {
        return Err(SiteError::NotUndone(obstacles));
    }
    let mut version = row::numbers_before(write, "site_changes", new.len()).await?;
    let mut deepest_first: BTreeMap<(usize, SiteId), &Done> = BTreeMap::new();
    for one in new {
        let depth = tree.ancestors(one.site).len();
        deepest_first.insert((usize::MAX - depth, one.site), one);
    }
    let mut changes = Vec::new();
    for one in deepest_first.into_values() {
        // Tokens that acted for an account there end with the site; the audit log keeps who made them.
        for sql in [
            "DELETE FROM api_tokens WHERE site_id = $1 AND user_id IS NOT NULL",
            "DELETE FROM sites WHERE id = $1",
        ] {
            let query = sqlx::query(sql).bind(one.site.0);
            query.execute(&mut **write).await?;
        }
        version += 1;
        let back = one.changes.iter().map(|change| SiteChange {
            field: change.field,
            before: change.after.clone(),
            after: change.before.clone(),
        });
        changes.push(NewChange {
            id: version,
            site: one.site,
            import: Some((import, one.line)),
            action: UNDO,
            changes: back.collect(),
        });
    }
    insert_changes(write, &changes, audit).await?;
    Ok(())
}
