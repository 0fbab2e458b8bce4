//! Opening: from whatever a crash left behind to a store that is whole.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, RwLock};

use crate::checkpoint::{self, Lanes};
use crate::disk::Disk;
use crate::engine::{Bell, Catalog, Counters, Engine, count};
use crate::error::SeriesError;
use crate::log::{self, Log};
use crate::options::SeriesOptions;
use crate::record::HEADER_BYTES;
use crate::scan::Step;
use crate::segment::{self, Segment};
use crate::writer::Writer;

/// Opens the store on `disk`.
pub(crate) fn open(disk: Arc<dyn Disk>, options: SeriesOptions) -> Result<Engine, SeriesError> {
    let mut opening = Opening {
        disk,
        lanes: Lanes::new(),
        through: 0,
        next_id: 1,
        files: Catalog::default(),
        counters: Counters::default(),
    };
    opening.run()?;
    let Opening {
        disk,
        lanes,
        next_id,
        files,
        counters,
        ..
    } = opening;
    let active = files.active.and_then(|id| files.logs.get(&id).cloned());
    let writer = Writer::new(lanes, active, next_id);
    Ok(Engine {
        disk,
        options,
        writer: Mutex::new(writer),
        catalog: RwLock::new(files),
        maintenance: Mutex::new(()),
        counters,
        bell: Bell::default(),
    })
}

struct Opening {
    disk: Arc<dyn Disk>,
    lanes: Lanes,
    through: u64,
    next_id: u64,
    files: Catalog,
    counters: Counters,
}

impl Opening {
    fn run(&mut self) -> Result<(), SeriesError> {
        let disk = Arc::clone(&self.disk);
        let error = |action, name: &str| {
            let path = disk.path(name);
            move |source| SeriesError::io(action, path, source)
        };
        let names = self.disk.list().map_err(error("list", ""))?;
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            self.disk.remove(name).map_err(error("remove", name))?;
        }
        let (through, lanes, unreadable) =
            checkpoint::load(&*self.disk).map_err(error("read", checkpoint::NAME))?;
        (self.through, self.lanes) = (through, lanes);
        count(&self.counters.damaged, unreadable);
        let ids = |id_of: fn(&str) -> Option<u64>| -> BTreeSet<u64> {
            names.iter().filter_map(|name| id_of(name)).collect()
        };
        let (sealed, logs) = (ids(segment::id_of), ids(log::id_of));
        let highest = sealed.last().max(logs.last()).copied().unwrap_or(0);
        self.next_id = highest.max(through) + 1;
        for &id in &sealed {
            let name = segment::name(id);
            self.open_sealed(id, logs.contains(&id))
                .map_err(error("open", &name))?;
        }
        for &id in &logs {
            self.open_log(id).map_err(error("open", &log::name(id)))?;
        }
        self.files.active = self.files.logs.keys().next_back().copied();
        self.disk.sync().map_err(error("sync", ""))
    }

    fn open_sealed(&mut self, id: u64, has_log: bool) -> io::Result<()> {
        let name = segment::name(id);
        // While the log is there, an unreadable sealed file is made again rather than mended.
        let Some(segment) = Segment::open(&*self.disk, id, !has_log)? else {
            if has_log {
                return self.disk.remove(&name);
            }
            return self.set_aside(&name);
        };
        if segment.is_rebuilt() {
            count(&self.counters.damaged, 1);
            tracing::error!(file = %name, "segment index is damaged; it was rebuilt from the records");
        }
        if id > self.through {
            self.learn_from_sealed(&segment)?;
        }
        self.files.sealed.insert(id, Arc::new(segment));
        Ok(())
    }

    /// A region without gaps is noted as a range; its checksums are on disk if they are needed.
    fn learn_from_sealed(&mut self, segment: &Segment) -> io::Result<()> {
        let mut gapped = Vec::new();
        let received_ms = segment.span.last_received_ms;
        segment.entries(&mut |entry| {
            let lane = self.lanes.entry((entry.host, entry.epoch)).or_default();
            if entry.is_gapless() {
                lane.insert_range(entry.first_seq, entry.last_seq, received_ms);
            } else {
                gapped.push(*entry);
            }
        })?;
        for entry in gapped {
            let lane = self.lanes.entry((entry.host, entry.epoch)).or_default();
            let mut region = segment.region(&entry);
            while let Some(step) = region.step()? {
                if let Step::Record { record, .. } = step {
                    lane.insert(record.batch.seq, record.batch.checksum, record.received_ms);
                }
            }
        }
        Ok(())
    }

    fn open_log(&mut self, id: u64) -> io::Result<()> {
        let name = log::name(id);
        if self.files.sealed.contains_key(&id) {
            // Sealed, and the power went before the log was removed.
            return self.disk.remove(&name);
        }
        let lanes = &mut self.lanes;
        let counters = &self.counters;
        let opened = Log::open(
            &*self.disk,
            id,
            &mut |record| {
                let lane = lanes.entry((record.host, record.epoch)).or_default();
                lane.insert(record.batch.seq, record.batch.checksum, record.received_ms);
            },
            &mut |damage| {
                count(&counters.damaged, 1);
                tracing::error!(file = %damage.file, offset = damage.offset, bytes = damage.bytes,
                    "damaged records in the log are lost");
            },
        )?;
        let Some((log, torn)) = opened else {
            return self.discard_unreadable(&name);
        };
        if torn > 0 {
            count(&self.counters.torn_tails, 1);
            count(&self.counters.torn_bytes, torn);
            tracing::warn!(file = %name, bytes = torn, "torn end cut off; it was never acknowledged");
            log.cut_tail()?;
        }
        self.files.logs.insert(id, Arc::new(log));
        Ok(())
    }

    /// A log without a readable header: cut short at its creation, or damaged.
    fn discard_unreadable(&mut self, name: &str) -> io::Result<()> {
        if self.disk.open(name)?.length()? <= HEADER_BYTES {
            return self.disk.remove(name);
        }
        self.set_aside(name)
    }

    /// Keeps a file for a person to look at.
    fn set_aside(&mut self, name: &str) -> io::Result<()> {
        count(&self.counters.damaged, 1);
        tracing::error!(
            file = name,
            "header is unreadable; the file is set aside as .damaged"
        );
        self.disk.rename(name, &format!("{name}.damaged"))
    }
}
