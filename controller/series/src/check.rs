//! Whether a backup is what was written, and whether what was written is whole.
//!
//! The manifest's sums tell whether a file is still what was copied. A copy of a damaged file passes
//! them, so everything in the backup is read as well, as it would be read of the samples themselves.
//! It is opened as a store is, in memory, and nothing in its folder is changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::{MANIFEST, NOTE};
use crate::disk::{self, Disk, DiskFile, Folder};
use crate::error::SeriesError;
use crate::frame::VerifyReport;
use crate::options::{Sealing, SeriesOptions};
use crate::{open, verify};

/// Read at once.
const CHUNK: usize = 1 << 20;

/// What a look at a backup found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupCheck {
    /// Files that are not what was backed up, and what is wrong with the manifest.
    pub changed: Vec<String>,
    /// Damage of the samples when the backup was made, as its manifest notes it.
    pub noted: Vec<String>,
    /// What reading all of it found.
    pub found: VerifyReport,
}

impl BackupCheck {
    /// Whether it is all that was backed up, and that was all that had been stored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.changed.is_empty() && self.noted.is_empty() && self.found.is_whole()
    }
}

/// Reads a backup. Takes the memory and the time of opening its samples.
///
/// # Errors
/// The manifest or a file cannot be read.
pub fn check_backup(folder: &Path) -> Result<BackupCheck, SeriesError> {
    let mut check = BackupCheck::default();
    read_manifest(folder, &mut check)?;
    let opened = Folder::open(folder)
        .map_err(|source| SeriesError::io("open", folder.to_path_buf(), source))?;
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        ..SeriesOptions::default()
    };
    let (engine, left_out) = open::look(Arc::new(Unchanged(opened)), options)?;
    check.found = verify::verify(&engine)?;
    check.found.damaged.extend(left_out);
    Ok(check)
}

fn read_manifest(folder: &Path, check: &mut BackupCheck) -> Result<(), SeriesError> {
    let path = folder.join(MANIFEST);
    let manifest = fs::read_to_string(&path)
        .map_err(|source| SeriesError::io("read", path.clone(), source))?;
    for line in manifest.lines() {
        if let Some(note) = line.strip_prefix(NOTE) {
            check.noted.push(note.to_owned());
            continue;
        }
        let mut words = line.split(' ');
        let (Some(name), Some(length), Some(crc)) = (words.next(), words.next(), words.next())
        else {
            let wrong = format!("the manifest has a malformed line: {line}");
            check.changed.push(wrong);
            continue;
        };
        // Names of ours have no folders in them; anything else is not followed.
        if name.contains('/') {
            let wrong = format!("the manifest names a file elsewhere: {name}");
            check.changed.push(wrong);
            continue;
        }
        match checksum(&folder.join(name)) {
            Ok((found, sum)) if found.to_string() == length && format!("{sum:08x}") == crc => {}
            Ok(_) => check
                .changed
                .push(format!("{name} is not what was backed up")),
            Err(error) => check
                .changed
                .push(format!("{name} cannot be read: {error}")),
        }
    }
    Ok(())
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let file = File::open(path)?;
    let (mut hasher, mut offset) = (crc32fast::Hasher::new(), 0);
    loop {
        let bytes = disk::read_block(&file, offset, CHUNK)?;
        if bytes.is_empty() {
            return Ok((offset, hasher.finalize()));
        }
        hasher.update(&bytes);
        offset += bytes.len() as u64;
    }
}

/// A folder that stays as it is: what opening would remove or set aside is left where it lies.
#[derive(Debug)]
struct Unchanged(Folder);

impl Disk for Unchanged {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn others(&self) -> io::Result<Vec<String>> {
        self.0.others()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::open(self.path(name))?))
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}
