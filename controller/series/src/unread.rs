//! Files that the disk refused when the store was opened, and refuses yet.
//!
//! They stay as they are, under their names: nothing is made of them, they are in no larger file, not
//! set aside, not cut short, and what could be read of them is served. About once a minute the disk is
//! asked for what it refused; when it gives all of it, the file is opened as at a start: a block joins
//! the others, and a log is read from its beginning and becomes a block at once. Nobody has to restart
//! the controller or to rename anything.

use std::sync::Arc;
use std::time::Instant;

use crate::arrivals::lateness;
use crate::block::{self, Block};
use crate::checkpoint::{self, Lanes};
use crate::damage;
use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::head::Heads;
use crate::held::{self, Held};
use crate::log::{self, Log};
use crate::open;
use crate::segment::{self, Segment};
use crate::{cut, refused, unsent};

/// A file that waits to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unread {
    /// The logs whose samples it has; above `last` if it has none as they were reported.
    pub(crate) first: u64,
    /// See `first`.
    pub(crate) last: u64,
    /// Its length, as far as that is known.
    pub(crate) bytes: u64,
    /// When the disk was last asked for all of it.
    asked: Instant,
}

impl Unread {
    pub(crate) fn new(name: &str, bytes: u64) -> Self {
        let logs = logs_of(name).filter(|logs| logs.2 == 0);
        let (first, last) = logs.map_or((u64::MAX, 0), |(first, last, _)| (first, last));
        Self {
            first,
            last,
            bytes,
            asked: Instant::now(),
        }
    }
}

/// Files of which nothing could be read: they are in no other list.
pub(crate) fn unlisted(files: &Catalog) -> impl Iterator<Item = (&str, &Unread)> {
    let is_listed = move |name: &str| {
        let mut blocks = files.blocks.values().chain(files.rollups.values());
        files.logs.values().any(|log| *log.name == *name)
            || blocks.any(|block| *block.name == *name)
            || files.sealed.values().any(|segment| *segment.name == *name)
    };
    let all = files.unread.iter();
    all.filter_map(move |(name, unread)| (!is_listed(name)).then_some((&**name, unread)))
}

/// Bytes of files of which nothing could be read.
pub(crate) fn bytes(files: &Catalog) -> u64 {
    unlisted(files).map(|(_, unread)| unread.bytes).sum()
}

/// The logs whose samples a file has, and the milliseconds of its steps, by its name alone. `None` for
/// one that holds no samples.
pub(crate) fn logs_of(name: &str) -> Option<(u64, u64, u64)> {
    let own = log::id_of(name).or_else(|| segment::id_of(name));
    let own = own.map(|id| (id, id, 0));
    own.or_else(|| block::parse_name(name))
}

/// Opens what the disk gives now, logs left out: they are cut in their turn.
pub(crate) fn open_what_answers(engine: &Engine) -> Result<(), SeriesError> {
    let mut outcome = Ok(());
    for name in engine.files().unread.keys() {
        if log::id_of(name).is_none() && is_given(engine, name) {
            outcome = outcome.and(take_in(engine, name));
        }
    }
    outcome.and(look_again(engine))
}

/// Of blocks that are listed, the disk may have refused sectors that nobody asks for again, since what they
/// have is there twice: when it gives them, what is told of their damage must go.
fn look_again(engine: &Engine) -> Result<(), SeriesError> {
    let files = engine.files();
    let blocks = files.blocks.values().chain(files.rollups.values());
    let is_it = |name: &str| !files.unread.contains_key(name) && engine.refusals.is_due(name);
    for block in blocks.filter(|block| is_it(&block.name)) {
        if engine.refusals.are_given(&*engine.disk, &block.name) {
            let note = &mut |offset, _| block.note_damage(offset, "a part of a block is damaged");
            let read = block.verify(note);
            read.map_err(engine.error("read", &block.name))?;
        }
    }
    Ok(())
}

/// Whether it is time to ask for a file, and the disk gives what it refused of it.
fn is_given(engine: &Engine, name: &str) -> bool {
    let pause = engine.options.ask_again.sector;
    let is_due = engine.change_files(|files| match files.unread.get_mut(name) {
        Some(unread) if unread.asked.elapsed() >= pause => {
            unread.asked = Instant::now();
            true
        }
        _ => false,
    });
    is_due && engine.refusals.are_given(&*engine.disk, name)
}

fn forget(engine: &Engine, name: &str) {
    if engine
        .change_files(|files| files.unread.remove(name))
        .is_some()
    {
        tracing::warn!(file = name, "the disk gives a file again that it refused");
    }
}

/// Opens a file that seems to be whole. What is refused all the same waits on.
fn take_in(engine: &Engine, name: &str) -> Result<(), SeriesError> {
    let before = engine.refusals.met(name);
    engine.damage.forget(name);
    let mut lanes = Lanes::new();
    let opened = if name == checkpoint::NAME {
        let (_, found, _) = checkpoint::load(&*engine.disk).map_err(engine.error("read", name))?;
        lanes = found;
        Opened::Nothing
    } else if let Some(id) = segment::id_of(name) {
        open_segment(engine, id, &mut lanes).map_err(engine.error("read", name))?
    } else {
        open_block(engine, name, &mut lanes).map_err(engine.error("read", name))?
    };
    if engine.refusals.met(name) != before {
        return Ok(());
    }
    learn(engine, &lanes);
    match opened {
        Opened::Nothing => {}
        Opened::Segment(segment) => {
            engine.change_files(|files| files.sealed.insert(segment.id, segment));
        }
        Opened::Block(block) if block.resolution_ms() > 0 => {
            let place = (block.resolution_ms(), block.first());
            engine.change_files(|files| files.rollups.insert(place, block));
        }
        Opened::Block(block) => put(engine, &block)?,
        Opened::Merged { is_whole } => damage::remove_if_whole(engine, name, is_whole)?,
        Opened::Unreadable => damage::remove_if_whole(engine, name, false)?,
    }
    forget(engine, name);
    Ok(())
}

enum Opened {
    /// Nothing that is listed.
    Nothing,
    Segment(Arc<Segment>),
    Block(Arc<Block>),
    /// A larger block has what is readable of it.
    Merged {
        is_whole: bool,
    },
    Unreadable,
}

fn open_segment(engine: &Engine, id: u64, lanes: &mut Lanes) -> std::io::Result<Opened> {
    let Some(segment) = Segment::open(&*engine.disk, id, true)? else {
        return Ok(Opened::Unreadable);
    };
    open::learn_from_sealed(lanes, &segment)?;
    Ok(Opened::Segment(Arc::new(segment)))
}

fn open_block(engine: &Engine, name: &str, lanes: &mut Lanes) -> std::io::Result<Opened> {
    let Some(block) = Block::open(&engine.disk, &engine.damage, name)? else {
        return Ok(Opened::Unreadable);
    };
    if block.resolution_ms() > 0 {
        return Ok(Opened::Block(Arc::new(block)));
    }
    let files = engine.files();
    let is_own = files.blocks.get(&block.first());
    let is_own = is_own.is_some_and(|known| known.last() == block.last());
    if !is_own && files.covers(block.first(), block.last()) {
        let mut is_whole = true;
        block.verify(&mut |_, _| is_whole = false)?;
        return Ok(Opened::Merged { is_whole });
    }
    open::learn_from_block(lanes, &block)?;
    Ok(Opened::Block(Arc::new(block)))
}

/// Lists a block of samples. What it was made of goes as at a start, because the power went before that was
/// removed. So do steps of its samples: they may have been made of what could be read of it.
fn put(engine: &Engine, block: &Arc<Block>) -> Result<(), SeriesError> {
    let ids = block.first()..=block.last();
    let is_within = |other: &Block| ids.contains(&other.first()) && ids.contains(&other.last());
    let (sources, logs, steps) = engine.change_files(|files| {
        let all = files.blocks.values().filter(|other| is_within(other));
        let sources: Vec<Arc<Block>> = all.cloned().collect();
        let all = files.rollups.values().filter(|other| is_within(other));
        let steps: Vec<Arc<Block>> = all.cloned().collect();
        files.blocks.retain(|_, other| !is_within(other));
        files.rollups.retain(|_, other| !is_within(other));
        files.blocks.insert(block.first(), Arc::clone(block));
        let logs: Vec<u64> = files.logs.range(ids.clone()).map(|(&id, _)| id).collect();
        files.logs.retain(|id, _| !ids.contains(id));
        (sources, logs, steps)
    });
    if let Some(&last) = logs.last() {
        let waiting = engine.files().logs.keys().copied().collect();
        let now_ms = engine.options.clock.now_ms();
        engine.heads.forget(last, &waiting, now_ms);
    }
    let mut outcome = Ok(());
    for source in sources.iter().filter(|source| source.name != block.name) {
        outcome = outcome.and(remove_source(engine, source));
    }
    for id in logs {
        let name = log::name(id);
        if !engine.files().unread.contains_key(&name) {
            outcome = outcome.and(end_covered(engine, &name, id));
        }
    }
    for rollup in steps {
        let removed = engine.disk.remove(&rollup.name);
        outcome = outcome.and(removed.map_err(engine.error("remove", &rollup.name)));
    }
    outcome
}

/// Removes a block that a larger one has, or sets it aside for its damage. What the disk refuses of it waits.
fn remove_source(engine: &Engine, source: &Block) -> Result<(), SeriesError> {
    let name = &source.name;
    if engine.files().unread.contains_key(name) {
        return Ok(());
    }
    let before = engine.refusals.met(name);
    let mut is_whole = true;
    source
        .verify(&mut |_, _| is_whole = false)
        .map_err(engine.error("read", name))?;
    if engine.refusals.met(name) != before {
        let unread = Unread::new(name, source.bytes);
        engine.change_files(|files| files.unread.insert(name.clone(), unread));
        return Ok(());
    }
    damage::remove_if_whole(engine, name, is_whole)
}

/// Numbers that a file holds are known from now on; their checksums are on disk if they are needed.
fn learn(engine: &Engine, lanes: &Lanes) {
    let known = &mut engine.writer().lanes;
    for (key, lane) in lanes {
        let own = known.entry(*key).or_default();
        for &(first, last) in lane.seqs.ranges() {
            own.insert_range(first, last, lane.last_received_ms);
        }
    }
}

/// Logs that wait to be read and are given now become blocks, each from its own frames: what the heads
/// hold of it lacks what was refused.
pub(crate) fn cut_what_answers(engine: &Engine) -> Result<(), SeriesError> {
    let mut outcome = Ok(());
    for name in engine.files().unread.keys() {
        let Some(id) = log::id_of(name) else { continue };
        let cut = if is_given(engine, name) {
            cut_anew(engine, name, id)
        } else if let Some(log) = too_old(engine, id) {
            cut_as_it_is(engine, &log)
        } else {
            continue;
        };
        match cut {
            Err(error) if !refused::is_told_by(&error) => return outcome.and(Err(error)),
            done => outcome = outcome.and(done),
        }
    }
    outcome
}

/// A log that waits although its samples are too old to be kept.
fn too_old(engine: &Engine, id: u64) -> Option<Arc<Log>> {
    let files = engine.files();
    let log = files.logs.get(&id)?;
    let retention_ms = i64::try_from(engine.options.retention.as_millis()).ok()?;
    let oldest_ms = lateness(engine, &files)
        .believed_ms
        .saturating_sub(retention_ms);
    let state = log.state();
    let is_over = !state.is_empty() && state.span.last_received_ms < oldest_ms;
    is_over.then(|| Arc::clone(log))
}

/// What could be read of a log becomes a block, which goes for its age like any other and leaves steps. What
/// came again is in later files, which are there yet: so it counts once.
fn cut_as_it_is(engine: &Engine, log: &Arc<Log>) -> Result<(), SeriesError> {
    cut::cut(engine, log, &engine.heads)?;
    tracing::error!(file = %log.name,
        "the disk refused a part of these samples until they were too old; what could be read is summed up");
    engine.damage.forget(&log.name);
    if engine.files().held.contains_key(&log.id) {
        return Ok(());
    }
    engine
        .disk
        .remove(&log.name)
        .map_err(engine.error("remove", &log.name))
}

fn cut_anew(engine: &Engine, name: &str, id: u64) -> Result<(), SeriesError> {
    if engine.files().covers(id, id) {
        return end_covered(engine, name, id);
    }
    let before = engine.refusals.met(name);
    engine.damage.forget(name);
    let mut lanes = Lanes::new();
    let opened = Log::open(
        &*engine.disk,
        id,
        &|| false,
        &mut |record| {
            let lane = lanes.entry((record.host, record.epoch)).or_default();
            lane.insert(record.batch.seq, record.batch.checksum, record.received_ms);
        },
        &mut |damaged| open::tell_damaged(&engine.damage, &damaged),
    );
    let opened = opened.map_err(engine.error("read", name))?;
    let is_refused = || engine.refusals.met(name) != before;
    let Some((log, torn)) = opened else {
        if is_refused() {
            return Ok(());
        }
        forget(engine, name);
        return damage::remove_if_whole(engine, name, false);
    };
    let heads = Heads::new(engine.options.series);
    open::fill_heads(engine, &heads, &log)?;
    if is_refused() {
        return Ok(());
    }
    if torn > 0
        && let Err(error) = log.keep_tail(&*engine.disk)
    {
        tracing::warn!(file = name, %error, "the torn end could not be kept");
    }
    learn(engine, &lanes);
    let frames = log.state().frames + log.state().batches;
    let unsent = unsent::count_unsent(engine, &log)?;
    let held = if frames == 0 {
        engine.change_files(|files| files.logs.remove(&id));
        Arc::new(Held::of(&log, true))
    } else {
        let held = cut::cut(engine, &Arc::new(log), &heads)?;
        unsent::tell(engine, name, unsent);
        held
    };
    forget(engine, name);
    if engine.files().held.contains_key(&id) {
        return Ok(());
    }
    held::remove(engine, &held)
}

/// A log that a block has already.
fn end_covered(engine: &Engine, name: &str, id: u64) -> Result<(), SeriesError> {
    if engine.options.hold.is_some()
        && let Some(held) = Held::open(&*engine.disk, id).map_err(engine.error("read", name))?
    {
        engine.change_files(|files| files.held.insert(id, Arc::new(held)));
        forget(engine, name);
        return Ok(());
    }
    let is_whole = !engine.damage.has(name);
    forget(engine, name);
    damage::remove_if_whole(engine, name, is_whole)
}
