//! The few file operations that the store needs, behind a trait.
//!
//! The trait exists for one reason: tests put a disk under the store that loses power at any of
//! these operations and keeps only what was synced. Everything durable goes through here.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that can be read at any place, from several threads.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end.
    ///
    /// # Errors
    /// What the device says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A file of the store.
pub trait DiskFile: ReadAt + Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the device says.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable (fdatasync).
    ///
    /// # Errors
    /// Nothing written since the last success may be believed.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// What the device says.
    fn length(&self) -> io::Result<u64>;
}

/// A flat folder of files.
pub trait Disk: Debug + Send + Sync {
    /// Names of all files.
    ///
    /// # Errors
    /// What the device says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Names of all else: folders, links, pipes, sockets.
    ///
    /// # Errors
    /// What the device says.
    fn others(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    /// Opens an existing file.
    ///
    /// # Errors
    /// What the device says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file, empty, replacing one of that name. Durable after [`Disk::sync`].
    ///
    /// # Errors
    /// What the device says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file over another, atomically. Durable after [`Disk::sync`].
    ///
    /// # Errors
    /// What the device says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync`].
    ///
    /// # Errors
    /// What the device says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the folder's entries durable.
    ///
    /// # Errors
    /// What the device says.
    fn sync(&self) -> io::Result<()>;
    /// The path of a name, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// A folder of the real file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens an existing folder.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            handle: File::open(path)?,
        })
    }
}

impl Folder {
    /// Names of files, or of all else.
    fn names(&self, of_files: bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_file = match entry.file_type() {
                Ok(kind) => kind.is_file(),
                // It went meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if is_file == of_files
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        self.names(true)
    }

    fn others(&self) -> io::Result<Vec<String>> {
        self.names(false)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(Arc::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.mode(0o600);
        Ok(Arc::new(options.open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.len());
        let rest = self.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }
}

/// Reads `length` bytes at `offset`, fewer only at the end of the file.
pub(crate) fn read_block(
    source: &(impl ReadAt + ?Sized),
    offset: u64,
    length: usize,
) -> io::Result<Vec<u8>> {
    let mut block = vec![0; length];
    let filled = fill(source, &mut block, offset)?;
    block.truncate(filled);
    Ok(block)
}

/// Fills `buffer` from `offset` on; returns how much there was.
pub(crate) fn fill(
    source: &(impl ReadAt + ?Sized),
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
