//! Writes planned rows: sites that are new with those above them first, then those that change, then what
//! happened to each.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use xiezhi_model::{AuditEntry, PlannedSite, SiteChange, SiteId, SiteTree};

use crate::row::{self, Write};
use crate::{StoreError, authority};

/// Rows that one statement writes: 200 × 9 values are within what both databases take.
const ROWS_AT_ONCE: usize = 200;

/// An entry of the history in the making.
#[derive(Debug)]
pub(super) struct NewChange {
    pub(super) id: i64,
    pub(super) site: SiteId,
    /// The import and the row of its file.
    pub(super) import: Option<(i64, u32)>,
    pub(super) action: &'static str,
    pub(super) changes: Vec<SiteChange>,
}

/// On what account rows are written.
pub(super) struct By<'a> {
    /// The import that does it.
    pub(super) import: Option<i64>,
    /// What the history says of each; `None`: what it is.
    pub(super) action: Option<&'static str>,
    /// Who, and when.
    pub(super) audit: &'a AuditEntry,
}

/// Does planned rows and keeps their history. `tree` is the one that they were planned against. Gives the
/// number of each row's site.
pub(super) async fn write_rows(
    write: &mut Write,
    tree: &SiteTree,
    rows: &[PlannedSite],
    by: &By<'_>,
) -> Result<Vec<SiteId>, StoreError> {
    let new = rows.iter().filter(|row| row.before.is_none()).count();
    let mut site = row::numbers_before(write, "sites", new).await?;
    let mut version = row::numbers_before(write, "site_changes", rows.len()).await?;
    let mut numbers: BTreeMap<&str, SiteId> = tree
        .iter()
        .map(|site| (site.key.as_str(), site.id))
        .collect();
    let mut changes = Vec::new();
    for row in rows {
        version += 1;
        let id = match &row.before {
            Some(before) => before.id,
            None => {
                site += 1;
                numbers.insert(&row.site.key, SiteId(site));
                SiteId(site)
            }
        };
        changes.push(NewChange {
            id: version,
            site: id,
            import: by.import.map(|import| (import, row.line)),
            action: by.action.unwrap_or_else(|| action_of(row)),
            changes: row.changes.clone(),
        });
    }
    let written: Vec<Written<'_>> = rows
        .iter()
        .zip(&changes)
        .map(|(row, change)| Written::new(row, change, &numbers, by.audit.time_ms))
        .collect();
    insert(write, in_order(&written)).await?;
    for one in written.iter().filter(|one| !one.is_new) {
        update(write, one).await?;
    }
    insert_changes(write, &changes, by.audit).await?;
    authority::count(write).await?;
    Ok(changes.iter().map(|change| change.site).collect())
}

/// What is said of a change: the weightiest part of it.
pub(super) fn action_of(row: &PlannedSite) -> &'static str {
    match &row.before {
        None => "create",
        Some(before) if before.is_in_use() && row.retired => "retire",
        Some(before) if !before.is_in_use() && !row.retired => "restore",
        Some(_) if row.moves() => "move",
        Some(_) => "change",
    }
}

/// A row of the table.
struct Written<'a> {
    id: SiteId,
    is_new: bool,
    row: &'a PlannedSite,
    parent: Option<SiteId>,
    retired_ms: Option<i64>,
    version: i64,
}

impl<'a> Written<'a> {
    fn new(
        row: &'a PlannedSite,
        change: &NewChange,
        numbers: &BTreeMap<&str, SiteId>,
        now_ms: i64,
    ) -> Self {
        let parent = row.site.parent.as_deref();
        let since = row.before.as_ref().and_then(|site| site.retired_ms);
        Self {
            id: change.site,
            is_new: row.before.is_none(),
            row,
            parent: parent.and_then(|key| numbers.get(key)).copied(),
            retired_ms: row.retired.then_some(since.unwrap_or(now_ms)),
            version: change.id,
        }
    }
}

/// New sites, each behind the one above it.
fn in_order<'w, 'a>(written: &'w [Written<'a>]) -> Vec<&'w Written<'a>> {
    let new: BTreeMap<SiteId, &Written<'_>> = written
        .iter()
        .filter(|one| one.is_new)
        .map(|one| (one.id, one))
        .collect();
    let depth = |one: &Written<'_>| {
        let (mut depth, mut next) = (0_usize, one.parent);
        while let Some(above) = next.and_then(|id| new.get(&id)) {
            (depth, next) = (depth + 1, above.parent);
        }
        depth
    };
    let mut order: Vec<_> = new.values().copied().collect();
    order.sort_by_cached_key(|one| depth(one));
    order
}

async fn insert(write: &mut Write, new: Vec<&Written<'_>>) -> Result<(), StoreError> {
    // Whether there is a parent is the same for all of a statement: a NULL has no type of its own.
    let (roots, below): (Vec<_>, Vec<_>) = new.into_iter().partition(|one| one.parent.is_none());
    for (some, column) in [(roots, ""), (below, ", parent_id")] {
        for some in some.chunks(ROWS_AT_ONCE) {
            let columns = if column.is_empty() { 6 } else { 7 };
            let places = row::placeholders(some.len(), columns);
            let sql = format!(
                "INSERT INTO sites (id, site_key, name, tier, court_code, version{column}) VALUES {places}"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
            for one in some {
                let site = &one.row.site;
                query = query
                    .bind(one.id.0)
                    .bind(row::storable(&site.key))
                    .bind(row::storable(&site.name))
                    .bind(site.tier.word())
                    .bind(row::storable(&site.court_code))
                    .bind(one.version);
                if let Some(parent) = one.parent {
                    query = query.bind(parent.0);
                }
            }
            query.execute(&mut **write).await?;
        }
    }
    Ok(())
}

async fn update(write: &mut Write, one: &Written<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE sites SET name = $2, tier = $3, parent_id = $4, court_code = $5, \
               retired_ms = $6, version = $7 WHERE id = $1";
    let site = &one.row.site;
    sqlx::query(sql)
        .bind(one.id.0)
        .bind(row::storable(&site.name))
        .bind(site.tier.word())
        .bind(one.parent.map(|parent| parent.0))
        .bind(row::storable(&site.court_code))
        .bind(one.retired_ms)
        .bind(one.version)
        .execute(&mut **write)
        .await?;
    Ok(())
}

pub(super) async fn insert_changes(
    write: &mut Write,
    changes: &[NewChange],
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let actor = audit.actor.to_string();
    // Whether an import stands behind them is the same for all.
    let (import, place) = match changes.first().and_then(|change| change.import) {
        Some((import, _)) => (", import_id", format!(", {import}")),
        None => ("", String::new()),
    };
    for some in changes.chunks(ROWS_AT_ONCE) {
        let places = row::placeholders(some.len(), 7).replace(')', &format!("{place})"));
        let sql = format!(
            "INSERT INTO site_changes (id, site_id, line, time_ms, actor, action, changes{import}) \
             VALUES {places}"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for change in some {
            query = query
                .bind(change.id)
                .bind(change.site.0)
                .bind(change.import.map_or(0, |(_, line)| i64::from(line)))
                .bind(audit.time_ms)
                .bind(actor.clone())
                .bind(change.action)
                .bind(super::history::changes_text(&change.changes)?);
        }
        query.execute(&mut **write).await?;
    }
    Ok(())
}
