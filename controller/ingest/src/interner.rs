//! One copy of each series text for all hosts.
//!
//! Twenty thousand hosts report a few hundred distinct texts between them; every decoder holds
//! references to the same copy. The table is sharded by hash, and a text that no decoder uses any
//! more goes at the next sweep.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use xiezhi_protocol::codec::SeriesName;

const SHARDS: usize = 64;

/// Dead entries are swept from a shard when it has grown to this, and then at each doubling.
const FIRST_SWEEP: usize = 256;

/// The table. Texts come from certified agents and are bounded by the cardinality limit of each.
#[derive(Debug)]
pub(crate) struct Interner {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug)]
struct Shard {
    // Keyed by the hash of the text, so that a text is held once and not again as a key.
    texts: HashMap<u64, Vec<SeriesName>>,
    len: usize,
    sweep_at: usize,
}

impl Interner {
    pub(crate) fn new() -> Self {
        let shard = || Shard {
            texts: HashMap::new(),
            len: 0,
            sweep_at: FIRST_SWEEP,
        };
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
        }
    }

    /// The shared copy of `text`.
    pub(crate) fn intern(&self, text: &str) -> SeriesName {
        let hash = self.hasher.hash_one(text);
        let Some(shard) = self.shards.get(hash as usize % SHARDS) else {
            return text.into();
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.find(hash, text) {
            return known;
        }
        let fresh = SeriesName::new(text);
        shard.insert(hash, fresh.clone());
        fresh
    }

    /// How many texts are held, dead ones that were not swept yet included.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len)
            .sum()
    }
}

impl Shard {
    fn find(&self, hash: u64, text: &str) -> Option<SeriesName> {
        let same_hash = self.texts.get(&hash)?;
        same_hash.iter().find(|known| ***known == *text).cloned()
    }

    fn insert(&mut self, hash: u64, name: SeriesName) {
        if self.len >= self.sweep_at {
            self.sweep();
        }
        self.texts.entry(hash).or_default().push(name);
        self.len += 1;
    }

    fn sweep(&mut self) {
        self.texts.retain(|_, same_hash| {
            // The table is a holder too.
            same_hash.retain(|name| name.holders() > 1);
            !same_hash.is_empty()
        });
        self.len = self.texts.values().map(Vec::len).sum();
        self.sweep_at = (self.len * 2).max(FIRST_SWEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_held_once() {
        let interner = Interner::new();
        let first = interner.intern("node_load1");
        let second = interner.intern("node_load1");
        assert!(first.is_same_copy(&second));
        assert!(!first.is_same_copy(&interner.intern("node_load5")));
    }

    #[test]
    fn texts_that_nobody_uses_are_swept() {
        let interner = Interner::new();
        for number in 0..200_000 {
            drop(interner.intern(&format!("m{{n=\"{number}\"}}")));
        }
        assert!(
            interner.len() <= SHARDS * FIRST_SWEEP * 2,
            "{}",
            interner.len()
        );
    }
}
