//! Makes the state folder the worker's, and nothing else.
//!
//! Enrolment by an administrator writes it as root, and so does a fresh installation. Only what
//! root owns is handed over, links are not followed, and the walk is bounded.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{AtFlags, CWD};

use super::accounts::Account;

/// Files and folders that are handed over at most.
const MAX_ENTRIES: usize = 10_000;

/// Gives `state_dir`, made if it is not there, and what root made in it to the worker.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn hand_over(state_dir: &Path, account: &Account) -> Result<()> {
    if !state_dir.exists() {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(state_dir);
        made.with_context(|| format!("making {}", state_dir.display()))?;
    }
    let mut left = MAX_ENTRIES;
    give(state_dir, account, &mut left)
}

fn give(path: &Path, account: &Account, left: &mut usize) -> Result<()> {
    ensure!(*left > 0, "more than {MAX_ENTRIES} files to hand over");
    *left -= 1;
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    // Of a folder that the worker owns, the content is its own business: a path that it could
    // exchange meanwhile is never handed over.
    let is_ours_to_give = metadata.uid() == 0 && (metadata.is_dir() || metadata.is_file());
    if !is_ours_to_give || metadata.is_file() && metadata.nlink() > 1 {
        return Ok(());
    }
    if metadata.is_dir() {
        let entries = fs::read_dir(path).with_context(|| format!("listing {}", path.display()))?;
        for entry in entries.flatten() {
            give(&entry.path(), account, left)?;
        }
    }
    rustix::fs::chownat(
        CWD,
        path,
        Some(account.uid),
        Some(account.gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .with_context(|| format!("giving {} to the worker", path.display()))
}
