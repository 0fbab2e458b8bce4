//! Places that the disk refuses to read: a bad sector costs what lies in it, as a changed byte does.
//!
//! Everything that the store reads comes through here. What the disk refuses is read again sector by
//! sector, and a sector that stays refused is handed over as zeros: the checksums around every piece
//! then say that it is damaged, and whoever reads does with it what is done with damage. A drive takes
//! seconds to give a sector up, and a dashboard asks every few seconds, so a refused sector is not
//! asked for again within a minute.
//!
//! A pass that makes a file of others would make the loss lasting. It watches its sources
//! ([`Refusals::watch`]), is given up if one of them was refused meanwhile, and believes it the third time.
//!
//! It never hides a disk that is gone: [`answers`] tells before anything is opened.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::disk::{self, Disk, DiskFile, ReadAt};
use crate::engine::Engine;
use crate::error::SeriesError;

/// What is refused at once: a page of the kernel's cache.
pub(crate) const SECTOR: u64 = 4096;
/// How long a refused sector is not asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Sectors remembered of one file; what lies beyond is asked for each time.
const MOST_PER_FILE: usize = 4096;
/// So often a pass is given up before a refusal is believed.
const DOUBTED: u32 = 2;
/// Files that are tried before a disk is said to be gone.
const MOST_TRIED: usize = 100;

/// Whether the device or the file system says that it cannot give what it holds.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [Errno; 6] = [
        Errno::IO,
        Errno::BADMSG,
        Errno::UCLEAN,
        Errno::NODATA,
        Errno::REMOTEIO,
        Errno::ILSEQ,
    ];
    Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno))
}

/// Whether a file could not be read because the disk refused to.
pub(crate) fn is_told_by(error: &SeriesError) -> bool {
    matches!(error, SeriesError::Io { source, .. } if is_refusal(source))
}

/// What was opened, or nothing if the disk refuses even that.
pub(crate) fn or_nothing<T>(opened: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match opened {
        Err(error) if is_refusal(&error) => Ok(None),
        opened => opened,
    }
}

/// Whether the disk gives the beginning of one of these files at least.
///
/// # Errors
/// It refuses them all, and there are several: that is no bad sector.
pub(crate) fn answers(disk: &dyn Disk, names: &[&String]) -> io::Result<()> {
    let mut refused = None;
    for name in names.iter().take(MOST_TRIED) {
        let read = disk
            .open(name)
            .and_then(|file| disk::read_block(&*file, 0, 1));
        match read {
            Err(error) if is_refusal(&error) => refused = Some(error),
            _ => return Ok(()),
        }
    }
    match refused {
        Some(error) if names.len() > 1 => Err(error),
        _ => Ok(()),
    }
}

/// Refused sectors, by file.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether there ever was one: almost no store looks further.
    any: AtomicBool,
    files: Mutex<BTreeMap<String, OfFile>>,
}

#[derive(Debug, Default)]
struct OfFile {
    /// By the offset of the sector: when it was last asked for.
    sectors: BTreeMap<u64, Instant>,
    /// How often a reader met one.
    met: u64,
    /// Passes that were given up in a row.
    doubted: u32,
}

impl Refusals {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, OfFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offsets of the refused sectors of a file that touch `range`, ascending.
    pub(crate) fn within(&self, name: &str, range: Range<u64>) -> Vec<u64> {
        if !self.any.load(Ordering::Relaxed) || range.is_empty() {
            return Vec::new();
        }
        let first = range.start / SECTOR * SECTOR;
        let files = self.files();
        let sectors = files.get(name).map(|file| &file.sectors);
        sectors
            .iter()
            .flat_map(|sectors| sectors.range(first..range.end))
            .map(|(&offset, _)| offset)
            .collect()
    }

    /// Offsets of all refused sectors of a file, ascending.
    pub(crate) fn of(&self, name: &str) -> Vec<u64> {
        self.within(name, 0..u64::MAX)
    }

    fn was_just_refused(&self, name: &str, sector: u64) -> bool {
        let mut files = self.files();
        let Some(file) = files.get_mut(name) else {
            return false;
        };
        let asked = file.sectors.get(&sector);
        let lately = asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN);
        file.met += u64::from(lately);
        lately
    }

    fn note(&self, name: &str, sector: u64, error: &io::Error) {
        self.any.store(true, Ordering::Relaxed);
        let mut files = self.files();
        let file = files.entry(name.to_owned()).or_default();
        file.met += 1;
        let has_room = file.sectors.len() < MOST_PER_FILE;
        let is_new = has_room && file.sectors.insert(sector, Instant::now()).is_none();
        drop(files);
        if is_new {
            tracing::error!(file = name, offset = sector, %error,
                "the disk refuses to read here; what lies here counts as damaged");
        }
    }

    fn forget(&self, name: &str, sector: u64) {
        if let Some(file) = self.files().get_mut(name)
            && file.sectors.remove(&sector).is_some()
        {
            tracing::warn!(
                file = name,
                offset = sector,
                "what the disk refused can be read again"
            );
        }
    }

    /// Begins to look at what is read of these files.
    pub(crate) fn watch<'n>(&self, names: impl Iterator<Item = &'n str>) -> Watch {
        let files = self.files();
        let met = |name: &str| files.get(name).map_or(0, |file| file.met);
        Watch(names.map(|name| (name.to_owned(), met(name))).collect())
    }
}

/// Files that a pass reads, and how often they had been refused before.
#[derive(Debug)]
pub(crate) struct Watch(Vec<(String, u64)>);

impl Watch {
    /// All was read.
    ///
    /// # Errors
    /// Some of it was refused, and that is not believed yet.
    pub(crate) fn end(self, engine: &Engine) -> Result<(), SeriesError> {
        let mut files = engine.refusals.files();
        for (name, before) in self.0 {
            let Some(file) = files.get_mut(&name) else {
                continue;
            };
            if file.met == before {
                file.doubted = 0;
            } else if file.doubted < DOUBTED {
                file.doubted += 1;
                return Err(engine.error("read", &name)(Errno::IO.into()));
            }
        }
        Ok(())
    }
}

/// A disk whose refusals are damage.
#[derive(Debug)]
pub(crate) struct Salvaging {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) refusals: Arc<Refusals>,
}

impl Salvaging {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SalvagedFile {
            file,
            name: name.to_owned(),
            refusals: Arc::clone(&self.refusals),
        })
    }
}

impl Disk for Salvaging {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.refusals.files().remove(name);
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)?;
        let mut files = self.refusals.files();
        files.remove(to);
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)?;
        self.refusals.files().remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

#[derive(Debug)]
struct SalvagedFile {
    file: Arc<dyn DiskFile>,
    /// The name under which it was opened.
    name: String,
    refusals: Arc<Refusals>,
}

impl SalvagedFile {
    fn read_by_sector(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.file.length()?.saturating_sub(offset);
        let end = offset.saturating_add(left.min(buffer.len() as u64));
        let mut rest = buffer;
        let mut at = offset;
        while at < end {
            let sector = at / SECTOR * SECTOR;
            let length = end.min(sector.saturating_add(SECTOR)) - at;
            let Some((piece, behind)) = rest.split_at_mut_checked(length as usize) else {
                break;
            };
            if self.refusals.was_just_refused(&self.name, sector) {
                piece.fill(0);
            } else {
                match disk::fill(&*self.file, piece, at) {
                    Ok(filled) if filled < piece.len() => {
                        return Ok((at - offset) as usize + filled);
                    }
                    Ok(_) => self.refusals.forget(&self.name, sector),
                    Err(error) if is_refusal(&error) => {
                        piece.fill(0);
                        self.refusals.note(&self.name, sector, &error);
                    }
                    Err(error) => return Err(error),
                }
            }
            rest = behind;
            at += length;
        }
        Ok((at - offset) as usize)
    }
}

impl ReadAt for SalvagedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let range = offset..offset.saturating_add(buffer.len() as u64);
        if self.refusals.within(&self.name, range).is_empty() {
            match self.file.read_at(buffer, offset) {
                Err(error) if is_refusal(&error) => {}
                read => return read,
            }
        }
        self.read_by_sector(buffer, offset)
    }
}

impl DiskFile for SalvagedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

/// So many bytes of a file that the disk does not even open.
#[derive(Debug)]
pub(crate) struct Nothing(pub(crate) u64);

impl ReadAt for Nothing {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.0.saturating_sub(offset).min(buffer.len() as u64) as usize;
        buffer.iter_mut().take(left).for_each(|byte| *byte = 0);
        Ok(left)
    }
}

impl DiskFile for Nothing {
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(Errno::IO.into())
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(Errno::IO.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(Errno::IO.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0)
    }
}
