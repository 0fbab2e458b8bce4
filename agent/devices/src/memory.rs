//! What is remembered of a device between two polls, and the file that it lies in.
//!
//! A file and not the process's memory, because 3,000 devices of 100 ports have five million counters.
//! It is written whole at each poll, to a temporary that is renamed, and never synced: a lost, torn,
//! foreign or old file makes the next poll a first one, which costs a gap and nothing else.

mod format;
pub mod ports;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::counters::{Counter, Gap, Told};
use crate::moment::{Clocks, Continuity, Moment};
use ports::PortBook;

pub use format::{Unreadable, VERSION};

/// Longest file that is read, bytes; a chassis of 2,000 ports needs a quarter of it.
const LONGEST: u64 = 4 << 20;

/// Most counters of one device that are remembered.
const MOST_COUNTERS: usize = 100_000;

/// After so long a counter or a port that nobody saw is forgotten.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which row of which table a counter stands in: a digest of what tells the row apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub u64);

impl Row {
    /// The row of a table with these labels. The digest (FNV-1a) is in files and never changes.
    #[must_use]
    pub fn of<'a>(table: &'a str, labels: impl IntoIterator<Item = &'a str>) -> Self {
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        for part in std::iter::once(table).chain(labels) {
            // 0xff is no byte of any text, so parts never run together.
            for byte in part.bytes().chain([0xff]) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self(digest)
    }
}

/// How a device answered last, as far as it was told to anybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// Never asked.
    #[default]
    Unknown,
    /// It answered.
    Answers,
    /// It did not.
    Silent,
}

/// What is remembered of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// When it answered last.
    pub at: Moment,
    /// Milliseconds between all polls so far: the clock of [`Counter::seen_ms`].
    pub clock_ms: u64,
    /// What its clocks told then.
    pub clocks: Clocks,
    /// sysObjectID.
    pub object_id: String,
    /// sysDescr.
    pub description: String,
    /// The profile that it was recognised as; empty if it was not.
    pub profile: String,
    /// A digest of the profiles among which it was recognised.
    pub profiles: u64,
    /// Whether it answered.
    pub presence: Presence,
    /// Since when, Unix milliseconds.
    pub presence_since_ms: i64,
    /// Its ports.
    pub ports: PortBook,
    /// Its counters, by row and name.
    counters: BTreeMap<Row, BTreeMap<u16, Counter>>,
    /// The names of counters.
    names: Vec<String>,
    /// What was remembered is lost: counters begin at zero.
    pub forgotten: bool,
}

/// What passed since the last poll, which all counters share.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    /// How long it is ago; zero for the first poll.
    pub elapsed: Duration,
    /// Whether the device went on.
    pub continuity: Continuity,
}

impl Memory {
    /// The file of a device in the folder of memories.
    #[must_use]
    pub fn path(folder: &Path, device: &str) -> PathBuf {
        folder.join(format!("{device}.memory"))
    }

    /// Reads it; a file that cannot be used is as none, except that it says so in the second part.
    #[must_use]
    pub fn load(path: &Path) -> (Self, Option<Unreadable>) {
        let read = fs::metadata(path).and_then(|found| {
            if found.len() > LONGEST {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            fs::read(path)
        });
        let told = match read {
            Ok(bytes) => Self::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new(),
            Err(error) => Err(Unreadable::Read(error)),
        };
        match told {
            Ok(memory) => (memory, None),
            Err(error) => {
                let lost = Self {
                    forgotten: true,
                    ..Self::default()
                };
                (lost, Some(error))
            }
        }
    }

    fn new() -> (Self, Option<Unreadable>) {
        (Self::default(), None)
    }

    /// Writes it whole beside the old one and takes its place.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("memory.new");
        fs::write(&beside, self.encode())?;
        fs::rename(&beside, path)
    }

    /// Whether the device was ever polled, as far as this remembers.
    #[must_use]
    pub fn has_polled(&self) -> bool {
        self.at != Moment::default()
    }

    /// Goes on to a poll at `now` in which the device told `clocks`.
    pub fn advance(&mut self, now: Moment, mut clocks: Clocks) -> Since {
        let is_first = !self.has_polled();
        let wall = if is_first {
            Duration::ZERO
        } else {
            now.since(&self.at)
        };
        let continuity = if is_first {
            Continuity::Same
        } else {
            clocks.follow(&self.clocks, wall)
        };
        // A wall clock that went back says less than the device's own.
        let ticked = match (clocks.uptime_s(), self.clocks.uptime_s(), continuity) {
            (Some(now), Some(before), Continuity::Same) => now.saturating_sub(before),
            _ => 0,
        };
        let elapsed = if wall.is_zero() && !is_first {
            Duration::from_secs(ticked)
        } else {
            wall
        };
        self.at = now;
        self.clocks = clocks;
        self.clock_ms += u64::try_from(elapsed.as_millis()).unwrap_or_default();
        Since {
            elapsed,
            continuity,
        }
    }

    /// Takes what a counter told; yields its sample, or why it has none.
    ///
    /// `told` says everything but when, which is the time of the last [`Memory::advance`].
    ///
    /// # Errors
    /// Why there is no sample.
    pub fn count(&mut self, row: Row, name: &str, mut told: Told) -> Result<u64, Gap> {
        let Some(name) = self.name(name) else {
            return Ok(told.raw);
        };
        let counters = self.counters.entry(row).or_default();
        let before = counters.get(&name);
        told.now_ms = self.clock_ms;
        told.elapsed = Duration::from_millis(
            self.clock_ms
                .saturating_sub(before.map_or(self.clock_ms, |counter| counter.seen_ms)),
        );
        told.forgotten = self.forgotten;
        let (counter, gap) = told.judge(before);
        counters.insert(name, counter);
        gap.map_or(Ok(counter.sample()), Err)
    }

    /// The number of a counter's name; `None` if there are too many.
    fn name(&mut self, name: &str) -> Option<u16> {
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return u16::try_from(place).ok();
        }
        let place = u16::try_from(self.names.len()).ok()?;
        self.names.push(name.to_owned());
        Some(place)
    }

    /// Ends a poll: forgets what nobody saw for [`KEPT`], and what is too much.
    pub fn tidy(&mut self) {
        self.forgotten = false;
        let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.clock_ms.saturating_sub(kept_ms);
        for counters in self.counters.values_mut() {
            counters.retain(|_, counter| counter.seen_ms >= oldest);
        }
        self.counters.retain(|_, counters| !counters.is_empty());
        let mut room = MOST_COUNTERS;
        self.counters.retain(|_, counters| {
            let fits = counters.len() <= room;
            room -= counters.len().min(room);
            fits
        });
        self.ports.tidy(self.at.unix_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64) -> Moment {
        Moment {
            unix_ms: 1_700_000_000_000 + i64::try_from(seconds * 1000).unwrap(),
            boot_ms: seconds * 1000,
            boot: 1,
        }
    }

    fn up(seconds: u32) -> Clocks {
        Clocks {
            uptime_ticks: Some(seconds * 100),
            ..Clocks::default()
        }
    }

    fn told(raw: u64) -> Told {
        Told {
            raw,
            narrow: false,
            limit: None,
            elapsed: Duration::ZERO,
            now_ms: 0,
            restarted: false,
            discontinued: false,
            forgotten: false,
        }
    }

    fn polled() -> Memory {
        let mut memory = Memory::default();
        memory.advance(moment(1000), up(500));
        let row = Row::of("ports", ["Gi0/1"]);
        assert_eq!(memory.count(row, "ifHCInOctets", told(77)), Ok(77));
        memory.object_id = "1.3.6.1.4.1.2011.2".to_owned();
        memory.tidy();
        memory
    }

    #[test]
    fn what_is_written_is_read_back_whatever_became_of_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Memory::path(folder.path(), "sw-1");
        assert_eq!(Memory::load(&path).0, Memory::default());
        let memory = polled();
        memory.save(&path).unwrap();
        let (read, error) = Memory::load(&path);
        assert!(read == memory && error.is_none(), "{error:?}");
        memory.save(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_torn_or_foreign_file_is_a_first_poll_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = Memory::path(folder.path(), "sw-1");
        let whole = polled().encode();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (memory, error) = Memory::load(&path);
            assert!(
                error.is_some() && memory.forgotten && !memory.has_polled(),
                "{cut}"
            );
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            assert!(Memory::decode(&damaged).is_err(), "{place}");
        }
        fs::write(&path, b"something else").unwrap();
        let (mut memory, error) = Memory::load(&path);
        assert!(matches!(error, Some(Unreadable::Foreign)));
        // Its counters begin at zero, so no rate sees a jump.
        memory.advance(moment(2000), up(1500));
        assert_eq!(memory.count(Row(1), "ifHCInOctets", told(1 << 60)), Ok(0));
    }

    #[test]
    fn what_nobody_saw_for_long_is_forgotten() {
        let mut memory = polled();
        memory.advance(moment(1000 + KEPT.as_secs() - 1), up(1));
        memory.tidy();
        assert_eq!(memory.counters.len(), 1);
        memory.advance(moment(1000 + KEPT.as_secs() + 60), up(62));
        memory.tidy();
        assert_eq!(memory.counters.len(), 0);
    }

    #[test]
    fn rows_are_told_apart_by_their_parts() {
        assert_ne!(Row::of("t", ["a", "bc"]), Row::of("t", ["ab", "c"]));
        // In files of every version.
        assert_eq!(Row::of("ports", ["Gi0/1"]).0, 0x997781919d4adda5);
    }
}
