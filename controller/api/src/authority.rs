//! What people may do can change while their requests run and their pages are open. Here is how that
//! is noticed: the store counts whatever may end a session or move a scope, and this watches the
//! count, whichever process counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use xiezhi_model::SiteTree;
use xiezhi_store::{Store, StoreError};

/// How often the count is looked at. What is open for somebody ends within two of these.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The organisation tree, and word of changes.
#[derive(Debug)]
pub(crate) struct Authority {
    store: Store,
    tree: Mutex<Option<(i64, Arc<SiteTree>)>>,
    changes: watch::Receiver<i64>,
    task: AbortHandle,
}

impl Authority {
    /// Begins to watch; ends with the value.
    pub(crate) fn start(store: Store) -> Self {
        let (sender, changes) = watch::channel(0);
        let watched = store.clone();
        let task = tokio::spawn(async move {
            loop {
                // A database that does not answer says nothing about anybody's rights.
                if let Ok(count) = watched.authority_changes().await {
                    sender.send_if_modified(|known| std::mem::replace(known, count) != count);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self {
            store,
            tree: Mutex::default(),
            changes,
            task: task.abort_handle(),
        }
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// The organisation tree as it is now. It is read anew only when something was counted.
    pub(crate) async fn tree(&self) -> Result<Arc<SiteTree>, StoreError> {
        // Before the tree: a change in between makes the next caller read again.
        let count = self.store.authority_changes().await?;
        if let Some((of, tree)) = &*self.kept()
            && *of == count
        {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(self.store.site_tree().await?);
        *self.kept() = Some((count, Arc::clone(&tree)));
        Ok(tree)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<(i64, Arc<SiteTree>)>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}
