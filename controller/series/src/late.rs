//! What other files hold already of a log that becomes a block late.
//!
//! While a log waits to be read ([`crate::unread`]), nobody knows the numbers of the frames that the disk
//! refused of it. Whoever had no answer for them sends them again, and they are stored once more, in a later
//! log. The block of the log that waited leaves them out: two blocks may be summed up apart, and each report
//! must count once. What the other file could not decode stays, as does what only a file holds that waits
//! itself and may never be read.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use xiezhi_protocol::batch::BatchInfo;

use crate::block::Block;
use crate::block::page::Page;
use crate::chunk::{self, Points};
use crate::column::is_stale;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::head::{self, Heads};
use crate::log::{Log, Span};
use crate::reading::NOT_READABLE;
use crate::record::{self, Record};

/// Keys of foreign sources.
const SOURCES: RangeInclusive<HostKey> = HostKey::MIN..=-1;

/// What the block of a log leaves out, because another file has it.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    frames: HashMap<HostKey, OfHost>,
    /// Times by series and source, of samples that the log has too.
    samples: HashMap<(Arc<str>, HostKey), HashSet<i64>>,
}

/// Frames of one host.
#[derive(Debug, Default)]
struct OfHost {
    /// Epochs and numbers.
    numbers: HashSet<(u64, u64)>,
    /// Their times.
    times: HashSet<i64>,
}

/// The files that may hold the same.
pub(crate) struct Others {
    blocks: Vec<Arc<Block>>,
    logs: Vec<Arc<Log>>,
}

impl Others {
    /// None, if the log is cut in its turn: what comes again is known then.
    pub(crate) fn of(engine: &Engine, log: &Log) -> Self {
        let files = engine.files();
        let waits = |name: &str| files.unread.contains_key(name);
        let is_behind = files.opened_through > log.id;
        let is_late = waits(&log.name) || files.blocks.range(log.id + 1..).next().is_some();
        let span = log.state().span;
        let mut others = Self {
            blocks: Vec::new(),
            logs: Vec::new(),
        };
        if !is_late && !is_behind {
            return others;
        }
        let is_near = |of: &Span| of.overlaps(span.oldest_ms, span.newest_ms);
        let blocks = files.blocks.values();
        // A block of this very log is what comes in its place.
        let is_own = |block: &Block| (block.first()..=block.last()).contains(&log.id);
        let is_other = |block: &Block| !is_own(block) && !waits(&block.name);
        let blocks = blocks.filter(|block| is_near(block.span()) && is_other(block));
        others.blocks = blocks.cloned().collect();
        let logs = files.logs.values().filter(|other| other.id != log.id);
        let logs = logs.filter(|other| is_near(&other.state().span) && !waits(&other.name));
        others.logs = logs.cloned().collect();
        others
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let blocks = self.blocks.iter().map(|block| &*block.name);
        blocks.chain(self.logs.iter().map(|log| &*log.name))
    }
}

impl Elsewhere {
    /// What `others` hold of a log, of which `heads` have the samples.
    pub(crate) fn find(
        engine: &Engine,
        log: &Log,
        heads: &Heads,
        others: &Others,
    ) -> Result<Self, SeriesError> {
        let mut found = Self::default();
        if others.names().next().is_none() {
            return Ok(found);
        }
        let mut hosts: Vec<HostKey> = log.state().index.keys().copied().collect();
        hosts.sort_unstable();
        for host in hosts {
            found.find_frames(engine, log, host, others)?;
        }
        found.find_samples(engine, log, heads, others)?;
        let (frames, samples) = (found.frames(), found.samples());
        if frames + samples > 0 {
            tracing::info!(file = %log.name, frames, samples,
                "what came again while a log waited is in another file: its block leaves it out");
        }
        Ok(found)
    }

    /// Frames that are left out.
    pub(crate) fn frames(&self) -> u64 {
        let of_hosts = self.frames.values();
        of_hosts.map(|of| of.numbers.len() as u64).sum()
    }

    /// Foreign samples that are left out.
    fn samples(&self) -> u64 {
        self.samples.values().map(|of| of.len() as u64).sum()
    }

    /// Whether a frame is left out.
    pub(crate) fn has(&self, host: HostKey, epoch: u64, seq: u64) -> bool {
        let of_host = self.frames.get(&host);
        of_host.is_some_and(|of_host| of_host.numbers.contains(&(epoch, seq)))
    }

    /// Leaves out points of a series.
    pub(crate) fn strip(&self, text: &Arc<str>, host: HostKey, points: &mut Points) {
        let of_frames = self.frames.get(&host).map(|of_host| &of_host.times);
        let of_samples = match SOURCES.contains(&host) && !self.samples.is_empty() {
            true => self.samples.get(&(Arc::clone(text), host)),
            false => None,
        };
        for times in of_frames.into_iter().chain(of_samples) {
            points.retain(|time_ms| !times.contains(&time_ms));
        }
    }

    fn find_frames(
        &mut self,
        engine: &Engine,
        log: &Log,
        host: HostKey,
        others: &Others,
    ) -> Result<(), SeriesError> {
        let mut own: HashMap<(u64, u64), BatchInfo> = HashMap::new();
        each_frame(engine, log, host, &mut |_, record| {
            own.entry((record.epoch, record.batch.seq))
                .or_insert(record.batch);
        })?;
        let mut numbers = HashSet::new();
        let mut note = |epoch: u64, batch: BatchInfo| {
            if own.get(&(epoch, batch.seq)) == Some(&batch) {
                numbers.insert((epoch, batch.seq));
            }
        };
        for block in &others.blocks {
            let read = block.ledger((host, host), &mut |_, epoch, frames| {
                let decoded = frames.iter().filter(|noted| !noted.undecoded);
                decoded.for_each(|noted| note(epoch, noted.frame.batch));
            });
            read.map_err(engine.error("read", &block.name))?;
        }
        for other in &others.logs {
            let orphans = orphans(engine, other, host);
            each_frame(engine, other, host, &mut |offset, record| {
                if !orphans.contains(&offset) {
                    note(record.epoch, record.batch);
                }
            })?;
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let (mut times, mut kept) = (HashSet::new(), HashSet::new());
        for (number, batch) in &own {
            let of = if numbers.contains(number) {
                &mut times
            } else {
                &mut kept
            };
            of.insert(batch.time_ms);
        }
        times.retain(|time_ms| !kept.contains(time_ms));
        self.frames.insert(host, OfHost { numbers, times });
        Ok(())
    }

    fn find_samples(
        &mut self,
        engine: &Engine,
        log: &Log,
        heads: &Heads,
        others: &Others,
    ) -> Result<(), SeriesError> {
        if log.state().batches == 0 {
            return Ok(());
        }
        // One sample that came days late widens the log's span to days. So only times that the log has
        // are looked for: eight bytes a sample of one log, however much the others hold.
        let mut own: HashMap<(Arc<str>, HostKey), Vec<i64>> = HashMap::new();
        each_series(heads, log.id, &mut |text, source, points| {
            let mut times: Vec<i64> = points.iter().map(|(time_ms, _)| time_ms).collect();
            times.sort_unstable();
            own.insert((text, source), times);
        });
        let span = log.state().span;
        let mut note = |text: &Arc<str>, source: HostKey, points: &Points| {
            let series = (Arc::clone(text), source);
            let Some(times) = own.get(&series) else {
                return;
            };
            let values = points.iter().filter(|&(_, value)| !is_stale(value));
            let here = values.filter(|(time_ms, _)| times.binary_search(time_ms).is_ok());
            let mut here = here.map(|(time_ms, _)| time_ms).peekable();
            if here.peek().is_some() {
                self.samples.entry(series).or_default().extend(here);
            }
        };
        for block in &others.blocks {
            let read = each_sample(block, &span, &mut note);
            read.map_err(engine.error("read", &block.name))?;
        }
        for other in &others.logs {
            each_series(&engine.heads, other.id, &mut |text, source, points| {
                note(&text, source, points);
            });
        }
        Ok(())
    }
}

/// Visits the frames of a host in a log that can be read, with their offsets.
fn each_frame(
    engine: &Engine,
    log: &Log,
    host: HostKey,
    visit: &mut dyn FnMut(u32, &Record<'_>),
) -> Result<(), SeriesError> {
    let mut bytes = Vec::new();
    for offset in log.offsets(host) {
        bytes.clear();
        log.read(offset, &mut bytes)
            .map_err(engine.error("read", &log.name))?;
        if let Some(record) = record::read(&bytes).filter(|record| record.host == host) {
            visit(offset, &record);
        }
    }
    Ok(())
}

/// Offsets of a log's frames of a host that cannot be decoded.
fn orphans(engine: &Engine, log: &Log, host: HostKey) -> HashSet<u32> {
    let now_ms = engine.options.clock.now_ms();
    engine.heads.catch_up(host, log.id, now_ms);
    let head = engine.heads.find(host);
    let orphans = head.map(|head| head::lock(&head).orphans(log.id).iter().copied().collect());
    orphans.unwrap_or_default()
}

/// Visits the series of sources with samples of a log, in no order.
fn each_series(heads: &Heads, log: u64, visit: &mut dyn FnMut(Arc<str>, HostKey, &Points)) {
    let mut points = Points::default();
    for (source, head) in heads.hosts() {
        let head = head::lock(&head);
        let Some(foreign) = head.foreign() else {
            continue;
        };
        for id in foreign.ids_of(log) {
            points.clear();
            foreign.points_of(id, log, &mut points);
            if let Some(text) = heads.texts.text(id) {
                visit(text, source, &points);
            }
        }
    }
}

/// Visits the series of sources in a block, page by page, that may have samples in a span.
fn each_sample(
    block: &Block,
    span: &Span,
    visit: &mut dyn FnMut(&Arc<str>, HostKey, &Points),
) -> std::io::Result<()> {
    let mut pages = Vec::new();
    block.directory("", &mut |_, found| {
        let sources = (*SOURCES.start(), *SOURCES.end());
        if found
            .extent
            .may_hold(sources, span.oldest_ms, span.newest_ms)
        {
            pages.push(found.place);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    let mut points = Points::default();
    block.pages(&pages, &mut |index, body| {
        let Some(page) = body.and_then(Page::parse) else {
            if let Some(place) = pages.get(index) {
                block.note_damage(place.offset, NOT_READABLE);
            }
            return Ok(());
        };
        let (text, grid): (Arc<str>, _) = (Arc::from(page.text), page.grid);
        for (source, bytes) in page.filter(|(host, _)| SOURCES.contains(host)) {
            points.clear();
            if chunk::decode(grid, bytes, &mut points).is_some() {
                visit(&text, source, &points);
            }
        }
        Ok::<(), std::io::Error>(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Clock, ForeignSeries, Sealing, SeriesOptions, SeriesStore};

    const SOURCE: HostKey = -7;
    const START: i64 = 1_700_000_000_000;
    const MINUTE: i64 = 60_000;
    /// Samples of a week, a minute apart.
    const OTHERS: i64 = 7 * 1440;

    fn append(store: &SeriesStore, points: &[(i64, f64)]) {
        let series = ForeignSeries { text: "up", points };
        store.append_foreign(SOURCE, &[series]).unwrap();
    }

    /// A week is in a block, then in a log; the log that comes late has two samples a week apart, so that
    /// its span is that of all others.
    #[test]
    fn of_what_others_hold_no_more_is_remembered_than_the_log_has() {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(std::sync::atomic::AtomicI64::new(START));
        let clock = Clock::new({
            let now_ms = Arc::clone(&now_ms);
            move || now_ms.load(std::sync::atomic::Ordering::Relaxed)
        });
        let options = SeriesOptions {
            sealing: Sealing::Manual,
            seal_bytes_per_s: u64::MAX,
            clock,
            ..SeriesOptions::default()
        };
        let store = SeriesStore::open(dir.path(), options).unwrap();
        let next_log = || {
            let half_hour = Duration::from_secs(1900).as_millis() as i64;
            now_ms.fetch_add(half_hour, std::sync::atomic::Ordering::Relaxed);
        };
        let week = |half: i64| -> Vec<(i64, f64)> {
            let minutes = (0..OTHERS).filter(|minute| minute % 2 == half);
            minutes
                .map(|minute| (START + minute * MINUTE, minute as f64))
                .collect()
        };
        append(&store, &week(0));
        next_log();
        append(&store, &week(1));
        store.maintain().unwrap();
        next_log();
        append(&store, &[(START - 1, 1.0), (START + OTHERS * MINUTE, 1.0)]);
        let engine = store.engine();
        let files = engine.files();
        let late = files.logs.values().next_back().unwrap();
        let mut others = Others {
            blocks: files.blocks.values().cloned().collect(),
            logs: files
                .logs
                .values()
                .filter(|log| log.id != late.id)
                .cloned()
                .collect(),
        };
        assert_eq!((others.blocks.len(), others.logs.len()), (1, 1));
        let found = Elsewhere::find(engine, late, &engine.heads, &others).unwrap();
        assert!(found.samples.is_empty(), "{} samples", found.samples());
        // What another file has too is found.
        others.logs.push(Arc::clone(late));
        let found = Elsewhere::find(engine, late, &engine.heads, &others).unwrap();
        assert_eq!(found.samples(), 2);
    }
}
