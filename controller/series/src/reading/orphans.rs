//! Frames of wanted hosts that cannot be decoded: what they held is in no answer.

use std::sync::Arc;

use crate::block::Block;
use crate::engine::Catalog;
use crate::frame::HostKey;
use crate::head;

use super::Reading;

impl Reading<'_, '_> {
    /// Counts those of logs with frames of the wanted time.
    pub(super) fn note_orphans(&mut self, files: &Catalog) {
        let (from_ms, to_ms) = (self.wanted.from_ms, self.wanted.to_ms);
        let heads = &self.engine.heads;
        if !heads.have_orphans() {
            return;
        }
        let hosts: Vec<HostKey> = match &self.wanted.hosts {
            Some(hosts) => hosts.clone(),
            None => heads.hosts().into_iter().map(|(host, _)| host).collect(),
        };
        let near = files.logs.values();
        let near = near.filter(|log| log.state().span.overlaps(from_ms, to_ms));
        let near: Vec<u64> = near.map(|log| log.id).collect();
        for head in hosts.into_iter().filter_map(|host| heads.find(host)) {
            let head = head::lock(&head);
            let orphans = near.iter().map(|&log| head.orphans(log).len() as u64);
            self.found.lacking.frames += orphans.sum::<u64>();
        }
    }

    /// Counts those of a block of the wanted time.
    pub(super) fn note_undecoded(&mut self, block: &Arc<Block>) {
        let undecoded = block.undecoded().iter();
        let is_wanted = |host: &HostKey| match &self.wanted.hosts {
            Some(hosts) => hosts.binary_search(host).is_ok(),
            None => true,
        };
        let wanted = undecoded.filter(|(host, _)| is_wanted(host));
        self.found.lacking.frames += wanted.map(|(_, frames)| frames).sum::<u64>();
    }
}
