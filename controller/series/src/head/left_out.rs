//! Which hosts report series beyond a limit, so that a person can be told which and why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::frame::HostKey;

/// Hosts that are remembered: a person reads a few, and hosts beyond a limit of all are all hosts.
const MOST_HOSTS: usize = 100;

/// Series of one host that are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Whose.
    pub host: HostKey,
    /// Since when the store leaves some out, Unix milliseconds.
    pub since_ms: i64,
    /// How many series of its newest list of series.
    pub series: u64,
    /// The limit that the first of them is beyond; see [`crate::SeriesLimits`].
    pub limit: &'static str,
    /// The first of them, with its labels.
    pub example: String,
}

/// What is left out now.
#[derive(Debug, Default)]
pub(crate) struct Board {
    hosts: Mutex<BTreeMap<HostKey, LeftOut>>,
    /// How many hosts are in it, so that asking costs the many that are not nothing.
    count: AtomicU64,
}

impl Board {
    /// Notes what is left out of a host's newest list of series, or that nothing is.
    pub(crate) fn note(&self, host: HostKey, left_out: Option<LeftOut>) {
        if left_out.is_none() && self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.remove(&host);
        if let Some(mut new) = left_out
            && hosts.len() < MOST_HOSTS
        {
            new.since_ms = known.map_or(new.since_ms, |known| known.since_ms);
            hosts.insert(host, new);
        }
        self.count.store(hosts.len() as u64, Ordering::Relaxed);
    }

    /// Hosts of which something is left out, ascending.
    pub(crate) fn list(&self) -> Vec<LeftOut> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.values().cloned().collect()
    }
}
