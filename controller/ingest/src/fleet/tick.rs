//! What happens to the whole fleet now and then.

use std::collections::HashMap;
use std::sync::PoisonError;

use xiezhi_model::{HostId, SiteId};

use super::{ChangedHosts, Fleet};

/// The newest reports of two hosts of a site: one of them is another host, whoever asks.
#[derive(Default)]
struct NewestTwo {
    first: Option<(i64, HostId)>,
    second: Option<i64>,
}

impl NewestTwo {
    fn add(&mut self, host: HostId, at_ms: i64) {
        match self.first {
            Some((first_ms, _)) if first_ms >= at_ms => {
                self.second = self.second.max(Some(at_ms));
            }
            first => {
                self.second = first.map(|(first_ms, _)| first_ms);
                self.first = Some((at_ms, host));
            }
        }
    }

    /// When the newest report of another host came.
    fn besides(&self, host: HostId) -> Option<i64> {
        match self.first {
            Some((_, first)) if first == host => self.second,
            first => first.map(|(at_ms, _)| at_ms),
        }
    }
}

impl Fleet {
    /// Judges every host and tells readers who changed. Once a second: 20,000 hosts take about two
    /// milliseconds.
    pub(crate) fn tick(&self, now_ms: i64) {
        let hosts = self
            .inner
            .hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut newest: HashMap<SiteId, NewestTwo> = HashMap::new();
        let mut sites = Vec::with_capacity(hosts.len());
        for entry in hosts.values() {
            let host = entry.reporting(now_ms);
            if let Some(at_ms) = host.up_ms {
                newest.entry(host.site).or_default().add(entry.id(), at_ms);
            }
            sites.push((entry, host.site));
        }
        let mut changed = Vec::new();
        for (entry, site) in sites {
            let sibling = newest.get(&site).and_then(|two| two.besides(entry.id()));
            if entry.judge(sibling, self.inner.watching_since_ms, now_ms) {
                changed.push(entry.id());
            }
        }
        drop(hosts);
        self.publish(changed);
    }

    fn publish(&self, mut changed: Vec<HostId>) {
        if changed.is_empty() || self.inner.changes.receiver_count() == 0 {
            return;
        }
        changed.sort_unstable();
        // The only failure is that the last reader has just left.
        drop(self.inner.changes.send(ChangedHosts::from(changed)));
    }

    /// Times of last reports that the store does not know yet.
    pub(crate) fn unsaved_last_seen(&self) -> Vec<(HostId, i64)> {
        let hosts = self
            .inner
            .hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let unsaved = |entry: &super::HostEntry| Some((entry.id(), entry.unsaved_last_seen()?));
        hosts.values().filter_map(|entry| unsaved(entry)).collect()
    }

    /// The store knows these now.
    pub(crate) fn saved_last_seen(&self, saved: &[(HostId, i64)]) {
        for &(host, at_ms) in saved {
            if let Some(entry) = self.entry(host) {
                entry.saved_last_seen(at_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_own_report_is_no_proof_of_its_line() {
        let mut two = NewestTwo::default();
        assert_eq!(two.besides(HostId(1)), None);
        two.add(HostId(1), 50);
        assert_eq!(two.besides(HostId(1)), None);
        assert_eq!(two.besides(HostId(2)), Some(50));
        two.add(HostId(2), 40);
        two.add(HostId(3), 60);
        two.add(HostId(4), 55);
        assert_eq!(two.besides(HostId(3)), Some(55));
        assert_eq!(two.besides(HostId(4)), Some(60));
    }
}
