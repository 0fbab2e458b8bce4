//! A consistent copy while the store runs.
//!
//! Files that never change are linked, so a copy on the same file system costs no space and no time;
//! logs and the checkpoint are copied up to their last durable byte. The copy opens as a store. Its
//! manifest names every file with its length and checksum, and is written last: a folder without one
//! is no backup. Damaged samples are backed up as they are, and the manifest says what is damaged, and which
//! files are not in it because the disk refuses what tells how they are read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::PoisonError;

use crate::checkpoint;
use crate::disk::{self, DiskFile};
use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::frame::BackupReport;
use crate::refused::Thorough;
use crate::{unread, verify};

/// The file that lists the others.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// How a line of the manifest begins that names no file but damage.
pub(crate) const NOTE: &str = "# ";
/// Copied at once.
const CHUNK: usize = 1 << 20;

/// See [`crate::SeriesStore::backup`].
pub(crate) fn backup(engine: &Engine, target: &Path) -> Result<BackupReport, SeriesError> {
    let io = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| SeriesError::io(action, path, source)
    };
    let _thorough = Thorough::begin();
    // Nothing is removed or replaced meanwhile.
    let _turn = engine
        .maintenance
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut folder = fs::DirBuilder::new();
    let made = folder.mode(0o700).create(target);
    made.map_err(io("create", target))?;
    let mut copy = Copy {
        engine,
        target,
        manifest: String::new(),
        report: BackupReport::default(),
    };
    // The logs first: what they held before moves into no block while we hold the turn.
    let files = engine.files();
    for log in files.logs.values() {
        let length = log.state().length;
        copy.copy(&log.name, &*log.file, length)?;
    }
    for name in unchanging(&files) {
        copy.link(&name)?;
    }
    for name in left_out(&files) {
        tracing::warn!(
            file = name,
            "the disk refuses to tell what this file is; the backup is made without it"
        );
        copy.manifest.push_str(&format!(
            "{NOTE}not in this backup: {name}, which the disk refuses\n"
        ));
        copy.report.left_out.push(name.to_owned());
    }
    if let Ok(file) = engine.disk.open(checkpoint::NAME) {
        let length = file
            .length()
            .map_err(engine.error("read", checkpoint::NAME))?;
        copy.copy(checkpoint::NAME, &*file, length)?;
    }
    // A copy of a damaged file has the right sum: only reading it tells.
    let (files, undecoded) = verify::look(engine);
    let found = verify::read(engine, &files, &undecoded)?;
    for line in found.lines() {
        tracing::warn!(damage = line, "damaged samples are backed up as they are");
        copy.manifest.push_str(&format!("{NOTE}{line}\n"));
    }
    copy.report.found = found;
    copy.finish()
}

/// Creates a file for its user alone.
fn create(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn unchanging(files: &Catalog) -> Vec<String> {
    let blocks = files
        .blocks
        .values()
        .chain(files.rollups.values())
        .map(|block| block.name.clone());
    blocks
        .chain(files.sealed.values().map(|segment| segment.name.clone()))
        .collect()
}

/// Files of samples of which nothing can be read, as long as no block has those samples too.
fn left_out(files: &Catalog) -> impl Iterator<Item = &str> {
    let waiting = unread::unlisted(files);
    waiting.filter_map(|(name, _)| {
        let (first, last, step_ms) = unread::logs_of(name)?;
        (step_ms > 0 || !files.covers(first, last)).then_some(name)
    })
}

struct Copy<'e> {
    engine: &'e Engine,
    target: &'e Path,
    manifest: String,
    report: BackupReport,
}

impl Copy<'_> {
    fn link(&mut self, name: &str) -> Result<(), SeriesError> {
        let (from, to) = (self.engine.disk.path(name), self.target.join(name));
        let file = self
            .engine
            .disk
            .open(name)
            .map_err(self.engine.error("read", name))?;
        let length = file.length().map_err(self.engine.error("read", name))?;
        if fs::hard_link(&from, &to).is_err() {
            // Another file system, or one without links.
            return self.copy(name, &*file, length);
        }
        let crc = self.read(name, &*file, length, &mut |_| Ok(()))?;
        if !self.engine.refusals.of(name).is_empty() {
            // A link to what the disk refuses is no copy, and whoever moves it on fails.
            fs::remove_file(&to).map_err(|source| SeriesError::io("remove", to, source))?;
            return self.copy(name, &*file, length);
        }
        self.note(name, length, crc);
        self.report.linked += 1;
        Ok(())
    }

    fn copy(&mut self, name: &str, file: &dyn DiskFile, length: u64) -> Result<(), SeriesError> {
        let to = self.target.join(name);
        let error = |source| SeriesError::io("write", to.clone(), source);
        let mut out = create(&to).map_err(error)?;
        let crc = self.read(name, file, length, &mut |bytes| {
            out.write_all(bytes).map_err(error)
        })?;
        out.sync_all().map_err(error)?;
        self.note(name, length, crc);
        Ok(())
    }

    fn read(
        &self,
        name: &str,
        file: &dyn DiskFile,
        length: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<(), SeriesError>,
    ) -> Result<u32, SeriesError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut offset = 0;
        while offset < length {
            let most = usize::try_from(length - offset).unwrap_or(CHUNK).min(CHUNK);
            let bytes =
                disk::read_block(file, offset, most).map_err(self.engine.error("read", name))?;
            if bytes.is_empty() {
                let short = std::io::ErrorKind::UnexpectedEof.into();
                return Err(self.engine.error("read", name)(short));
            }
            hasher.update(&bytes);
            each(&bytes)?;
            offset += bytes.len() as u64;
        }
        Ok(hasher.finalize())
    }

    fn note(&mut self, name: &str, length: u64, crc: u32) {
        self.manifest
            .push_str(&format!("{name} {length} {crc:08x}\n"));
        self.report.files += 1;
        self.report.bytes += length;
    }

    fn finish(self) -> Result<BackupReport, SeriesError> {
        let path = self.target.join(MANIFEST);
        let error = |source| SeriesError::io("write", path.clone(), source);
        let mut file = create(&path).map_err(error)?;
        file.write_all(self.manifest.as_bytes()).map_err(error)?;
        file.sync_all().map_err(error)?;
        fs::File::open(self.target)
            .and_then(|folder| folder.sync_all())
            .and_then(|()| crate::store::sync_parent(self.target))
            .map_err(error)?;
        Ok(self.report)
    }
}
