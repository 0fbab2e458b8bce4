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
use crate::log::Log;
use crate::record;
use crate::scan::Step;

/// Reads allowed per append. Beyond it a frame counts as forgotten, so it is stored again in the
/// epoch that the caller opens: slower for no one, and nothing lost.
const READS_PER_APPEND: u32 = 2000;
/// Read regions kept: replays come in sequence, from a few hosts at a time.
const KEPT: usize = 32;

/// Recently read checksums of stored frames.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    /// Most recently used first.
    kept: VecDeque<Page>,
    budget: u32,
}

/// The checksums of one (host, epoch) in one file.
#[derive(Debug)]
struct Page {
    file: u64,
    host: HostKey,
    epoch: u64,
    checksums: HashMap<u64, u32>,
    /// Records of a log that were read; more may have come since.
    read: usize,
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
        match self.search(&engine.files(), host, epoch, seq) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(host, error = %error, "cannot look up a replayed frame");
                None
            }
        }
    }

    fn search(
        &mut self,
        files: &Catalog,
        host: HostKey,
        epoch: u64,
        seq: u64,
    ) -> io::Result<Option<u32>> {
        for log in files.logs.values().rev() {
            let mut page = self.take(log.id, host, epoch);
            let read = self.read_log(log, &mut page);
            let found = page.checksums.get(&seq).copied();
            self.keep(page);
            if !read? || found.is_some() {
                return Ok(found);
            }
        }
        for block in files.blocks.values().rev() {
            if !self.spend() {
                return Ok(None);
            }
            // A block and a log never share an id at the same time for long, and hold the same.
            let mut page = self.take(block.first(), host, epoch);
            block.ledger((host, host), &mut |_, of, frames| {
                if of == epoch {
                    let batches = frames.iter().map(|noted| noted.frame.batch);
                    page.checksums
                        .extend(batches.map(|batch| (batch.seq, batch.checksum)));
                }
            })?;
            let found = page.checksums.get(&seq).copied();
            self.keep(page);
            if found.is_some() {
                return Ok(found);
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
            let mut page = self.take(segment.id, host, epoch);
            let mut region = segment.region(entry);
            while let Some(step) = region.step()? {
                if let Step::Record { record, .. } = step {
                    page.checksums
                        .insert(record.batch.seq, record.batch.checksum);
                }
            }
            let found = page.checksums.get(&seq).copied();
            self.keep(page);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads what the page lacks; false if the budget ended.
    fn read_log(&mut self, log: &Log, page: &mut Page) -> io::Result<bool> {
        let mut bytes = Vec::new();
        for offset in log.offsets(page.host).into_iter().skip(page.read) {
            if !self.spend() {
                return Ok(false);
            }
            bytes.clear();
            log.read(offset, &mut bytes)?;
            page.read += 1;
            if let Some(record) = record::read(&bytes).filter(|one| one.epoch == page.epoch) {
                page.checksums
                    .insert(record.batch.seq, record.batch.checksum);
            }
        }
        Ok(true)
    }

    fn take(&mut self, file: u64, host: HostKey, epoch: u64) -> Page {
        let is_it = |page: &Page| (page.file, page.host, page.epoch) == (file, host, epoch);
        let kept = self
            .kept
            .iter()
            .position(is_it)
            .and_then(|index| self.kept.remove(index));
        kept.unwrap_or(Page {
            file,
            host,
            epoch,
            checksums: HashMap::new(),
            read: 0,
        })
    }

    fn keep(&mut self, page: Page) {
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(page);
    }

    fn spend(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0
    }
}
