//! What a stored frame held, when memory has forgotten it.
//!
//! Only the last 256 checksums of a lane are in memory. An agent whose acknowledgements were lost
//! may send more than that again, and an agent whose spool was restored from an old copy sends
//! frames of days ago: both are replays, and the stored frames prove it. So they are looked up on
//! disk, within a budget per append, because this runs while the writer waits.

use std::collections::{HashMap, VecDeque};
use std::io;

use crate::engine::{Catalog, Engine};
use crate::frame::HostKey;
use crate::record;
use crate::scan::Step;

/// Reads allowed per append. Beyond it a frame counts as forgotten, so it is stored again in the
/// epoch that the caller opens: slower for no one, and nothing lost.
const READS_PER_APPEND: u32 = 2000;
/// Read regions kept: replays come in sequence, from a few hosts at a time.
const KEPT: usize = 16;

/// Recently read checksums of stored frames.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    kept: VecDeque<Page>,
    budget: u32,
}

/// The checksums of one (host, epoch) in one file.
#[derive(Debug)]
struct Page {
    host: HostKey,
    epoch: u64,
    checksums: HashMap<u64, u32>,
}

impl Recall {
    /// A new append begins.
    pub(crate) fn refill(&mut self) {
        self.budget = READS_PER_APPEND;
    }

    /// The checksum of a stored frame; `None` if it is not to be found within the budget.
    pub(crate) fn checksum(
        &mut self,
        engine: &Engine,
        host: HostKey,
        epoch: u64,
        seq: u64,
    ) -> Option<u32> {
        let of_lane = |page: &&Page| page.host == host && page.epoch == epoch;
        let kept = self
            .kept
            .iter()
            .filter(of_lane)
            .find_map(|page| page.checksums.get(&seq));
        if let Some(&checksum) = kept {
            return Some(checksum);
        }
        let checksums = match self.search(&engine.files(), host, epoch, seq) {
            Ok(found) => found?,
            Err(error) => {
                tracing::warn!(host, error = %error, "cannot look up a replayed frame");
                return None;
            }
        };
        let checksum = checksums.get(&seq).copied();
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(Page {
            host,
            epoch,
            checksums,
        });
        checksum
    }

    fn search(
        &mut self,
        files: &Catalog,
        host: HostKey,
        epoch: u64,
        seq: u64,
    ) -> io::Result<Option<HashMap<u64, u32>>> {
        for log in files.logs.values().rev() {
            let (mut checksums, mut bytes) = (HashMap::new(), Vec::new());
            for offset in log.offsets(host) {
                if !self.spend() {
                    return Ok(None);
                }
                bytes.clear();
                log.read(offset, &mut bytes)?;
                if let Some(record) = record::read(&bytes).filter(|record| record.epoch == epoch) {
                    checksums.insert(record.batch.seq, record.batch.checksum);
                }
            }
            if checksums.contains_key(&seq) {
                return Ok(Some(checksums));
            }
        }
        for segment in files.sealed.values().rev() {
            if !self.spend() {
                return Ok(None);
            }
            let entries = segment.find(host)?;
            let Some(entry) = entries.iter().find(|entry| entry.may_hold(epoch, seq)) else {
                continue;
            };
            let mut checksums = HashMap::new();
            let mut region = segment.region(entry);
            while let Some(step) = region.step()? {
                if let Step::Record { record, .. } = step {
                    checksums.insert(record.batch.seq, record.batch.checksum);
                }
            }
            if checksums.contains_key(&seq) {
                return Ok(Some(checksums));
            }
        }
        Ok(None)
    }

    fn spend(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0
    }
}
