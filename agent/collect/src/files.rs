//! Reads small files below `/proc`, `/sys` and `/` into one shared buffer.
//!
//! The three folders are opened once, so a read is openat, read, close and no allocation. Every
//! read is bounded by [`MAX_FILE_BYTES`].

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::error::{CollectError, MAX_FILE_BYTES};
use crate::root::HostRoot;

/// Which of the three folders a path is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Proc,
    Sys,
    Root,
}

/// Most entries taken from one folder: `/proc` of a machine with more processes than this is
/// sampled, and said to be.
const MAX_ENTRIES: usize = 32_768;

/// First size of the read buffer; most files of `/proc` fit.
const FIRST_BYTES: usize = 16 << 10;

/// A buffer grown beyond this by one large file is given back after the pass.
const KEEP_BYTES: usize = 128 << 10;

/// The shared read buffer and the open folders.
#[derive(Debug, Default)]
pub(crate) struct Files {
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    root: Option<OwnedFd>,
    buffer: Vec<u8>,
    path: String,
    /// What the buffer holds, if it was read in this pass.
    holds: Option<(Base, &'static str)>,
}

impl Files {
    /// Opens the three folders; one that cannot be opened fails at each read below it.
    pub(crate) fn open(host: &HostRoot) -> Self {
        Self {
            proc: open_folder(&host.proc),
            sys: open_folder(&host.sys),
            root: open_folder(&host.root),
            ..Self::default()
        }
    }

    /// Begins a pass: nothing read before it counts.
    pub(crate) fn start_pass(&mut self) {
        self.holds = None;
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// The file's bytes. Two collectors that read the same file one after the other in one pass
    /// share one read.
    pub(crate) fn read(&mut self, base: Base, path: &'static str) -> Result<&[u8], CollectError> {
        if self.holds != Some((base, path)) {
            self.holds = None;
            self.fill(base, path)
                .map_err(|source| read_error(path, source))?;
            self.holds = Some((base, path));
        }
        if self.buffer.len() >= MAX_FILE_BYTES {
            return Err(CollectError::TooLarge {
                path: path.to_owned(),
            });
        }
        Ok(&self.buffer)
    }

    /// The trimmed bytes of a file that may well be absent or refuse to be read, as many
    /// attributes below `/sys` do; `None` then, without the cost of an error.
    pub(crate) fn attribute(&mut self, base: Base, parts: &[&str]) -> Option<&[u8]> {
        self.fill_parts(base, parts).ok()?;
        Some(self.buffer.trim_ascii())
    }

    /// Fills `names` with the entries of a folder, sorted.
    pub(crate) fn list(
        &mut self,
        base: Base,
        parts: &[&str],
        names: &mut Names,
    ) -> Result<(), CollectError> {
        names.clear();
        let path = parts.concat();
        self.list_into(base, &path, names)
            .map_err(|source| read_error(&path, source))?;
        names.sort();
        if names.len() >= MAX_ENTRIES {
            return Err(CollectError::TooMany {
                what: "folder entries",
                limit: MAX_ENTRIES,
            });
        }
        Ok(())
    }

    fn list_into(&self, base: Base, path: &str, names: &mut Names) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if path.is_empty() { "." } else { path };
        let folder = rustix::fs::openat(self.folder(base)?, path, flags, Mode::empty())?;
        let mut space = [MaybeUninit::<u8>::uninit(); 4096];
        let mut entries = RawDir::new(folder, &mut space);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            // The kernel's own folders hold no other names than ASCII ones.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name != "." && name != ".." && !names.push(name) {
                break;
            }
        }
        Ok(())
    }

    fn fill_parts(&mut self, base: Base, parts: &[&str]) -> io::Result<()> {
        self.holds = None;
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        parts.iter().for_each(|part| path.push_str(part));
        let result = self.fill(base, &path);
        self.path = path;
        result
    }

    fn fill(&mut self, base: Base, path: &str) -> io::Result<()> {
        self.buffer.clear();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = path.trim_start_matches('/');
        let file = rustix::fs::openat(self.folder(base)?, path, flags, Mode::empty())?;
        read_bounded(&file, &mut self.buffer, base == Base::Sys)
    }

    fn folder(&self, base: Base) -> io::Result<impl AsFd + '_> {
        let folder = match base {
            Base::Proc => &self.proc,
            Base::Sys => &self.sys,
            Base::Root => &self.root,
        };
        folder
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Reads to the end or to the bound. One read is enough for `/sys`, whose attributes never exceed
/// a page; it saves the second call that would find the end.
fn read_bounded(file: &OwnedFd, buffer: &mut Vec<u8>, one_read: bool) -> io::Result<()> {
    loop {
        if buffer.capacity() - buffer.len() < 4096 {
            buffer.reserve(buffer.len().max(FIRST_BYTES));
        }
        match rustix::io::read(file, spare_capacity(buffer)) {
            Err(Errno::INTR) => {}
            Err(error) => {
                buffer.clear();
                return Err(error.into());
            }
            Ok(0) => return Ok(()),
            Ok(count) if one_read && count < 4096 => return Ok(()),
            Ok(_) if buffer.len() >= MAX_FILE_BYTES => {
                buffer.truncate(MAX_FILE_BYTES);
                return Ok(());
            }
            Ok(_) => {}
        }
    }
}

fn open_folder(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

fn read_error(path: &str, source: io::Error) -> CollectError {
    CollectError::Read {
        path: path.to_owned(),
        source,
    }
}

/// A list of short names in one string.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    spans: Vec<(u32, u32)>,
}

impl Names {
    fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    /// Adds one; `false` at the bound.
    fn push(&mut self, name: &str) -> bool {
        let start = self.text.len();
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(start + name.len())) else {
            return false;
        };
        self.text.push_str(name);
        self.spans.push((start, end));
        self.spans.len() < MAX_ENTRIES
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.spans
            .sort_unstable_by_key(|(start, end)| text.get(*start as usize..*end as usize));
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.spans
            .iter()
            .filter_map(|(start, end)| self.text.get(*start as usize..*end as usize))
    }
}
