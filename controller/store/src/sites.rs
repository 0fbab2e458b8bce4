//! Sites: the organisation tree, with every change of it and every import of lists.
//!
//! A change is planned against the whole tree under the write lock, so that no two changes together make
//! what each alone would not. Nothing is ever deleted but by undoing the import that made it.

mod change;
mod history;
mod imports;
mod undo;
mod usage;
mod write;

use sqlx::any::AnyRow;
use xiezhi_model::{Site, SiteField, SiteId, SitePlan, SiteProblem, SiteTree, Tier};

use crate::bounded::Write;
use crate::register::UndoObstacle;
use crate::{Store, StoreError, row};

pub use history::SiteHistoryEntry;
pub use imports::{SiteImport, SiteImportFile};
pub use usage::SiteUse;

/// Why the tree was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The site would not fit into the tree.
    #[error("{} {problem}", .field.word())]
    Refused {
        /// What does not fit.
        field: SiteField,
        /// Why.
        problem: SiteProblem,
    },
    /// Another site has the key.
    #[error("there is a site {0:?} already: choose another id")]
    Taken(String),
    /// Somebody else was faster.
    #[error("it was changed in the meantime: read it again and decide anew")]
    Stale,
    /// Something in use is there.
    #[error("it cannot be retired while it has {}: move or retire these first", told(.0))]
    StillUsed(Vec<(SiteUse, i64)>),
    /// Rows of a list do not fit.
    #[error("nothing was imported: {} rows do not fit into the organisation", .0.problems.len())]
    Unfit(Box<SitePlan>),
    /// The import was decided, withdrawn, or forgotten after a day.
    #[error("this import does not wait for that any more: upload the file again")]
    Over,
    /// The tree is no longer what the preview was made of.
    #[error(
        "the organisation was changed since this preview: look at the new preview and decide anew"
    )]
    Moved,
    /// What an import made was changed since.
    #[error("{} of the import's sites were changed or are used since: nothing was undone", .0.len())]
    NotUndone(Vec<UndoObstacle>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SiteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn told(uses: &[(SiteUse, i64)]) -> String {
    let told: Vec<String> = uses
        .iter()
        .map(|(what, count)| format!("{count} {}", what.words()))
        .collect();
    told.join(", ")
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, site_key, name, tier, parent_id, court_code, retired_ms, version FROM sites ",
            $tail
        )
    };
}

impl Store {
    /// All sites, by number; those that are out of use too.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let rows = sqlx::query(select!("ORDER BY id"))
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(site_from).collect()
    }

    /// All sites with who is below whom.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site_tree(&self) -> Result<SiteTree, StoreError> {
        Ok(SiteTree::new(self.sites().await?))
    }

    /// The site with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        let query = sqlx::query(select!("WHERE id = $1")).bind(id.0);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(site_from)
            .transpose()
    }

    /// The site with this key.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn site_by_key(&self, key: &str) -> Result<Option<Site>, StoreError> {
        let query = sqlx::query(select!("WHERE site_key = $1")).bind(key);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(site_from)
            .transpose()
    }
}

/// Refuses a site that is not there or is retired: nothing new begins at it, whatever a page saw.
pub(crate) async fn must_be_in_use(write: &mut Write, site: SiteId) -> Result<(), StoreError> {
    let query = sqlx::query(select!("WHERE id = $1")).bind(site.0);
    let found = query.fetch_optional(&mut **write).await?;
    let missing = || StoreError::NotFound(format!("site {site}"));
    let site = site_from(found.as_ref().ok_or_else(missing)?)?;
    match site.is_in_use() {
        true => Ok(()),
        false => Err(StoreError::Retired(site.name)),
    }
}

/// The tree as it is while nobody else writes.
async fn locked_tree(write: &mut Write) -> Result<SiteTree, StoreError> {
    let rows = sqlx::query(select!("ORDER BY id"))
        .fetch_all(&mut **write)
        .await?;
    let sites = rows.iter().map(site_from).collect::<Result<Vec<_>, _>>()?;
    Ok(SiteTree::new(sites))
}

fn site_from(row: &AnyRow) -> Result<Site, StoreError> {
    let tier = row::text(row, "tier")?;
    Ok(Site {
        id: SiteId(row::number(row, "id")?),
        key: row::text(row, "site_key")?,
        name: row::text(row, "name")?,
        tier: Tier::from_word(&tier).ok_or(StoreError::Impossible(format!("tier {tier:?}")))?,
        parent: row::optional(row, "parent_id")?.map(SiteId),
        court_code: row::text(row, "court_code")?,
        retired_ms: row::optional(row, "retired_ms")?,
        version: row::number(row, "version")?,
    })
}
