//! A disk in memory that loses power at a chosen operation and keeps what was synced, and of the
//! rest what a seed decides: sectors of unsynced writes, and a prefix of unsynced folder changes.
//!
//! It can also fail at one operation or one reading and work on, or refuse sectors for ever. As on Linux, what a failed sync did
//! not bring to the device is never tried again: a later sync succeeds without it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use xiezhi_series::disk::{Disk, DiskFile, ReadAt};

const SECTOR: usize = 64;
/// What a device refuses at once.
const REFUSED: u64 = 4096;
/// EIO.
const REFUSAL: i32 = 5;

thread_local! {
    /// Readings that disks refused to this thread.
    pub static REFUSALS: Cell<u32> = const { Cell::new(0) };
}

/// The disk. Cloning gives another handle of the same one.
#[derive(Debug, Clone, Default)]
pub struct PowerDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What readers see.
    names: BTreeMap<String, usize>,
    /// What is durable of the folder.
    durable_names: BTreeMap<String, usize>,
    /// Folder changes since it was synced.
    changes: Vec<Change>,
    files: Vec<FileState>,
    /// Operations left before the power goes; None: it stays.
    fuse: Option<u64>,
    operations: u64,
    dead: bool,
    /// Operations left before one fails, and how.
    failure: Option<(u64, io::ErrorKind)>,
    readings: u64,
    /// Readings left before one fails, and whether the device refuses it.
    bad_reading: Option<(u64, bool)>,
    /// Sectors of files that cannot be read; all of them if there is no number.
    refused: BTreeSet<(usize, Option<u64>)>,
    /// Readings that were refused.
    refusals: u64,
    /// Readings of refused sectors left before all of them can be read; None: never.
    refusals_left: Option<u64>,
    refuses_listing: bool,
    /// Bytes that fit; None: endless.
    capacity: Option<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default, Clone)]
struct FileState {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that a failed sync gave up and that were not written again.
    given_up: BTreeSet<usize>,
}

impl FileState {
    fn touch(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            self.given_up.remove(&sector);
        }
    }

    fn give_up(&mut self) {
        for (index, sector) in self.now.chunks(SECTOR).enumerate() {
            let start = index * SECTOR;
            if self.durable.get(start..start + sector.len()) != Some(sector) {
                self.given_up.insert(index);
            }
        }
    }

    fn sync(&mut self) {
        let mut synced = self.now.clone();
        for &sector in &self.given_up {
            for place in sector * SECTOR..((sector + 1) * SECTOR).min(synced.len()) {
                synced[place] = self.durable.get(place).copied().unwrap_or(0);
            }
        }
        self.durable = synced;
    }
}

/// How an operation goes.
enum Fate {
    Works,
    /// The power goes during it.
    Dies,
    /// It fails, some of it may have been done.
    Fails(io::Error),
}

impl PowerDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Cuts the power after so many more changing operations.
    pub fn set_fuse(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// One operation fails after so many; what comes after it works.
    pub fn fail_once(&self, after: u64, how: io::ErrorKind) {
        self.state().failure = Some((after, how));
    }

    /// One reading fails after so many.
    pub fn fail_reading_once(&self, after: u64) {
        self.state().bad_reading = Some((after, false));
    }

    /// One reading is refused by the device after so many; when it is tried again it works.
    pub fn refuse_reading_once(&self, after: u64) {
        self.state().bad_reading = Some((after, true));
    }

    /// From now on a sector of a file cannot be read; none of them without a number.
    pub fn refuse(&self, name: &str, sector: Option<u64>) {
        let mut state = self.state();
        let file = state.names[name];
        state.refused.insert((file, sector));
    }

    /// Whether the folder cannot be listed.
    pub fn refuse_listing(&self, refused: bool) {
        self.state().refuses_listing = refused;
    }

    /// What is refused can be read after so many refusals more.
    pub fn relent_after(&self, refusals: u64) {
        let mut state = self.state();
        state.refusals_left = Some(refusals);
        state.relent();
    }

    /// Sectors of a file.
    pub fn sectors(&self, name: &str) -> u64 {
        (self.length(name) as u64).div_ceil(REFUSED)
    }

    /// Whether a failure that was asked for did not come yet.
    pub fn waits_to_fail(&self) -> bool {
        let state = self.state();
        state.failure.is_some() || state.bad_reading.is_some()
    }

    /// Readings so far.
    pub fn readings(&self) -> u64 {
        self.state().readings
    }

    /// Readings of refused sectors so far.
    pub fn refusals(&self) -> u64 {
        self.state().refusals
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Changes a byte of a file, as a bad disk does.
    pub fn flip(&self, name: &str, offset: usize) {
        let mut state = self.state();
        let file = state.names[name];
        for bytes in [true, false] {
            let file = &mut state.files[file];
            let bytes = if bytes {
                &mut file.now
            } else {
                &mut file.durable
            };
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 0x10;
            }
        }
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].now.clone()
    }

    /// Sectors of this length are zeros, or all of their bytes are others.
    pub fn spoil(&self, name: &str, sector: usize, length: usize, zeroed: bool) {
        let mut state = self.state();
        let file = state.names[name];
        let file = &mut state.files[file];
        for bytes in [&mut file.now, &mut file.durable] {
            let end = bytes.len().min((sector + 1) * length);
            for byte in bytes.iter_mut().take(end).skip(sector * length) {
                *byte = if zeroed { 0 } else { !*byte };
            }
        }
    }

    pub fn length(&self, name: &str) -> usize {
        let state = self.state();
        state.files[state.names[name]].now.len()
    }

    pub fn remove_file(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// What another process sees after the first was killed while the machine went on: all that was
    /// written, durable or not.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            changes: state.changes.clone(),
            files: state.files.clone(),
            refused: state.refused.clone(),
            ..State::default()
        })))
    }

    /// What is on the disk after the power came back: a new disk.
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut random = Random(seed | 1);
        let state = self.state();
        let mut names = state.durable_names.clone();
        let kept = random.below(state.changes.len() as u64 + 1) as usize;
        for change in &state.changes[..kept] {
            apply(&mut names, change);
        }
        let files: Vec<FileState> = state
            .files
            .iter()
            .map(|file| {
                let survived = survive(file, &mut random);
                FileState {
                    now: survived.clone(),
                    durable: survived,
                    ..FileState::default()
                }
            })
            .collect();
        Self(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            files,
            refused: state.refused.clone(),
            ..State::default()
        })))
    }
}

/// Any length between the durable and the written one, any mix of old and new sectors.
fn survive(file: &FileState, random: &mut Random) -> Vec<u8> {
    let (low, high) = (
        file.durable.len().min(file.now.len()),
        file.durable.len().max(file.now.len()),
    );
    let length = match random.below(3) {
        0 => file.durable.len(),
        1 => file.now.len(),
        _ => low + random.below((high - low) as u64 + 1) as usize,
    };
    let mut survived = vec![0; length];
    for (index, sector) in survived.chunks_mut(SECTOR).enumerate() {
        let source = if random.below(2) == 0 {
            &file.durable
        } else {
            &file.now
        };
        let start = index * SECTOR;
        for (at, byte) in sector.iter_mut().enumerate() {
            *byte = source.get(start + at).copied().unwrap_or(0);
        }
        // What is durable and was not written over cannot be lost.
        for (at, byte) in sector.iter_mut().enumerate() {
            let place = start + at;
            if let (Some(durable), Some(now)) = (file.durable.get(place), file.now.get(place))
                && durable == now
            {
                *byte = *durable;
            }
        }
    }
    survived
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Set(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

impl Fate {
    /// What the caller hears.
    fn end(self) -> io::Result<()> {
        match self {
            Self::Works => Ok(()),
            Self::Dies => Err(io::Error::other("power lost")),
            Self::Fails(error) => Err(error),
        }
    }
}

impl State {
    fn relent(&mut self) {
        if self.refusals_left == Some(0) {
            self.refused.clear();
            self.refusals_left = None;
        }
    }

    /// A changing operation begins; it fails if the power is gone.
    fn operate(&mut self) -> io::Result<Fate> {
        self.operations += 1;
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        if let Some((left, how)) = &mut self.failure {
            if *left == 0 {
                let how = *how;
                self.failure = None;
                return Ok(Fate::Fails(how.into()));
            }
            *left -= 1;
        }
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                self.dead = true;
                return Ok(Fate::Dies);
            }
            *left -= 1;
        }
        Ok(Fate::Works)
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let fate = self.operate()?;
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        apply(&mut self.names, &change);
        self.changes.push(change);
        fate.end()
    }

    fn used(&self) -> usize {
        self.names
            .values()
            .map(|&file| self.files[file].now.len())
            .sum()
    }
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    index: usize,
}

impl ReadAt for PowerFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.readings += 1;
        match &mut state.bad_reading {
            Some((0, is_refused)) => {
                let refusal = io::Error::from_raw_os_error(REFUSAL);
                let other = io::Error::other("the device cannot read here");
                let error = if *is_refused { refusal } else { other };
                state.bad_reading = None;
                return Err(error);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        let last = offset.saturating_add(buffer.len() as u64).saturating_sub(1) / REFUSED;
        let refused = (offset / REFUSED..=last).map(|sector| (self.index, Some(sector)));
        let mut refused = refused.chain([(self.index, None)]);
        if !buffer.is_empty() && refused.any(|one| state.refused.contains(&one)) {
            state.refusals += 1;
            REFUSALS.set(REFUSALS.get() + 1);
            state.refusals_left = state.refusals_left.map(|left| left.saturating_sub(1));
            state.relent();
            return Err(io::Error::from_raw_os_error(REFUSAL));
        }
        state.files[self.index].now.read_at(buffer, offset)
    }
}

impl DiskFile for PowerFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate()?;
        let used = state.used();
        let room = state
            .capacity
            .map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        let (start, mut end) = (offset as usize, offset as usize + bytes.len());
        if matches!(fate, Fate::Fails(_)) {
            end -= bytes.len() / 2;
        }
        state.files[self.index].touch(start, end);
        let file = &mut state.files[self.index].now;
        let growth = end.saturating_sub(file.len());
        let full = growth > room;
        if full {
            end -= growth - room;
        }
        if file.len() < end {
            file.resize(end, 0);
        }
        if start < end {
            file[start..end].copy_from_slice(&bytes[..end - start]);
        }
        fate.end()?;
        if full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate()?;
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        state.files[self.index].now.resize(length as usize, 0);
        fate.end()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.operate()?;
        let file = &mut state.files[self.index];
        match fate {
            Fate::Works => file.sync(),
            Fate::Fails(_) => file.give_up(),
            Fate::Dies => {}
        }
        fate.end()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.index].now.len() as u64)
    }
}

impl Disk for PowerDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        if self.state().refuses_listing {
            return Err(io::Error::from_raw_os_error(REFUSAL));
        }
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let index = *self
            .state()
            .names
            .get(name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(PowerFile {
            disk: self.clone(),
            index,
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let index = state.files.len();
        state.files.push(FileState::default());
        state.change(Change::Set(name.to_owned(), index))?;
        drop(state);
        Ok(Arc::new(PowerFile {
            disk: self.clone(),
            index,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?.end()?;
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/power").join(name)
    }
}
