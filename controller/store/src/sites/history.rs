//! What happened to a site: who changed what, and where it stood.

use sqlx::any::AnyRow;
use xiezhi_model::{SiteChange, SiteField, SiteId};

use crate::{Store, StoreError, row};

/// One entry of a site's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteHistoryEntry {
    /// Its number; later changes have higher ones.
    pub id: i64,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Who, as an [`Actor`](xiezhi_model::Actor) displays.
    pub actor: String,
    /// `create`, `change`, `move`, `retire`, `restore` or `undo`.
    pub action: String,
    /// The import that did it.
    pub import: Option<i64>,
    /// What differs; parents by key.
    pub changes: Vec<SiteChange>,
}

impl Store {
    /// One page of a site's history, newest first: entries before the number `before`, at most `limit`.
    /// Whether the caller may see the site is asked before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site_history(
        &self,
        site: SiteId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<SiteHistoryEntry>, StoreError> {
        let sql = "SELECT id, time_ms, actor, action, import_id, changes FROM site_changes \
                   WHERE site_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let query = sqlx::query(sql)
            .bind(site.0)
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit));
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(entry_from).collect()
    }
}

fn entry_from(found: &AnyRow) -> Result<SiteHistoryEntry, StoreError> {
    Ok(SiteHistoryEntry {
        id: row::number(found, "id")?,
        time_ms: row::number(found, "time_ms")?,
        actor: row::text(found, "actor")?,
        action: row::text(found, "action")?,
        import: row::optional(found, "import_id")?,
        changes: changes_from(found)?,
    })
}

pub(super) fn changes_text(changes: &[SiteChange]) -> Result<String, StoreError> {
    let told: Vec<(&str, &str, &str)> = changes
        .iter()
        .map(|one| (one.field.word(), one.before.as_str(), one.after.as_str()))
        .collect();
    serde_json::to_string(&told).map_err(|error| StoreError::Impossible(error.to_string()))
}

pub(super) fn changes_from(found: &AnyRow) -> Result<Vec<SiteChange>, StoreError> {
    let text = row::text(found, "changes")?;
    let told: Vec<(String, String, String)> = serde_json::from_str(&text)
        .map_err(|error| StoreError::Impossible(format!("changes: {error}")))?;
    // A field that a later release had is left out, not an error.
    let changes = told.into_iter().filter_map(|(word, before, after)| {
        let field = SiteField::from_word(&word)?;
        Some(SiteChange {
            field,
            before,
            after,
        })
    });
    Ok(changes.collect())
}
