//! A little disk space that is set aside in good times, so that a controller whose disk is full can be
//! started all the same: a database needs some room only to be opened and read.
//!
//! It is a file of real bytes in the data folder. It is given up when the stores cannot be opened for
//! want of space, and made again once there is plenty. It is not there to take reports in: those stop.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tracing::{info, warn};
use xiezhi_series::SeriesError;
use xiezhi_store::StoreError;

/// What opening the stores takes (tens of kilobytes for SQLite, a header for the samples' log), with a
/// margin for the pages that a signed-in person writes.
const BYTES: usize = 1 << 20;

/// The reserve of a data folder.
#[derive(Debug)]
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    /// That of this data folder; nothing is made yet.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("reserve"))
    }

    /// Sets the space aside, unless it is or the disk has none to spare.
    pub(crate) fn keep(&self) {
        let is_there = fs::metadata(&self.0).is_ok_and(|file| file.len() >= BYTES as u64);
        if !is_there && self.write().is_err() {
            // A part of it would only be missed elsewhere.
            drop(fs::remove_file(&self.0));
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&self.0)?;
        // Not zeros, and not a hole: some filesystems store neither.
        file.write_all(&vec![0x5a; BYTES])?;
        file.sync_all()
    }

    /// Gives the space up if `error` says that there is none; whether another attempt may help.
    pub(crate) fn give_up_for(&self, error: &anyhow::Error) -> bool {
        if !is_full(error) {
            return false;
        }
        let given = fs::remove_file(&self.0).is_ok();
        if given {
            warn!("the disk is full: the reserve is given up so that the controller can start");
        } else {
            info!("the disk is full and nothing is set aside");
        }
        given
    }
}

fn is_full(error: &anyhow::Error) -> bool {
    let full = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(StoreError::Full(_)))
            || cause.downcast_ref().is_some_and(SeriesError::is_full)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|cause| cause.kind() == io::ErrorKind::StorageFull)
    };
    error.chain().any(full)
}

/// Runs `open` again after giving the reserve up, if the disk is full and there was one.
///
/// # Errors
/// Those of `open`.
pub(crate) async fn open_with<T>(
    reserve: &Reserve,
    mut open: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    match open().await {
        Err(error) if reserve.give_up_for(&error) => open().await,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reserve_is_given_up_for_a_full_disk_only_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(folder.path());
        reserve.keep();
        let file = folder.path().join("reserve");
        assert_eq!(fs::metadata(&file).unwrap().len(), BYTES as u64);
        let other = anyhow::anyhow!("no such table");
        assert!(!reserve.give_up_for(&other) && file.exists());

        let mut tries = 0;
        let opened = open_with(&reserve, async || {
            tries += 1;
            if tries == 1 {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            Ok(tries)
        });
        assert_eq!(opened.await.unwrap(), 2);
        assert!(!file.exists());
        let full = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!reserve.give_up_for(&full), "there is nothing left to give");
    }
}
