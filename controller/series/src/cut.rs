//! Cutting: what a full log and the head hold of it becomes a block, and the log is removed.
//!
//! Every step is safe to lose power after: the block appears whole or not at all (temporary file,
//! fsync, rename, fsync of the folder), the log goes only after that, and opening removes a log whose
//! block is there. Cutting again what was cut halfway gives the same block. Appends go on meanwhile,
//! and the samples stay in the head until readers find them in the block.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::iter;
use std::sync::{Arc, Mutex};

use crate::block::ledger::Noted;
use crate::block::{self, Block, BlockWriter};
use crate::chunk::Points;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::{HostKey, StoredFrame};
use crate::head::texts::TextId;
use crate::head::{self, Head, Heads};
use crate::held::Held;
use crate::late::{Elsewhere, Others};
use crate::log::Log;
use crate::output;
use crate::record;

/// Makes a block of a log that takes no more frames, of which `heads` have the samples, and puts it in
/// the log's place. The log's file stays, as what is told of it. What another file has of it already, because
/// it came again while this log waited, is left out.
pub(crate) fn cut(
    engine: &Engine,
    log: &Arc<Log>,
    heads: &Heads,
) -> Result<Arc<Held>, SeriesError> {
    let name = block::name(log.id, log.id, 0);
    let others = Others::of(engine, log);
    let watch = engine.watch(iter::once(&*log.name).chain(others.names()))?;
    let damage_met = engine.damage.met(&log.name);
    let written = Elsewhere::find(engine, log, heads, &others)
        .and_then(|elsewhere| write(engine, log, heads, &elsewhere, &name));
    if let Err(error) = written.and_then(|()| engine.end_watch(watch)) {
        output::give_up(engine, &name);
        return Err(error);
    }
    let is_in_block = engine.damage.met(&log.name) == damage_met;
    let held = Arc::new(Held::of(log, is_in_block));
    output::put_in_place(engine, &name)?;
    engine
        .disk
        .sync()
        .map_err(engine.error("sync the folder of", &name))?;
    let block = open_own(engine, &name)?;
    tracing::info!(
        log = log.id,
        frames = block.frames(),
        samples = block.samples(),
        bytes = block.bytes,
        "log became a block"
    );
    let waiting: BTreeSet<u64> = engine.change_files(|files| {
        files.logs.remove(&log.id);
        files.unread.remove(&log.name);
        // One of before, which the start could not read, is this one now.
        files.unread.remove(&*block.name);
        if engine.options.hold.is_some() {
            files.held.insert(log.id, Arc::clone(&held));
        }
        files.blocks.insert(block.first(), Arc::new(block));
        files.logs.keys().copied().collect()
    });
    let now_ms = engine.options.clock.now_ms();
    engine.heads.forget(log.id, &waiting, now_ms);
    Ok(held)
}

/// Opens a block that was just put in place.
pub(crate) fn open_own(engine: &Engine, name: &str) -> Result<Block, SeriesError> {
    Block::open(&engine.disk, &engine.damage, name)
        .and_then(|block| block.ok_or_else(|| std::io::ErrorKind::InvalidData.into()))
        .map_err(engine.error("read back", name))
}

fn write(
    engine: &Engine,
    log: &Log,
    heads: &Heads,
    elsewhere: &Elsewhere,
    name: &str,
) -> Result<(), SeriesError> {
    let mut writer = BlockWriter::create(engine, name, (log.id, log.id), 0, log.salt)?;
    write_pages(engine, heads, log.id, elsewhere, &mut writer)?;
    // Foreign samples are in no ledger, but they arrived.
    writer.widen(&log.state().span);
    let mut hosts: Vec<HostKey> = log.state().index.keys().copied().collect();
    hosts.sort_unstable();
    for host in hosts {
        write_ledger(engine, log, (heads, elsewhere), host, &mut writer)?;
    }
    writer.finish()
}

fn write_pages(
    engine: &Engine,
    heads: &Heads,
    log: u64,
    elsewhere: &Elsewhere,
    writer: &mut BlockWriter<'_>,
) -> Result<(), SeriesError> {
    let now_ms = engine.options.clock.now_ms();
    let hosts = heads.hosts();
    for (host, _) in &hosts {
        heads.catch_up(*host, log, now_ms);
    }
    let order = Order::of(heads, log, &hosts);
    let mut points = Points::default();
    for &(rank, index) in &order.pairs {
        let (Some((id, text)), Some((host, head))) =
            (order.texts.get(rank as usize), hosts.get(index as usize))
        else {
            continue;
        };
        points.clear();
        {
            let head = head::lock(head);
            for run in head.made().iter().filter(|run| run.log == log) {
                run.points(*id, &mut points);
            }
            if let Some(foreign) = head.foreign() {
                foreign.points_of(*id, log, &mut points);
            }
        }
        points.settle();
        elsewhere.strip(text, *host, &mut points);
        writer.add(text, *host, &points)?;
    }
    Ok(())
}

/// In which order the head's series are written.
struct Order {
    /// Texts in their order.
    texts: Vec<(TextId, Arc<str>)>,
    /// Place of the text and of the host, ascending.
    pairs: Vec<(u32, u32)>,
}

impl Order {
    fn of(heads: &Heads, log: u64, hosts: &[(HostKey, Arc<Mutex<Head>>)]) -> Self {
        let mut pairs = Vec::new();
        let mut used = HashSet::new();
        for ((_, head), index) in hosts.iter().zip(0u32..) {
            let head = head::lock(head);
            let mut before: &[(TextId, u32)] = &[];
            for run in head.made().iter().filter(|run| run.log == log) {
                let order = run.schema.order();
                if std::ptr::eq(order, before) {
                    continue;
                }
                before = order;
                used.extend(order.iter().map(|entry| entry.0));
                pairs.extend(order.iter().map(|entry| (entry.0, index)));
            }
            for id in head
                .foreign()
                .iter()
                .flat_map(|foreign| foreign.ids_of(log))
            {
                used.insert(id);
                pairs.push((id, index));
            }
        }
        let text = |id: TextId| Some((id, heads.texts.text(id)?));
        let mut texts: Vec<_> = used.into_iter().filter_map(text).collect();
        texts.sort_unstable_by(|left, right| left.1.cmp(&right.1));
        let ranks: HashMap<TextId, u32> = texts.iter().map(|text| text.0).zip(0u32..).collect();
        for pair in &mut pairs {
            pair.0 = ranks.get(&pair.0).copied().unwrap_or(u32::MAX);
        }
        pairs.sort_unstable();
        pairs.dedup();
        Self { texts, pairs }
    }
}

/// Notes all frames of a host, and keeps those that could not be decoded as they came.
fn write_ledger(
    engine: &Engine,
    log: &Log,
    (heads, elsewhere): (&Heads, &Elsewhere),
    host: HostKey,
    writer: &mut BlockWriter<'_>,
) -> Result<(), SeriesError> {
    let orphans: HashSet<u32> = match heads.find(host) {
        Some(head) => head::lock(&head).orphans(log.id).iter().copied().collect(),
        None => HashSet::new(),
    };
    let mut noted: Vec<Noted> = Vec::new();
    let mut bytes = Vec::new();
    for offset in log.offsets(host) {
        bytes.clear();
        log.read(offset, &mut bytes)
            .map_err(engine.error("read", &log.name))?;
        let Some(mut record) = record::read(&bytes).filter(|record| record.host == host) else {
            if engine.damage.note(&log.name, u64::from(offset)) {
                tracing::error!(file = %log.name, offset, host, "a stored frame is damaged; its samples may be too");
            }
            continue;
        };
        engine.damage.well(&log.name, u64::from(offset));
        if elsewhere.has(host, record.epoch, record.batch.seq) {
            continue;
        }
        let undecoded = orphans.contains(&offset);
        let frame = StoredFrame {
            epoch: record.epoch,
            batch: record.batch,
            key: record.key,
            received_ms: record.received_ms,
        };
        noted.push(Noted { frame, undecoded });
        if undecoded {
            record.group = false;
            writer.add_orphan(&record)?;
        }
    }
    // Stable: of two records of one number, which should not be, the first stored stays.
    noted.sort_by_key(|noted| (noted.frame.epoch, noted.frame.batch.seq));
    noted.dedup_by_key(|noted| (noted.frame.epoch, noted.frame.batch.seq));
    for epoch in noted.chunk_by(|left, right| left.frame.epoch == right.frame.epoch) {
        writer.note(host, epoch);
    }
    Ok(())
}
