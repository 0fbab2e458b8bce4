//! Reads small files below `/proc`, `/sys` and `/` into one shared buffer.
//!
//! The three folders are opened once, so a read is openat, read, close and no allocation. The files
//! of a running kernel's `/proc` that are read by a fixed name are opened once too and read anew from
//! their start each time: opening one costs as much as reading it. Every read is bounded by
//! [`MAX_FILE_BYTES`].

use std::collections::BTreeMap;
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
    /// Open files of `/proc`, by name; none on a recorded host, whose files may be exchanged.
    kept: BTreeMap<&'static str, OwnedFd>,
    keeps: bool,
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
            keeps: host.is_live(),
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
            let keep = self.keeps && base == Base::Proc;
            let filled = if keep {
                self.fill_kept(path)
            } else {
                self.fill(base, path, false)
            };
            filled.map_err(|source| read_error(path, source))?;
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
    /// attributes below `/sys` do; `None` then, without the cost of an error. One read must be able
    /// to give the whole of it if it is shorter than a page: so it is with `/sys`, `/proc/PID/stat`
    /// and ordinary files, and not with the tables of `/proc/net`.
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
        let result = self.fill(base, &path, true);
        self.path = path;
        result
    }

    fn fill(&mut self, base: Base, path: &str, one_read: bool) -> io::Result<()> {
        self.buffer.clear();
        let file = self.open_file(base, path)?;
        read_bounded(&mut self.buffer, one_read, |buffer| {
            rustix::io::read(&file, spare_capacity(buffer))
        })
    }

    /// As [`Files::fill`], through a file that stays open. One that fails is opened anew once: what
    /// it belonged to may have gone and come again, as a kernel module does.
    fn fill_kept(&mut self, path: &'static str) -> io::Result<()> {
        if let Some(file) = self.kept.get(path)
            && read_from_start(file, &mut self.buffer).is_ok()
        {
            return Ok(());
        }
        self.kept.remove(path);
        let file = self.open_file(Base::Proc, path)?;
        read_from_start(&file, &mut self.buffer)?;
        self.kept.insert(path, file);
        Ok(())
    }

    fn open_file(&self, base: Base, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = path.trim_start_matches('/');
        let file = rustix::fs::openat(self.folder(base)?, path, flags, Mode::empty())?;
        Ok(file)
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

/// Reads to the end or to the bound. With `one_read` a short first read counts as everything; it
/// saves the second call that would find the end.
fn read_bounded(
    buffer: &mut Vec<u8>,
    one_read: bool,
    mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> io::Result<()> {
    loop {
        if buffer.capacity() - buffer.len() < 4096 {
            buffer.reserve(buffer.len().max(FIRST_BYTES));
        }
        match read(buffer) {
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

/// Reads an open file of `/proc` anew. A read at its start makes the kernel write it anew.
fn read_from_start(file: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    read_bounded(buffer, false, |buffer| {
        let offset = buffer.len() as u64;
        rustix::io::pread(file, spare_capacity(buffer), offset)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stays_open_tells_what_is_new() {
        let mut files = Files::open(&HostRoot::real());
        let mut times = || {
            files.start_pass();
            let text = files.read(Base::Proc, "self/stat").unwrap();
            let end = text.iter().rposition(|byte| *byte == b')').unwrap();
            let text = String::from_utf8(text[end + 2..].to_vec()).unwrap();
            let columns: Vec<u64> = text
                .split_ascii_whitespace()
                .skip(11)
                .take(2)
                .map(|column| column.parse().unwrap())
                .collect();
            columns.iter().sum::<u64>()
        };
        let before = times();
        while times() == before {}
        assert_eq!(files.kept.len(), 1);
    }

    #[test]
    fn a_file_that_fails_is_opened_anew() {
        let mut files = Files::open(&HostRoot::real());
        // A folder cannot be read: it stands for a file whose module was unloaded.
        let broken = open_folder(Path::new("/proc")).unwrap();
        files.kept.insert("loadavg", broken);
        assert!(!files.read(Base::Proc, "loadavg").unwrap().is_empty());
        assert!(files.read(Base::Proc, "absent").is_err());
        assert_eq!(files.kept.len(), 1);
    }

    #[test]
    fn tables_longer_than_a_page_are_read_whole() {
        let mut files = Files::open(&HostRoot::real());
        let ends = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        for path in ["zoneinfo", "net/snmp6"] {
            let expected = std::fs::read(Path::new("/proc").join(path)).unwrap();
            for _ in 0..2 {
                files.start_pass();
                let text = files.read(Base::Proc, path).unwrap();
                assert_eq!(ends(text), ends(&expected), "{path}");
            }
        }
    }
}
