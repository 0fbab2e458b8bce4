//! The few file operations that a spool needs, in one place so that tests can make each of them
//! fail, at any byte.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

#[cfg(test)]
pub(crate) use faults::Faults;

/// The disk as the spool sees it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: Option<std::sync::Arc<std::sync::Mutex<Faults>>>,
}

impl Disk {
    /// A new file that only its owner can read.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.allow(path, Operation::Create)?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
    }

    /// Writes all of `bytes` at `offset`; after an error any part of them may have been written.
    pub(crate) fn write(
        &self,
        file: &File,
        path: &Path,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        let allowed = self.allow(
            path,
            Operation::Write {
                length: bytes.len(),
                offset,
            },
        )?;
        if allowed < bytes.len() {
            file.write_all_at(bytes.get(..allowed).unwrap_or_default(), offset)?;
            return Err(io::Error::from_raw_os_error(28));
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes a file's content durable.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.allow(path, Operation::Sync)?;
        if self.is_simulated() {
            Ok(())
        } else {
            file.sync_data()
        }
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.allow(path, Operation::SyncFolder)?;
        if self.is_simulated() {
            Ok(())
        } else {
            File::open(path)?.sync_all()
        }
    }

    /// Cuts a file.
    pub(crate) fn truncate(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.allow(path, Operation::Truncate)?;
        file.set_len(length)
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.allow(path, Operation::Remove)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whether durability is only pretended, as where power cuts are.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' version needs it")]
    fn is_simulated(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn is_simulated(&self) -> bool {
        self.faults.is_some()
    }

    /// How many bytes of the operation may happen.
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the tests' version needs both"
    )]
    fn allow(&self, _path: &Path, operation: Operation) -> io::Result<usize> {
        Ok(operation.length())
    }

    #[cfg(test)]
    fn allow(&self, path: &Path, operation: Operation) -> io::Result<usize> {
        match &self.faults {
            Some(faults) => faults.lock().unwrap().allow(path, operation),
            None => Ok(operation.length()),
        }
    }
}

/// What is about to happen to a file.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Write {
        length: usize,
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "only injected faults look at it")
        )]
        offset: u64,
    },
    Sync,
    SyncFolder,
    Truncate,
    Remove,
}

impl Operation {
    const fn length(self) -> usize {
        match self {
            Self::Write { length, .. } => length,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod faults {
    use super::Operation;
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    /// Faults to inject: a process that dies after so many bytes, a full disk, a power cut.
    #[derive(Debug, Default)]
    pub(crate) struct Faults {
        /// Bytes (and one per other operation) until the process dies.
        pub(crate) dies_after: Option<usize>,
        /// Bytes by which files may still grow.
        pub(crate) room: Option<usize>,
        /// Nothing works any more.
        pub(crate) dead: bool,
        /// What a power cut is sure to leave of each file.
        pub(crate) durable: HashMap<PathBuf, Vec<u8>>,
    }

    impl Faults {
        pub(super) fn allow(&mut self, path: &Path, operation: Operation) -> io::Result<usize> {
            if self.dead {
                return Err(io::Error::other("process is dead"));
            }
            let length = operation.length();
            if let Some(left) = &mut self.dies_after {
                let cost = length.max(1);
                if *left < cost {
                    self.dead = true;
                    return if length > 0 {
                        Ok(*left)
                    } else {
                        Err(io::Error::other("died"))
                    };
                }
                *left -= cost;
            }
            match operation {
                Operation::Write { offset, .. } => return self.grow(path, length, offset),
                Operation::Create if self.room == Some(0) => {
                    return Err(io::Error::from_raw_os_error(28));
                }
                Operation::Sync => {
                    self.durable.insert(path.to_owned(), fs::read(path)?);
                }
                _ => {}
            }
            Ok(length)
        }

        fn grow(&mut self, path: &Path, length: usize, offset: u64) -> io::Result<usize> {
            let Some(room) = &mut self.room else {
                return Ok(length);
            };
            let size = fs::metadata(path).map_or(0, |data| data.len());
            let growth = (offset + length as u64).saturating_sub(size) as usize;
            if growth <= *room {
                *room -= growth;
                return Ok(length);
            }
            let written = length - (growth - *room);
            *room = 0;
            Ok(written)
        }
    }
}
