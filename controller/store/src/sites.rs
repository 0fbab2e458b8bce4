//! Sites: the organisation tree.

use xiezhi_model::{AuditEntry, NewSite, Site, SiteId, SiteTree};

use crate::{Store, StoreError};

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

impl Store {
    /// Adds and changes sites by key, in one transaction, whatever their order. Sites that the list
    /// does not name stay as they are: hosts may belong to them.
    pub async fn import_sites(&self, sites: &[NewSite], audit: AuditEntry) -> Result<SiteImport, StoreError> {
        let _ = (sites, audit);
        Err(StoreError::Unfinished)
    }

    /// All sites, by number.
    pub async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        Err(StoreError::Unfinished)
    }

    /// All sites with who is below whom.
    pub async fn site_tree(&self) -> Result<SiteTree, StoreError> {
        Ok(SiteTree::new(self.sites().await?))
    }

    /// The site with this number.
    pub async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        let _ = id;
        Err(StoreError::Unfinished)
    }

    /// The site with this key.
    pub async fn site_by_key(&self, key: &str) -> Result<Option<Site>, StoreError> {
        let _ = key;
        Err(StoreError::Unfinished)
    }
}
