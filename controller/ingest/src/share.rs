//! How many of some places each source holds, and that none holds more than its share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Source;

/// The shares of all sources. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    held: Arc<Mutex<HashMap<Source, usize>>>,
    most: usize,
}

impl Shares {
    /// At most `most` places for each source, and at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            held: Arc::default(),
            most: most.max(1),
        }
    }

    /// One place, if the source has any left.
    pub(crate) fn take(&self, source: Source) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share {
            held: Arc::clone(&self.held),
            source,
        })
    }
}

/// A place of one source; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Mutex<HashMap<Source, usize>>>,
    source: Source,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn one_source_never_takes_more_than_its_share() {
        let shares = Shares::new(2);
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        let (one, two) = (source("2001:db8::1"), source("10.0.0.2"));
        let held: Vec<_> = (0..2).map(|_| shares.take(one).unwrap()).collect();
        assert!(shares.take(one).is_none());
        assert!(shares.take(source("2001:db8::2")).is_none());
        assert!(shares.take(two).is_some());
        drop(held);
        assert!(shares.held.lock().unwrap().is_empty());
        assert!(shares.take(one).is_some());
    }
}
