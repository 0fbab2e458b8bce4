//! One site: made, renamed, moved, retired, restored.

use xiezhi_model::{
    AuditEntry, NewSite, PlannedSite, Site, SiteField, SiteId, SiteRow, SiteTree, plan_sites,
};

use super::write::{By, action_of, write_rows};
use super::{SiteError, locked_tree, site_from, usage};
use crate::row::Write;
use crate::{Store, StoreError, audit};

impl Store {
    /// Adds a site. The audit entry gets its number as the subject.
    ///
    /// # Errors
    /// [`SiteError::Taken`] if its key is in use; [`SiteError::Refused`] if it does not fit into the tree.
    pub async fn create_site(&self, new: &NewSite, audit: AuditEntry) -> Result<Site, SiteError> {
        let mut write = self.database.write().await?;
        let tree = locked_tree(&mut write).await?;
        if tree.iter().any(|site| site.key == new.key) {
            return Err(SiteError::Taken(new.key.clone()));
        }
        let row = SiteRow {
            line: 0,
            site: new.clone(),
            retired: false,
        };
        let planned = one(&tree, row)?.ok_or(SiteError::Stale)?;
        let site = done(&mut write, &tree, planned, audit).await?;
        write.commit().await?;
        Ok(site)
    }

    /// Gives a site new values, all of them: its name, tier, court code, the site above it, and whether it
    /// is in use. `version` is the one that was read. What changes nothing is not written down. The action
    /// of the audit entry becomes `site.change`, `site.move`, `site.retire` or `site.restore`.
    ///
    /// # Errors
    /// [`SiteError::Stale`] if it has another version by now; [`SiteError::StillUsed`] if it is to be
    /// retired with something in use; [`SiteError::Refused`] if it would not fit into the tree.
    pub async fn change_site(
        &self,
        wanted: &NewSite,
        retired: bool,
        version: i64,
        audit: AuditEntry,
    ) -> Result<Site, SiteError> {
        let mut write = self.database.write().await?;
        let tree = locked_tree(&mut write).await?;
        let before = tree.iter().find(|site| site.key == wanted.key);
        let missing = || StoreError::NotFound(format!("site {:?}", wanted.key));
        let before = before.ok_or_else(missing)?;
        if before.version != version {
            return Err(SiteError::Stale);
        }
        if retired && before.is_in_use() {
            let uses = usage::uses(&mut write, before.id, audit.time_ms).await?;
            if !uses.is_empty() {
                return Err(SiteError::StillUsed(uses));
            }
        }
        let row = SiteRow {
            line: 0,
            site: wanted.clone(),
            retired,
        };
        let Some(planned) = one(&tree, row)? else {
            return Ok(before.clone());
        };
        let site = done(&mut write, &tree, planned, audit).await?;
        write.commit().await?;
        Ok(site)
    }
}

/// What one row would change, if anything.
fn one(tree: &SiteTree, row: SiteRow) -> Result<Option<PlannedSite>, SiteError> {
    let mut plan = plan_sites(tree, &[row]);
    match plan.problems.into_iter().next() {
        Some((_, field, problem)) => Err(SiteError::Refused { field, problem }),
        None => Ok(plan.rows.pop()),
    }
}

async fn done(
    write: &mut Write,
    tree: &SiteTree,
    planned: PlannedSite,
    audit: AuditEntry,
) -> Result<Site, SiteError> {
    let (action, rows) = (action_of(&planned), [planned]);
    let by = By {
        import: None,
        action: None,
        audit: &audit,
    };
    let written = write_rows(write, tree, &rows, &by).await?;
    let [planned] = rows;
    let id = written.first().copied().unwrap_or(SiteId(0));
    let fields: Vec<&str> = planned.changes.iter().map(|one| one.field.word()).collect();
    let mut audit = AuditEntry {
        action: audited(action).to_owned(),
        subject: format!("site:{id}"),
        ..audit
    }
    .with("key", planned.site.key.clone())
    .with("fields", fields.join(","));
    let moved = planned
        .changes
        .iter()
        .find(|one| one.field == SiteField::Parent);
    if let Some(moved) = moved {
        audit = audit
            .with("from", moved.before.clone())
            .with("to", moved.after.clone());
    }
    audit::append(write, &audit).await?;
    let sql = "SELECT id, site_key, name, tier, parent_id, court_code, retired_ms, version \
               FROM sites WHERE id = $1";
    let found = sqlx::query(sql).bind(id.0).fetch_one(&mut **write).await?;
    Ok(site_from(&found)?)
}

/// The word of an act in the audit record.
fn audited(action: &str) -> &'static str {
    match action {
        "create" => "site.create",
        "move" => "site.move",
        "retire" => "site.retire",
        "restore" => "site.restore",
        _ => "site.change",
    }
}
