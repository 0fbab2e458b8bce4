//! Imports of lists: kept while somebody looks at what they would do, then done in one transaction.

use sqlx::any::AnyRow;
use xiezhi_evidence::Hash;
use xiezhi_model::{Actor, AuditEntry, NewSite, SitePlan, SiteRow, plan_sites};

use super::write::{By, write_rows};
use super::{SiteError, locked_tree};
use crate::register::{ImportState, forgotten, is_stale};
use crate::row::{self, Write};
use crate::{Older, Store, StoreError, audit};

/// What a list changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiteImport {
    /// Sites that were not there.
    pub added: usize,
    /// Sites that were changed, moved or restored.
    pub changed: usize,
    /// Sites that were already so.
    pub unchanged: usize,
}

/// One uploaded list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteImportFile {
    /// Its number.
    pub id: i64,
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
    /// What it did.
    pub done: SiteImport,
}

impl SiteImportFile {
    /// Whether it still waits for a decision: what nobody decided on within a day is over.
    #[must_use]
    pub fn waits(&self, now_ms: i64) -> bool {
        self.state == ImportState::Waiting && !is_stale(self.asked_ms, now_ms)
    }
}

const COLUMNS: &str = "id, file_name, state, asked_ms, asked_by, decided_ms, decided_by, added, \
                       changed, unchanged";

/// Digest of all that a plan would do: who consents names the plan that he saw.
fn digest(plan: &SitePlan) -> String {
    let told = plan.rows.iter().map(|row| {
        let site = row.before.as_ref().map_or(0, |site| site.id.0);
        format!("{} {site} {:?} {:?}\n", row.line, row.site.key, row.changes)
    });
    Hash::of(told.collect::<String>().as_bytes()).to_string()
}

impl Store {
    /// What a list would do now, with the digest of it.
    ///
    /// # Errors
    /// If the database fails. Problems of rows are in the plan.
    pub async fn plan_sites(&self, rows: &[SiteRow]) -> Result<(SitePlan, String), StoreError> {
        let plan = plan_sites(&self.site_tree().await?, rows);
        let digest = digest(&plan);
        Ok((plan, digest))
    }

    /// Adds and changes sites by key in one step, whatever their order. Sites that the list does not name
    /// stay as they are.
    ///
    /// # Errors
    /// [`SiteError::Unfit`] with every problem if any row does not fit.
    pub async fn import_sites(
        &self,
        sites: &[NewSite],
        audit: AuditEntry,
    ) -> Result<SiteImport, SiteError> {
        let row = |(at, site): (usize, &NewSite)| SiteRow {
            line: u32::try_from(at + 1).unwrap_or(u32::MAX),
            site: site.clone(),
            retired: false,
        };
        let rows: Vec<SiteRow> = sites.iter().enumerate().map(row).collect();
        let mut write = self.database.write().await?;
        let done = do_all(&mut write, &rows, None, None, &audit).await?;
        audit::append(&mut write, &told(audit, done)).await?;
        write.commit().await?;
        Ok(done)
    }

    /// Keeps an uploaded list's rows, as a text of the caller's, until somebody decides, or for a day. Of one
    /// actor ten wait at most; the oldest is forgotten, and the audit log says so.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_site_import(
        &self,
        file_name: &str,
        sheet: &str,
        audit: AuditEntry,
    ) -> Result<i64, StoreError> {
        let mut write = self.database.write().await?;
        let id = row::count_up(&mut write, "site_imports", 1).await?;
        forget_old(&mut write, &audit).await?;
        let sql = "INSERT INTO site_imports (id, file_name, state, sheet, asked_ms, asked_by, \
                   decided_by, added, changed, unchanged) VALUES ($1, $2, $3, $4, $5, $6, '', 0, 0, 0)";
        sqlx::query(sql)
            .bind(id)
            .bind(row::storable(file_name))
            .bind(ImportState::Waiting.word())
            .bind(row::storable(sheet))
            .bind(audit.time_ms)
            .bind(audit.actor.to_string())
            .execute(&mut *write)
            .await?;
        let audit = AuditEntry {
            subject: format!("site-import:{id}"),
            ..audit
        };
        let audit = audit.with("file", row::cut(file_name, 200));
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Imports, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site_imports(&self, page: Older) -> Result<Vec<SiteImportFile>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM site_imports WHERE 1 = 1{}",
            page.sql("id")
        ));
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        rows.iter().map(file_from).collect()
    }

    /// One import with the text that was kept; it is empty once it was decided.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site_import(
        &self,
        id: i64,
    ) -> Result<Option<(SiteImportFile, String)>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, sheet FROM site_imports WHERE id = $1"
        ));
        let query = sqlx::query(sql).bind(id);
        let found = query.fetch_optional(self.database.read()).await?;
        let both = |found: &AnyRow| Ok((file_from(found)?, row::text(found, "sheet")?));
        found.as_ref().map(both).transpose()
    }

    /// Does an import: all of it or nothing. `rows` are those of the kept file, `digest` that of the plan
    /// that somebody saw.
    ///
    /// # Errors
    /// [`SiteError::Moved`] if it would do something else by now; [`SiteError::Over`] if it was decided
    /// before, or uploaded more than a day ago.
    pub async fn apply_site_import(
        &self,
        id: i64,
        rows: &[SiteRow],
        digest: &str,
        audit: AuditEntry,
    ) -> Result<SiteImportFile, SiteError> {
        let mut write = self.database.write().await?;
        let waiting = locked(&mut write, id, ImportState::Waiting).await?;
        if !waiting.waits(audit.time_ms) {
            return Err(SiteError::Over);
        }
        let done = do_all(&mut write, rows, Some(id), Some(digest), &audit).await;
        let done = done.map_err(|error| match error {
            SiteError::Unfit(_) => SiteError::Moved,
            other => other,
        })?;
        let file = SiteImportFile {
            state: ImportState::Applied,
            decided_ms: Some(audit.time_ms),
            decided_by: audit.actor.to_string(),
            done,
            ..waiting
        };
        decide(&mut write, &file).await?;
        let audit = audit.with("file", row::cut(&file.file_name, 200));
        audit::append(&mut write, &told(audit, done)).await?;
        write.commit().await?;
        Ok(file)
    }

    /// Forgets a list that waits: its uploader thought better of it.
    ///
    /// # Errors
    /// [`SiteError::Over`] if it does not wait, or is not there.
    pub async fn give_up_site_import(&self, id: i64, audit: AuditEntry) -> Result<(), SiteError> {
        let mut write = self.database.write().await?;
        let file = locked(&mut write, id, ImportState::Waiting).await?;
        forget(&mut write, &file, audit).await?;
        write.commit().await?;
        Ok(())
    }
}

/// What the audit record says of an import.
pub(super) fn told(audit: AuditEntry, done: SiteImport) -> AuditEntry {
    audit
        .with("added", done.added.to_string())
        .with("changed", done.changed.to_string())
}

async fn do_all(
    write: &mut Write,
    rows: &[SiteRow],
    import: Option<i64>,
    seen: Option<&str>,
    audit: &AuditEntry,
) -> Result<SiteImport, SiteError> {
    let tree = locked_tree(write).await?;
    let plan = plan_sites(&tree, rows);
    if !plan.problems.is_empty() {
        return Err(SiteError::Unfit(Box::new(plan)));
    }
    if seen.is_some_and(|seen| seen != digest(&plan)) {
        return Err(SiteError::Moved);
    }
    let by = By {
        import,
        action: None,
        audit,
    };
    write_rows(write, &tree, &plan.rows, &by).await?;
    let added = plan.added();
    Ok(SiteImport {
        added,
        changed: plan.rows.len() - added,
        unchanged: plan.unchanged,
    })
}

async fn forget_old(write: &mut Write, upload: &AuditEntry) -> Result<(), StoreError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM site_imports WHERE state = 'waiting' ORDER BY id DESC"
    ));
    let rows = sqlx::query(sql).fetch_all(&mut **write).await?;
    let waiting: Vec<SiteImportFile> = rows.iter().map(file_from).collect::<Result<_, _>>()?;
    for file in forgotten(waiting, upload, |one| (one.asked_ms, one.asked_by.as_str())) {
        let (action, subject) = ("sites.forget", format!("site-import:{}", file.id));
        let entry = AuditEntry::new(upload.time_ms, Actor::System, action, subject);
        forget(write, &file, entry).await?;
    }
    Ok(())
}

async fn forget(
    write: &mut Write,
    file: &SiteImportFile,
    audit: AuditEntry,
) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM site_imports WHERE id = $1").bind(file.id);
    query.execute(&mut **write).await?;
    let entry = audit
        .with("file", row::cut(&file.file_name, 200))
        .with("asked_by", &file.asked_by);
    audit::append(write, &entry).await?;
    Ok(())
}

/// The import, if it is in this state.
pub(super) async fn locked(
    write: &mut Write,
    id: i64,
    state: ImportState,
) -> Result<SiteImportFile, SiteError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM site_imports WHERE id = $1"));
    let found = sqlx::query(sql)
        .bind(id)
        .fetch_optional(&mut **write)
        .await?;
    let file = found.as_ref().map(file_from).transpose()?;
    file.filter(|file| file.state == state)
        .ok_or(SiteError::Over)
}

pub(super) async fn decide(write: &mut Write, file: &SiteImportFile) -> Result<(), StoreError> {
    let sql = "UPDATE site_imports SET state = $2, sheet = '', decided_ms = $3, decided_by = $4, \
               added = $5, changed = $6, unchanged = $7 WHERE id = $1";
    let number = |count: usize| row::signed(count as u64);
    sqlx::query(sql)
        .bind(file.id)
        .bind(file.state.word())
        .bind(file.decided_ms)
        .bind(&file.decided_by)
        .bind(number(file.done.added))
        .bind(number(file.done.changed))
        .bind(number(file.done.unchanged))
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn file_from(found: &AnyRow) -> Result<SiteImportFile, StoreError> {
    let state = row::text(found, "state")?;
    let impossible = || StoreError::Impossible(format!("import in state {state:?}"));
    let count = |column| {
        let count = row::unsigned(found, column)?;
        Ok::<_, StoreError>(usize::try_from(count).unwrap_or(usize::MAX))
    };
    Ok(SiteImportFile {
        id: row::number(found, "id")?,
        file_name: row::text(found, "file_name")?,
        state: ImportState::from_word(&state).ok_or_else(impossible)?,
        asked_ms: row::number(found, "asked_ms")?,
        asked_by: row::text(found, "asked_by")?,
        decided_ms: row::optional(found, "decided_ms")?,
        decided_by: row::text(found, "decided_by")?,
        done: SiteImport {
            added: count("added")?,
            changed: count("changed")?,
            unchanged: count("unchanged")?,
        },
    })
}
