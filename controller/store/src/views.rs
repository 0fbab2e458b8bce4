//! Filters of pages that somebody keeps under a name, with the account: wherever its owner signs in they are
//! there.

use sqlx::any::AnyRow;

use crate::row;
use crate::{Store, StoreError};

/// Views of one page that an account keeps; more are not found again.
pub const VIEWS_OF_PAGE: usize = 20;

/// Views of all pages that an account keeps.
pub const VIEWS_OF_ACCOUNT: usize = 100;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedView {
    /// Number.
    pub id: i64,
    /// Path of the page.
    pub page: String,
    /// What its owner calls it.
    pub name: String,
    /// The page's query, without the question mark.
    pub query: String,
}

impl Store {
    /// What an account keeps, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn saved_views(&self, user: i64) -> Result<Vec<SavedView>, StoreError> {
        let query = sqlx::query(LISTED).bind(user);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(view_from).collect()
    }

    /// Keeps filters under a name, in place of those that had it; says whether there was room.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn save_view(
        &self,
        user: i64,
        page: &str,
        name: &str,
        filters: &str,
    ) -> Result<bool, StoreError> {
        let (page, name) = (row::storable(page), row::storable(name));
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM saved_views WHERE user_id = $1 AND page = $2 AND name = $3";
        let query = sqlx::query(sql).bind(user).bind(&page).bind(&name);
        query.execute(&mut *write).await?;
        let rows = sqlx::query(LISTED)
            .bind(user)
            .fetch_all(&mut *write)
            .await?;
        let kept: Vec<SavedView> = rows.iter().map(view_from).collect::<Result<_, _>>()?;
        let of_page = kept.iter().filter(|one| one.page == page).count();
        if of_page >= VIEWS_OF_PAGE || kept.len() >= VIEWS_OF_ACCOUNT {
            return Ok(false);
        }
        let sql =
            "INSERT INTO saved_views (id, user_id, page, name, query) VALUES ($1, $2, $3, $4, $5)";
        sqlx::query(sql)
            .bind(row::count_up(&mut write, "saved_views", 1).await?)
            .bind(user)
            .bind(page)
            .bind(name)
            .bind(row::storable(filters))
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(true)
    }

    /// Forgets one of an account's own; says whether it was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_view(&self, user: i64, id: i64) -> Result<bool, StoreError> {
        let mut write = self.database.write().await?;
        let sql = "DELETE FROM saved_views WHERE user_id = $1 AND id = $2";
        let query = sqlx::query(sql).bind(user).bind(id);
        let gone = query.execute(&mut *write).await?.rows_affected();
        write.commit().await?;
        Ok(gone > 0)
    }
}

const LISTED: &str =
    "SELECT id, page, name, query FROM saved_views WHERE user_id = $1 ORDER BY id DESC";

fn view_from(row: &AnyRow) -> Result<SavedView, StoreError> {
    Ok(SavedView {
        id: row::number(row, "id")?,
        page: row::text(row, "page")?,
        name: row::text(row, "name")?,
        query: row::text(row, "query")?,
    })
}
