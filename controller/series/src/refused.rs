//! Places that the disk refuses to read: a bad sector costs what lies in it, as a changed byte does.
//!
//! Everything that the store reads comes through here. What the disk refuses is read again sector by
//! sector, and a sector that stays refused is handed over as zeros: the checksums around every piece
//! then say that it is damaged, and whoever reads does with it what is done with damage. A drive takes
//! seconds to give a sector up, and a dashboard asks every few seconds, so a refused sector is not
//! asked for again within a minute, and one reading asks for a few of them one by one, then for what is left
//! in large pieces (`halves`). Only a backup and a verification ask for each ([`Thorough`]).
//!
//! Opening is patient: a controller that hangs for two seconds must not cost a file, so what it refuses
//! is asked for again for half a minute (`opening`). What stays refused then, see `unread`.
//!
//! A pass that makes a file of others would make the loss lasting. It watches its sources
//! ([`Refusals::watch`]), is given up if one of them was refused meanwhile, and believes it the third time.
//! Those times are minutes apart, and each asks the disk itself.
//!
//! It never hides a disk that is gone: [`Refusals::await_one`] tells before anything is opened.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::io::Errno;

use crate::disk::{self, Disk, DiskFile, ReadAt};
use crate::error::SeriesError;
use crate::options::AskAgain;

mod halves;
mod opening;

use opening::Opening;

/// What is refused at once: a page of the kernel's cache.
pub(crate) const SECTOR: u64 = 4096;
/// Refused sectors that one reading asks for: a drive takes seconds for each.
const MOST_ASKED: u32 = 8;
/// Sectors remembered of one file; what lies beyond is asked for each time.
const MOST_PER_FILE: usize = 4096;
/// So often a pass is given up before a refusal is believed.
pub(crate) const DOUBTED: u32 = 2;

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

thread_local! {
    /// How many [`Thorough`] this thread has.
    static THOROUGH: Cell<u32> = const { Cell::new(0) };
}

/// While one lives, its thread asks for every sector however many were refused: a backup and a verification
/// may take their time, and nothing else knows what they leave out.
#[derive(Debug)]
pub(crate) struct Thorough(std::marker::PhantomData<*const ()>);

impl Thorough {
    pub(crate) fn begin() -> Self {
        THOROUGH.set(THOROUGH.get() + 1);
        Self(std::marker::PhantomData)
    }
}

impl Drop for Thorough {
    fn drop(&mut self) {
        THOROUGH.set(THOROUGH.get().saturating_sub(1));
    }
}

/// Refused sectors, by file.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether there ever was one: almost no store looks further.
    any: AtomicBool,
    ask_again: AskAgain,
    files: Mutex<BTreeMap<String, OfFile>>,
    /// While the store is opened.
    opening: Mutex<Option<Opening>>,
}

#[derive(Debug, Default)]
struct OfFile {
    /// By the offset of the sector: when it was last asked for; not, if a pass asks itself.
    sectors: BTreeMap<u64, Option<Instant>>,
    /// How often a reader met one.
    met: u64,
    /// Passes that were given up in a row.
    doubted: u32,
    /// When the last of them was.
    doubted_at: Option<Instant>,
}

impl Refusals {
    pub(crate) fn new(ask_again: AskAgain) -> Self {
        Self {
            ask_again,
            ..Self::default()
        }
    }

    /// How often readers of this file met a refused sector.
    pub(crate) fn met(&self, name: &str) -> u64 {
        self.files().get(name).map_or(0, |file| file.met)
    }

    /// Asks for the refused sectors of a file now. Whether the disk gave them all.
    pub(crate) fn are_given(&self, disk: &dyn Disk, name: &str) -> bool {
        let sectors = self.of(name);
        if let Some(file) = self.files().get_mut(name) {
            file.ask_all();
        }
        let Ok(file) = disk.open(name) else {
            return false;
        };
        sectors.iter().all(|&sector| {
            let before = self.met(name);
            disk::read_block(&*file, sector, 1).is_ok() && self.met(name) == before
        })
    }

    /// Whether sectors of a file are refused, and none of them was asked for lately.
    pub(crate) fn is_due(&self, name: &str) -> bool {
        !self.of(name).is_empty() && !self.has_just_refused(name, 0..u64::MAX)
    }

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
        let asked = file.sectors.get(&sector).copied().flatten();
        let lately = self.is_lately(asked);
        file.met += u64::from(lately);
        lately
    }

    fn is_lately(&self, asked: Option<Instant>) -> bool {
        let pause = self.ask_again.sector;
        asked.is_some_and(|asked| self.now().saturating_duration_since(asked) < pause)
    }

    /// Whether a sector of this range was refused not long ago.
    fn has_just_refused(&self, name: &str, range: Range<u64>) -> bool {
        let first = range.start / SECTOR * SECTOR;
        let files = self.files();
        let sectors = files.get(name).map(|file| &file.sectors);
        let mut sectors = sectors
            .iter()
            .flat_map(|sectors| sectors.range(first..range.end));
        sectors.any(|(_, asked)| self.is_lately(*asked))
    }

    fn now(&self) -> Instant {
        (self.ask_again.now)()
    }

    /// A sector was not asked for, because the disk refused enough in this reading or at this start.
    fn pass_over(&self, name: &str) {
        self.any.store(true, Ordering::Relaxed);
        let mut files = self.files();
        match files.get_mut(name) {
            Some(file) => file.met += 1,
            None => files.entry(name.to_owned()).or_default().met = 1,
        }
    }

    fn note(&self, name: &str, sector: u64, error: &io::Error) {
        self.any.store(true, Ordering::Relaxed);
        let mut files = self.files();
        let file = files.entry(name.to_owned()).or_default();
        file.met += 1;
        let has_room = file.sectors.len() < MOST_PER_FILE;
        let now = Some(self.now());
        let is_new = match file.sectors.get_mut(&sector) {
            Some(asked) => {
                *asked = now;
                false
            }
            None => has_room && file.sectors.insert(sector, now).is_none(),
        };
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

    /// Begins to look at what is read of these files; their refused sectors are asked for again.
    ///
    /// # Errors
    /// One of them was refused not long ago: a pass would only find the same.
    pub(crate) fn watch<'n>(
        &self,
        disk: &dyn Disk,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Watch, SeriesError> {
        let mut watch = Watch(Vec::new());
        let mut files = self.files();
        for name in names {
            let Some(file) = files.get_mut(name) else {
                watch.0.push((name.to_owned(), 0));
                continue;
            };
            if file
                .doubted_at
                .is_some_and(|at| self.now().saturating_duration_since(at) < self.ask_again.doubt)
            {
                return Err(not_believed(disk, name));
            }
            file.ask_all();
            watch.0.push((name.to_owned(), file.met));
        }
        Ok(watch)
    }
}

impl OfFile {
    /// Whoever reads next asks the disk.
    fn ask_all(&mut self) {
        self.sectors.values_mut().for_each(|asked| *asked = None);
    }
}

fn not_believed(disk: &dyn Disk, name: &str) -> SeriesError {
    SeriesError::io("read", disk.path(name), Errno::IO.into())
}

/// Files that a pass reads, and how often they had been refused before.
#[derive(Debug)]
pub(crate) struct Watch(Vec<(String, u64)>);

impl Watch {
    /// All was read.
    ///
    /// # Errors
    /// Some of it was refused, and that is not believed yet.
    pub(crate) fn end(self, refusals: &Refusals, disk: &dyn Disk) -> Result<(), SeriesError> {
        let mut files = refusals.files();
        let mut outcome = Ok(());
        for (name, before) in self.0 {
            let Some(file) = files.get_mut(&name) else {
                continue;
            };
            if file.met == before {
                (file.doubted, file.doubted_at) = (0, None);
            } else if file.doubted < DOUBTED {
                file.doubted += 1;
                file.doubted_at = Some(refusals.now());
                outcome = Err(not_believed(disk, &name));
            }
        }
        outcome
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

    fn others(&self) -> io::Result<Vec<String>> {
        self.disk.others()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        loop {
            let begun = self.refusals.now();
            match self.disk.open(name) {
                Err(error) if is_refusal(&error) => {
                    if !self.refusals.may_ask_again(name, begun, &error) {
                        self.refusals.note(name, 0, &error);
                        return Err(error);
                    }
                }
                opened => return Ok(self.file(name, opened?)),
            }
        }
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
    /// Fills `piece`; a start is patient.
    fn ask(&self, piece: &mut [u8], at: u64) -> io::Result<usize> {
        loop {
            let begun = self.refusals.now();
            match disk::fill(&*self.file, piece, at) {
                Err(error)
                    if is_refusal(&error)
                        && self.refusals.may_ask_again(&self.name, begun, &error) => {}
                filled => return filled,
            }
        }
    }

    fn read_by_sector(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.file.length()?.saturating_sub(offset);
        let end = offset.saturating_add(left.min(buffer.len() as u64));
        let mut rest = buffer;
        let mut at = offset;
        let mut refused = 0;
        while at < end {
            if refused >= MOST_ASKED && THOROUGH.get() == 0 {
                let left = usize::try_from(end - at).unwrap_or(usize::MAX);
                self.read_by_halves(rest.get_mut(..left).unwrap_or_default(), at)?;
                at = end;
                break;
            }
            let sector = at / SECTOR * SECTOR;
            let length = end.min(sector.saturating_add(SECTOR)) - at;
            let Some((piece, behind)) = rest.split_at_mut_checked(length as usize) else {
                break;
            };
            if self.refusals.was_just_refused(&self.name, sector) {
                piece.fill(0);
            } else if self.refusals.is_given_up(&self.name) {
                piece.fill(0);
                self.refusals.pass_over(&self.name);
            } else {
                match self.ask(piece, at) {
                    Ok(filled) if filled < piece.len() => {
                        return Ok((at - offset) as usize + filled);
                    }
                    Ok(_) => self.refusals.forget(&self.name, sector),
                    Err(error) if is_refusal(&error) => {
                        piece.fill(0);
                        refused += 1;
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
            if self.refusals.is_given_up(&self.name) {
                return self.read_by_sector(buffer, offset);
            }
            let begun = self.refusals.now();
            match self.file.read_at(buffer, offset) {
                Err(error) if is_refusal(&error) => {
                    self.refusals.note_refusal(&self.name, begun, &error);
                }
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
