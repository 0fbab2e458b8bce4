//! Which places of which files are damaged, as far as this process has met them.
//!
//! A query over a damaged page meets it each time, and a dashboard asks every few seconds: a place is
//! told and counted once. A file with such a place is kept when it would go because a larger file
//! holds what could be read of it: a person may read more, and the loss would be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::SeriesError;

/// How files end that are kept for a person to look at and are not served.
const ASIDE: &str = ".damaged";
/// Places remembered of one file; a disk that lies has millions.
const MOST_PER_FILE: usize = 1000;

/// Damaged places, by file and offset.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<String, BTreeSet<u64>>>);

impl Places {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a place. True if it is new and should be told.
    pub(crate) fn note(&self, file: &str, offset: u64) -> bool {
        let mut known = self.known();
        let places = match known.get_mut(file) {
            Some(places) => places,
            None => known.entry(file.to_owned()).or_default(),
        };
        places.len() < MOST_PER_FILE && places.insert(offset)
    }

    /// Whether a file has damaged places.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.known().contains_key(file)
    }

    /// Different places met.
    pub(crate) fn count(&self) -> u64 {
        self.known().values().map(BTreeSet::len).sum::<usize>() as u64
    }
}

/// Files of the folder that were set aside, ascending.
pub(crate) fn set_aside(disk: &dyn Disk) -> std::io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.retain(|name| name.ends_with(ASIDE));
    names.sort_unstable();
    Ok(names)
}

/// The name under which a file is kept for a person.
pub(crate) fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

/// Removes a file whose content is in another one now. One with damaged places is set aside, durably.
pub(crate) fn remove_or_keep(engine: &Engine, name: &str) -> Result<(), SeriesError> {
    if !engine.damage.has(name) {
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
        .map_err(engine.error("set aside", name))
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
    fn a_file_that_is_all_damage_takes_bounded_memory() {
        let places = Places::default();
        let told = (0..5000).filter(|&offset| places.note("a", offset)).count();
        assert_eq!(
            (told, places.count()),
            (MOST_PER_FILE, MOST_PER_FILE as u64)
        );
    }
}
