//! Sites: the organisation tree.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, NewSite, Site, SiteId, SiteTree, Tier};

use crate::row::{self, Write};
use crate::{Store, StoreError, audit, authority};

/// What an import changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiteImport {
    /// Sites that were not there.
    pub added: usize,
    /// Sites whose name, tier, parent or code changed.
    pub changed: usize,
    /// Sites that were already so.
    pub unchanged: usize,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, site_key, name, tier, parent_id, court_code FROM sites ",
            $tail
        )
    };
}

impl Store {
    /// Adds and changes sites by key, in one transaction, whatever their order. Sites that the list
    /// does not name stay as they are: hosts may belong to them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if a parent is neither in the list nor in the store. Cycles are the
    /// inventory crate's to find.
    pub async fn import_sites(
        &self,
        sites: &[NewSite],
        audit: AuditEntry,
    ) -> Result<SiteImport, StoreError> {
        let mut write = self.database.write().await?;
        let rows = sqlx::query(select!("")).fetch_all(&mut *write).await?;
        let old = rows.iter().map(site_from).collect::<Result<Vec<_>, _>>()?;
        let old: BTreeMap<_, _> = old
            .into_iter()
            .map(|site| (site.key.clone(), site))
            .collect();
        let mut numbers: BTreeMap<_, _> = old.values().map(|s| (s.key.clone(), s.id)).collect();
        // All numbers first, so that a parent may stand after its children.
        for site in sites {
            if !numbers.contains_key(&site.key) {
                let id = SiteId(row::count_up(&mut write, "sites", 1).await?);
                insert_bare(&mut write, id, &site.key).await?;
                numbers.insert(site.key.clone(), id);
            }
        }
        let mut import = SiteImport::default();
        for site in sites {
            let wanted = resolve(site, &numbers)?;
            match old.get(&site.key) {
                Some(there) if *there == wanted => import.unchanged += 1,
                Some(_) => import.changed += 1,
                None => import.added += 1,
            }
            update(&mut write, &wanted).await?;
        }
        let counts = [("added", import.added), ("changed", import.changed)];
        let audit = counts
            .iter()
            .fold(audit, |audit, (name, n)| audit.with(name, n.to_string()));
        authority::count(&mut write).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(import)
    }

    /// All sites, by number.
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

fn resolve(site: &NewSite, numbers: &BTreeMap<String, SiteId>) -> Result<Site, StoreError> {
    let number = |key: &str| {
        let missing = || StoreError::NotFound(format!("site {key:?}"));
        numbers.get(key).copied().ok_or_else(missing)
    };
    Ok(Site {
        id: number(&site.key)?,
        key: site.key.clone(),
        name: row::storable(&site.name),
        tier: site.tier,
        parent: site.parent.as_deref().map(number).transpose()?,
        court_code: row::storable(&site.court_code),
    })
}

async fn insert_bare(write: &mut Write, id: SiteId, key: &str) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO sites (id, site_key, name, tier, court_code) VALUES ($1, $2, '', '', '')";
    sqlx::query(sql)
        .bind(id.0)
        .bind(key)
        .execute(&mut **write)
        .await?;
    Ok(())
}

async fn update(write: &mut Write, site: &Site) -> Result<(), StoreError> {
    let sql =
        "UPDATE sites SET name = $2, tier = $3, parent_id = $4, court_code = $5 WHERE id = $1";
    sqlx::query(sql)
        .bind(site.id.0)
        .bind(&site.name)
        .bind(site.tier.word())
        .bind(site.parent.map(|parent| parent.0))
        .bind(&site.court_code)
        .execute(&mut **write)
        .await?;
    Ok(())
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
    })
}
