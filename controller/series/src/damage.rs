//! Which places of which files are damaged, as far as this process has met them.
//!
//! A query over a damaged page meets it each time, and a dashboard asks every few seconds: a place is
//! told and counted once, and forgotten when it is read well: a disk that refused it for a moment did not
//! damage it. A file is kept when it would go because a larger file holds what could be read of it, and
//! the pass that read it met damage: a person may read more, and the loss would be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::lacking;

/// How files end that are kept for a person to look at and are not served.
const ASIDE: &str = ".damaged";
/// Places remembered of one file; a disk that lies has millions.
const MOST_PER_FILE: usize = 1000;

/// Damaged places, by file and offset.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Whether there ever was one: almost no store looks further.
    any: AtomicBool,
    files: Mutex<BTreeMap<String, OfFile>>,
}

#[derive(Debug, Default)]
struct OfFile {
    places: BTreeSet<u64>,
    /// How often a reader met one, known or not.
    met: u64,
}

impl Places {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, OfFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a place. True if it is new and should be told.
    pub(crate) fn note(&self, file: &str, offset: u64) -> bool {
        self.any.store(true, Ordering::Relaxed);
        let mut known = self.known();
        let of_file = match known.get_mut(file) {
            Some(of_file) => of_file,
            None => known.entry(file.to_owned()).or_default(),
        };
        of_file.met += 1;
        of_file.places.len() < MOST_PER_FILE && of_file.places.insert(offset)
    }

    /// A place was read well.
    pub(crate) fn well(&self, file: &str, offset: u64) {
        if self.any.load(Ordering::Relaxed)
            && let Some(of_file) = self.known().get_mut(file)
            && of_file.places.remove(&offset)
        {
            tracing::info!(file, offset, "what was damaged is read well again");
        }
    }

    /// A file is read anew, or is gone.
    pub(crate) fn forget(&self, file: &str) {
        self.known().remove(file);
    }

    /// Whether a file has damaged places.
    pub(crate) fn has(&self, file: &str) -> bool {
        let known = self.known();
        known.get(file).is_some_and(|one| !one.places.is_empty())
    }

    /// Whether a file has damaged places other than these.
    pub(crate) fn has_beside(&self, file: &str, places: &[u64]) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let known = self.known();
        let of_file = known.get(file).map(|one| &one.places);
        of_file.is_some_and(|known| known.iter().any(|place| !places.contains(place)))
    }

    /// How often damage was met in a file so far.
    pub(crate) fn met(&self, file: &str) -> u64 {
        self.known().get(file).map_or(0, |one| one.met)
    }

    /// Different places met.
    pub(crate) fn count(&self) -> u64 {
        self.count_in(|_| true)
    }

    /// Different places met in the files that are `wanted`.
    pub(crate) fn count_in(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let known = self.known();
        let wanted = known.iter().filter(|(file, _)| wanted(file));
        wanted.map(|(_, one)| one.places.len()).sum::<usize>() as u64
    }
}

/// Files of the folder that were set aside, ascending.
pub(crate) fn set_aside(disk: &dyn Disk) -> std::io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.retain(|name| name.ends_with(ASIDE));
    names.sort_unstable();
    Ok(names)
}

/// The name that a file had before it was set aside.
pub(crate) fn base_of(name: &str) -> Option<&str> {
    name.strip_suffix(ASIDE)
}

/// The name under which a file is kept for a person.
pub(crate) fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

/// Removes a file whose content is in another one now, if all of it is.
pub(crate) fn remove_if_whole(
    engine: &Engine,
    name: &str,
    is_whole: bool,
) -> Result<(), SeriesError> {
    if is_whole {
        engine.damage.forget(name);
        return engine
            .disk
            .remove(name)
            .map_err(engine.error("remove", name));
    }
    tracing::error!(
        file = name,
        "what could be read of it is in a larger file; it is damaged, so it is set aside as .damaged"
    );
    engine
        .disk
        .rename(name, &aside(name))
        .and_then(|()| engine.disk.sync())
        .map_err(engine.error("set aside", name))?;
    // Answers name it from now on; if that fails now, whoever looks at the store next tries again.
    lacking::list_aside(engine).map_or_else(
        |error| tracing::warn!(%error, "the folder of samples cannot be listed"),
        drop,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_new_once() {
        let places = Places::default();
        assert!(places.note("a", 5));
        assert!(!places.note("a", 5));
        assert!(places.note("b", 5));
        assert_eq!(places.count(), 2);
        assert!(places.has("a") && !places.has("c"));
    }

    #[test]
    fn what_is_read_well_is_no_damage_but_was_met() {
        let places = Places::default();
        places.note("a", 5);
        places.note("a", 5);
        places.well("a", 6);
        assert!(places.has("a"));
        places.well("a", 5);
        assert!(!places.has("a"));
        assert_eq!((places.count(), places.met("a")), (0, 2));
    }

    #[test]
    fn a_file_that_is_all_damage_takes_bounded_memory() {
        let places = Places::default();
        let told = (0..5000).filter(|&offset| places.note("a", offset)).count();
        assert_eq!(
            (told, places.count()),
            (MOST_PER_FILE, MOST_PER_FILE as u64)
        );
    }
}
