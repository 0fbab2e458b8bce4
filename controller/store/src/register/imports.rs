//! Imports: kept while somebody looks at what they would do, then done in one transaction.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;
use xiezhi_model::{Actor, AuditEntry, Item, RegisterKind, Scope, SiteId};

use super::RegisterError;
use super::plan::{ImportRow, PlannedRow, plan};
use super::rows::{NewChange, Source, Value, insert_changes, insert_items, update_item};
use crate::row::{self, Write};
use crate::{Older, Store, StoreError, audit, reach};

/// How long a file waits for a decision.
const WAITS_MS: i64 = 86_400_000;

/// Most files of one account that wait; its oldest is forgotten first. What others upload pushes none out.
const MOST_WAITING: usize = 10;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// Uploaded; nothing was changed.
    Waiting,
    /// Done.
    Applied,
    /// Done and taken back.
    Undone,
}

impl ImportState {
    /// Stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Applied => "applied",
            Self::Undone => "undone",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Waiting, Self::Applied, Self::Undone];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub kind: RegisterKind,
    /// Name of the file.
    pub file_name: String,
    /// How far it is.
    pub state: ImportState,
    /// When it was uploaded, Unix milliseconds.
    pub asked_ms: i64,
    /// By whom, as an [`Actor`] displays.
    pub asked_by: String,
    /// When it was last decided on.
    pub decided_ms: Option<i64>,
    /// By whom; empty while it waits.
    pub decided_by: String,
    /// Rows that added something.
    pub added: i64,
    /// Rows that changed something.
    pub changed: i64,
    /// Rows that were so already.
    pub unchanged: i64,
}

/// Whether something that was uploaded then has waited for too long.
pub(crate) const fn is_stale(asked_ms: i64, now_ms: i64) -> bool {
    asked_ms < now_ms.saturating_sub(WAITS_MS)
}

impl Import {
    /// Whether it still waits for a decision: what nobody decided on within a day is over.
    #[must_use]
    pub fn waits(&self, now_ms: i64) -> bool {
        self.state == ImportState::Waiting && !is_stale(self.asked_ms, now_ms)
    }
}

const COLUMNS: &str = "i.id, i.kind, i.file_name, i.state, i.asked_ms, i.asked_by, i.decided_ms, \
                       i.decided_by, i.added, i.changed, i.unchanged";

/// Only imports all of whose sites are in the scope; of sites that are gone, with all above them, the
/// province alone has a scope.
fn within(scope: &Scope) -> String {
    match scope.sites() {
        None => String::new(),
        Some(_) => {
            let seen = reach::sites("s.site_id", scope).replace(" IN ", " NOT IN ");
            format!(
                " AND i.province_only = 0 AND NOT EXISTS (SELECT 1 FROM register_import_sites s WHERE s.import_id = i.id{seen})"
            )
        }
    }
}

impl Store {
    /// Keeps an uploaded file's rows, as a text of the caller's, until somebody decides, or for a day. Of one
    /// actor ten wait at most; the oldest is forgotten, and the audit log says so.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_import(
        &self,
        kind: RegisterKind,
        file_name: &str,
        sheet: &str,
        sites: &BTreeSet<SiteId>,
        audit: AuditEntry,
    ) -> Result<i64, StoreError> {
        let mut write = self.database.write().await?;
        let id = row::count_up(&mut write, "register_imports", 1).await?;
        forget_old(&mut write, &audit).await?;
        let sql = "INSERT INTO register_imports (id, kind, file_name, state, sheet, asked_ms, asked_by, \
                   decided_by, added, changed, unchanged) VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, 0, 0)";
        sqlx::query(sql)
            .bind(id)
            .bind(kind.number())
            .bind(row::storable(file_name))
            .bind(ImportState::Waiting.word())
            .bind(row::storable(sheet))
            .bind(audit.time_ms)
            .bind(audit.actor.to_string())
            .execute(&mut *write)
            .await?;
        for site in sites {
            let sql = "INSERT INTO register_import_sites (import_id, site_id) VALUES ($1, $2)";
            let query = sqlx::query(sql).bind(id).bind(site.0);
            query.execute(&mut *write).await?;
        }
        let audit = AuditEntry {
            subject: format!("import:{id}"),
            ..audit
        };
        let audit = audit
            .with("kind", kind.word())
            .with("file", row::cut(file_name, 200));
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Imports that concern no site outside a scope, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn imports(&self, scope: &Scope, page: Older) -> Result<Vec<Import>, StoreError> {
        let within = within(scope);
        let sql = format!(
            "SELECT {COLUMNS} FROM register_imports i WHERE 1 = 1{within}{}",
            page.sql("i.id")
        );
        let mut source = Source::Reading(&self.database);
        let rows = source.rows(sql, Vec::new()).await?;
        rows.iter().map(import_from).collect()
    }

    /// One import of a scope, with the text that was kept; it is empty once it was decided.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn import(
        &self,
        id: i64,
        scope: &Scope,
    ) -> Result<Option<(Import, String)>, StoreError> {
        let within = within(scope);
        let sql =
            format!("SELECT {COLUMNS}, i.sheet FROM register_imports i WHERE i.id = $1{within}");
        let mut source = Source::Reading(&self.database);
        let rows = source.rows(sql, vec![Value::Number(id)]).await?;
        let both = |found: &AnyRow| Ok((import_from(found)?, row::text(found, "sheet")?));
        rows.first().map(both).transpose()
    }

    /// Does an import: all of it or nothing. `rows` are those of the kept file, `digest` that of the plan
    /// that somebody saw.
    ///
    /// # Errors
    /// [`RegisterError::Moved`] if it would do something else by now; [`RegisterError::Over`] if it was
    /// decided before, or uploaded more than a day ago.
    pub async fn apply_import(
        &self,
        id: i64,
        rows: &[ImportRow],
        digest: &str,
        audit: AuditEntry,
    ) -> Result<Import, RegisterError> {
        let mut write = self.database.write().await?;
        let waiting = locked(&mut write, id, ImportState::Waiting).await?;
        if !waiting.waits(audit.time_ms) {
            return Err(RegisterError::Over);
        }
        let plan = plan(&mut Source::Writing(&mut write), waiting.kind, rows).await?;
        if !plan.problems.is_empty() || plan.digest() != digest {
            return Err(RegisterError::Moved);
        }
        let added = row::signed(plan.added() as u64);
        let import = Import {
            state: ImportState::Applied,
            decided_ms: Some(audit.time_ms),
            decided_by: audit.actor.to_string(),
            added,
            changed: row::signed(plan.rows.len() as u64).saturating_sub(added),
            unchanged: row::signed(plan.unchanged as u64),
            ..waiting
        };
        do_all(&mut write, &import, plan.rows, &audit).await?;
        decide(&mut write, &import).await?;
        audit::append(&mut write, &told(audit, &import)).await?;
        write.commit().await?;
        Ok(import)
    }

    /// Forgets a file that waits: its uploader thought better of it.
    ///
    /// # Errors
    /// [`RegisterError::Over`] if it does not wait, or is not there.
    pub async fn give_up_import(&self, id: i64, audit: AuditEntry) -> Result<(), RegisterError> {
        let mut write = self.database.write().await?;
        let import = locked(&mut write, id, ImportState::Waiting).await?;
        forget(&mut write, &import, audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// What the audit record says of an import.
pub(super) fn told(audit: AuditEntry, import: &Import) -> AuditEntry {
    audit
        .with("kind", import.kind.word())
        .with("file", row::cut(&import.file_name, 200))
        .with("added", import.added.to_string())
        .with("changed", import.changed.to_string())
}

/// Which of the waiting are forgotten when somebody uploads another one: what waits for a day, and the
/// oldest of the same actor. Each comes with when and by whom it was uploaded, the newest first.
pub(crate) fn forgotten<T>(
    waiting: Vec<T>,
    upload: &AuditEntry,
    asked: fn(&T) -> (i64, &str),
) -> Vec<T> {
    let actor = upload.actor.to_string();
    let mut own = 0;
    let mut gone = waiting;
    gone.retain(|one| {
        let (asked_ms, asked_by) = asked(one);
        own += usize::from(asked_by == actor);
        is_stale(asked_ms, upload.time_ms) || (asked_by == actor && own >= MOST_WAITING)
    });
    gone
}

async fn forget_old(write: &mut Write, upload: &AuditEntry) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM register_imports i WHERE i.state = 'waiting' ORDER BY i.id DESC"
    );
    let rows = Source::Writing(write).rows(sql, Vec::new()).await?;
    let waiting: Vec<Import> = rows.iter().map(import_from).collect::<Result<_, _>>()?;
    for import in forgotten(waiting, upload, |one| (one.asked_ms, one.asked_by.as_str())) {
        forget(write, &import, by_itself(upload.time_ms, import.id)).await?;
    }
    Ok(())
}

/// Forgets what nobody decided on within a day.
pub(crate) async fn forget_stale(write: &mut Write, now_ms: i64) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM register_imports i WHERE i.state = 'waiting' ORDER BY i.id DESC"
    );
    let rows = Source::Writing(write).rows(sql, Vec::new()).await?;
    for found in &rows {
        let import = import_from(found)?;
        if is_stale(import.asked_ms, now_ms) {
            forget(write, &import, by_itself(now_ms, import.id)).await?;
        }
    }
    Ok(())
}

fn by_itself(now_ms: i64, import: i64) -> AuditEntry {
    let (action, subject) = ("register.forget", format!("import:{import}"));
    AuditEntry::new(now_ms, Actor::System, action, subject)
}

async fn forget(write: &mut Write, import: &Import, audit: AuditEntry) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM register_import_sites WHERE import_id = $1",
        "DELETE FROM register_imports WHERE id = $1",
    ] {
        let query = sqlx::query(sql).bind(import.id);
        query.execute(&mut **write).await?;
    }
    let entry = audit
        .with("kind", import.kind.word())
        .with("file", row::cut(&import.file_name, 200))
        .with("asked_by", &import.asked_by);
    audit::append(write, &entry).await?;
    Ok(())
}

/// The import, if it is in this state.
pub(super) async fn locked(
    write: &mut Write,
    id: i64,
    state: ImportState,
) -> Result<Import, RegisterError> {
    import_of(&mut Source::Writing(write), id, state).await
}

/// The same, wherever statements run.
pub(super) async fn import_of(
    source: &mut Source<'_>,
    id: i64,
    state: ImportState,
) -> Result<Import, RegisterError> {
    let sql = format!("SELECT {COLUMNS} FROM register_imports i WHERE i.id = $1");
    let rows = source.rows(sql, vec![Value::Number(id)]).await?;
    let import = rows.first().map(import_from).transpose()?;
    import
        .filter(|import| import.state == state)
        .ok_or(RegisterError::Over)
}

pub(super) async fn decide(write: &mut Write, import: &Import) -> Result<(), StoreError> {
    let sql = "UPDATE register_imports SET state = $2, sheet = '', decided_ms = $3, decided_by = $4, \
               added = $5, changed = $6, unchanged = $7 WHERE id = $1";
    sqlx::query(sql)
        .bind(import.id)
        .bind(import.state.word())
        .bind(import.decided_ms)
        .bind(&import.decided_by)
        .bind(import.added)
        .bind(import.changed)
        .bind(import.unchanged)
        .execute(&mut **write)
        .await?;
    Ok(())
}

async fn do_all(
    write: &mut Write,
    import: &Import,
    rows: Vec<PlannedRow>,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let mut item = count_before(write, "register_items", import.added).await?;
    let all = row::signed(rows.len() as u64);
    let mut version = count_before(write, "register_changes", all).await?;
    let (mut new, mut changes) = (Vec::new(), Vec::new());
    for row in rows {
        version += 1;
        let is_new = row.before.is_none();
        if is_new {
            item += 1;
        }
        let after = Item {
            id: row.before.as_ref().map_or(item, |item| item.id),
            kind: import.kind,
            site: row.site,
            values: row.values,
            created_ms: row.before.map_or(audit.time_ms, |item| item.created_ms),
            changed_ms: audit.time_ms,
            version,
        };
        changes.push(NewChange {
            id: version,
            item: after.id,
            import: Some((import.id, row.line)),
            action: if is_new { "create" } else { "change" },
            changes: row.changes,
        });
        match is_new {
            true => new.push(after),
            false => update_item(write, &after).await?,
        }
    }
    insert_items(write, &new).await?;
    insert_changes(write, &changes, audit).await
}

/// Reserves `by` numbers and gives the one before the first of them.
pub(super) async fn count_before(
    write: &mut Write,
    name: &str,
    by: i64,
) -> Result<i64, StoreError> {
    Ok(row::count_up(write, name, by).await?.saturating_sub(by))
}

fn import_from(found: &AnyRow) -> Result<Import, StoreError> {
    let (kind, state) = (row::number(found, "kind")?, row::text(found, "state")?);
    let impossible = || StoreError::Impossible(format!("import of kind {kind}, {state:?}"));
    Ok(Import {
        id: row::number(found, "id")?,
        kind: RegisterKind::from_number(kind).ok_or_else(impossible)?,
        file_name: row::text(found, "file_name")?,
        state: ImportState::from_word(&state).ok_or_else(impossible)?,
        asked_ms: row::number(found, "asked_ms")?,
        asked_by: row::text(found, "asked_by")?,
        decided_ms: row::optional(found, "decided_ms")?,
        decided_by: row::text(found, "decided_by")?,
        added: row::number(found, "added")?,
        changed: row::number(found, "changed")?,
        unchanged: row::number(found, "unchanged")?,
    })
}
