//! The saved positions: two small files, each written whole and renamed into place.
//!
//! `security-state.json` holds the positions that are certain. `security-staged.json` holds those
//! that become certain when batch `seq` of the security stream exists, and the events that were read
//! on the way there, batch by batch. Opening decides by what the spool says: what a crash kept from
//! being spooled is handed out again from the staged file, never read again from its source, so a
//! crash at any place between the two files and the spool neither loses nor doubles an event.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::Event;

use super::limiter::Limiter;
use super::watch::SecurityError;

/// Version of the format.
const VERSION: u32 = 1;

/// Everything that is saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    #[serde(default)]
    seq: Option<u64>,
    /// Number of the first of `batches`; the last has `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    batches: Vec<Vec<Event>>,
    /// When it was saved, Unix milliseconds: where a gap starts if the state is lost.
    pub(crate) time_ms: i64,
    pub(crate) limiter: Limiter,
    pub(crate) watchers: BTreeMap<String, Value>,
}

impl Saved {
    pub(crate) fn new(time_ms: i64, limiter: Limiter, watchers: BTreeMap<String, Value>) -> Self {
        Self {
            version: VERSION,
            seq: None,
            first: None,
            batches: Vec::new(),
            time_ms,
            limiter,
            watchers,
        }
    }

    /// The staged events beyond batch `last`; `None` if none were kept with the positions.
    fn take_unspooled(&mut self, last: u64) -> Option<Vec<Event>> {
        let batches = std::mem::take(&mut self.batches);
        let first = self.first.filter(|_| !batches.is_empty())?;
        let done = last.saturating_add(1).saturating_sub(first);
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        Some(batches.into_iter().skip(done).flatten().collect())
    }
}

/// What opening found.
pub(crate) enum Loaded {
    /// Positions.
    Found(Box<Saved>),
    /// Positions, and the events before them that did not get into the spool.
    Unfinished(Box<Saved>, Vec<Event>),
    /// Nothing was ever saved.
    Fresh,
    /// A file that is not readable as state; it was set aside.
    Damaged,
}

/// The two files.
#[derive(Debug)]
pub(crate) struct StateFiles {
    dir: PathBuf,
    written_crc: Option<u32>,
    is_staged: bool,
    /// The staged file is one that a crash left.
    is_unfinished: bool,
}

impl StateFiles {
    pub(crate) fn open(dir: &Path, spooled: Option<u64>) -> Result<(Self, Loaded), SecurityError> {
        let mut files = Self {
            dir: dir.to_owned(),
            written_crc: None,
            is_staged: false,
            is_unfinished: false,
        };
        let staged = files.read(&files.staged_path())?;
        if let (Some(Ok(mut saved)), Some(last)) = (staged, spooled) {
            if saved.seq.is_some_and(|seq| last >= seq) {
                files.promote()?;
            } else if let Some(events) = saved.take_unspooled(last) {
                files.is_unfinished = true;
                return Ok((files, Loaded::Unfinished(Box::new(saved), events)));
            }
        }
        let loaded = match files.read(&files.path())? {
            None => Loaded::Fresh,
            Some(Ok(saved)) => Loaded::Found(Box::new(saved)),
            Some(Err(())) => {
                // Kept for a person to look at; the watch goes on with a new baseline.
                rename(&files.path(), &files.dir.join("security-state.damaged"))?;
                Loaded::Damaged
            }
        };
        Ok((files, loaded))
    }

    /// Writes the positions that hold once all of `batches`, numbered from `first`, exist.
    pub(crate) fn stage(
        &mut self,
        mut saved: Saved,
        first: u64,
        batches: &[&[Event]],
    ) -> Result<(), SecurityError> {
        let count = batches.len().max(1) as u64;
        saved.seq = Some(first.saturating_add(count - 1));
        saved.first = Some(first);
        saved.batches = batches.iter().map(|batch| batch.to_vec()).collect();
        let bytes = serialise(&saved, &self.staged_path())?;
        self.write(&self.staged_path(), &bytes)?;
        self.is_staged = true;
        self.is_unfinished = false;
        Ok(())
    }

    /// The staged positions are certain now; `false` if none are staged.
    pub(crate) fn confirm(&mut self) -> Result<bool, SecurityError> {
        if !self.is_staged {
            return Ok(false);
        }
        self.promote()?;
        self.is_staged = false;
        self.written_crc = None;
        Ok(true)
    }

    /// Writes certain positions, unless they are what was written last.
    pub(crate) fn write_certain(&mut self, saved: &Saved) -> Result<(), SecurityError> {
        let mut unstamped = saved.clone();
        unstamped.time_ms = 0;
        let crc = crc32fast::hash(&serialise(&unstamped, &self.path())?);
        if self.written_crc == Some(crc) {
            return Ok(());
        }
        let bytes = serialise(saved, &self.path())?;
        self.write(&self.path(), &bytes)?;
        self.written_crc = Some(crc);
        if std::mem::take(&mut self.is_unfinished) {
            self.forget_staged()?;
        }
        Ok(())
    }

    /// What a crash had left was handed over by a caller that does not stage.
    fn forget_staged(&self) -> Result<(), SecurityError> {
        let path = self.staged_path();
        fs::remove_file(&path).map_err(|source| SecurityError::Write { path, source })
    }

    fn path(&self) -> PathBuf {
        self.dir.join("security-state.json")
    }

    fn staged_path(&self) -> PathBuf {
        self.dir.join("security-staged.json")
    }

    /// Not made durable: after a power cut that undoes it, the staged file is there again and the
    /// batch that makes it certain is in the spool, so opening does the same once more.
    fn promote(&self) -> Result<(), SecurityError> {
        rename(&self.staged_path(), &self.path())
    }

    fn read(&self, path: &Path) -> Result<Option<Result<Saved, ()>>, SecurityError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(match serde_json::from_slice::<Saved>(&bytes) {
                Ok(saved) if saved.version == VERSION => Ok(saved),
                _ => Err(()),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SecurityError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SecurityError> {
        write_atomically(path, bytes).map_err(|source| SecurityError::Write {
            path: path.to_owned(),
            source,
        })?;
        sync_dir(&self.dir)
    }
}

fn serialise(saved: &Saved, path: &Path) -> Result<Vec<u8>, SecurityError> {
    serde_json::to_vec(saved).map_err(|e| SecurityError::Write {
        path: path.to_owned(),
        source: e.into(),
    })
}

/// Writes a whole file: a temporary one beside it, synced, renamed.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

fn rename(from: &Path, to: &Path) -> Result<(), SecurityError> {
    fs::rename(from, to).map_err(|source| SecurityError::Write {
        path: to.to_owned(),
        source,
    })
}

fn sync_dir(dir: &Path) -> Result<(), SecurityError> {
    fs::File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| SecurityError::Write {
            path: dir.to_owned(),
            source,
        })
}
