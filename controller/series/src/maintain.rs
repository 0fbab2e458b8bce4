//! What the background thread does: seal, write the checkpoint, apply retention.
//!
//! What fails keeps nothing else from its turn: a file that cannot be read, or a disk that is full, must
//! not stop retention, which is what makes space.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::arrivals::lateness;
use crate::block::Block;
use crate::checkpoint;
use crate::engine::{Catalog, Engine, count};
use crate::error::SeriesError;
use crate::frame::SealingTrouble;
use crate::held::{self, Held};
use crate::log::Log;
use crate::options::SeriesOptions;
use crate::segment::Segment;
use crate::unread::Unread;
use crate::{cut, merge, refused, rollup, unread};

/// Pause before a failed pass is tried again; also the longest sleep.
const RETRY: Duration = Duration::from_secs(30);
/// Lanes written per turn of the writer's lock.
const LANES_PER_TURN: usize = 64;
/// Logs whose samples one pass removes for their age: a day, so that queries and disk have pauses.
const MAX_EXPIRED_PER_PASS: u64 = 48;
/// The nice value of the background thread.
const NICE: i32 = 10;

/// The background thread's body.
pub(crate) fn run(engine: &Engine) {
    // On Linux this concerns the calling thread alone. Without it sealing is merely less polite.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(error = %error, "sealing runs at normal priority");
    }
    loop {
        match maintain(engine) {
            Ok(()) => {}
            Err(SeriesError::Closing) => return,
            Err(error) => {
                count(&engine.counters.failed_seals, 1);
                tracing::warn!(error = %error, "samples are not in their block yet, trying again");
            }
        }
        if !engine.bell.wait(RETRY) {
            return;
        }
    }
}

/// One pass, whose failure is kept until a pass succeeds.
pub(crate) fn maintain(engine: &Engine) -> Result<(), SeriesError> {
    let outcome = pass(engine);
    remember(engine, &outcome);
    outcome
}

/// Keeps why the last pass failed, for whoever looks at the store.
fn remember(engine: &Engine, outcome: &Result<(), SeriesError>) {
    let trouble = match outcome {
        Ok(()) | Err(SeriesError::Closing) => None,
        Err(error) => Some(SealingTrouble {
            full: error.is_full(),
            reason: error
                .source()
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
        }),
    };
    let kept = &engine.counters.sealing;
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

/// Seals every log that is not active, oldest first, makes what larger files are due, then applies
/// retention, whatever failed before. The first failure is told.
fn pass(engine: &Engine) -> Result<(), SeriesError> {
    let _turn = engine
        .maintenance
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut outcome = unread::open_what_answers(engine);
    outcome = then(outcome, || cut_waiting(engine))?;
    // Where nothing can be written, larger files are not tried. A log that the disk refuses to read
    // says nothing of the others.
    if outcome.as_ref().err().is_none_or(refused::is_told_by) {
        outcome = then(outcome, || merge::merge(engine))?;
        outcome = then(outcome, || rollup::roll_up(engine))?;
    }
    outcome = then(outcome, || expire(engine))?;
    let release = || held::release(engine, lateness(engine, &engine.files()).believed_ms);
    then(outcome, release)?
}

/// Does the next thing whatever became of the one before; of two failures the first is kept. Only a
/// store that is closing ends here.
fn then(
    outcome: Result<(), SeriesError>,
    next: impl FnOnce() -> Result<(), SeriesError>,
) -> Result<Result<(), SeriesError>, SeriesError> {
    if let Err(SeriesError::Closing) = outcome {
        return Err(SeriesError::Closing);
    }
    match next() {
        Err(SeriesError::Closing) => Err(SeriesError::Closing),
        next => Ok(outcome.and(next)),
    }
}

/// Cuts what waits, oldest first. One that the disk refuses waits on, alone; where nothing can be written,
/// the others are not tried.
fn cut_waiting(engine: &Engine) -> Result<(), SeriesError> {
    let mut outcome = unread::cut_what_answers(engine);
    let mut through = None;
    // Each handle must go with its log: an open file keeps its space.
    let waiting = waiting(&engine.files());
    for log in waiting {
        if outcome
            .as_ref()
            .is_err_and(|error| !refused::is_told_by(error))
        {
            break;
        }
        let id = log.id;
        let cut = cut_one(engine, log);
        if cut.is_ok() {
            through = Some(id);
        }
        outcome = outcome.and(cut);
    }
    match through {
        Some(last) => outcome.and(write_checkpoint(engine, last)),
        None => outcome,
    }
}

fn cut_one(engine: &Engine, log: Arc<Log>) -> Result<(), SeriesError> {
    let held = if log.state().is_empty() {
        engine.change_files(|files| files.logs.remove(&log.id));
        Arc::new(Held::of(&log, true))
    } else {
        cut::cut(engine, &log, &engine.heads)?
    };
    if engine.files().held.contains_key(&log.id) {
        return Ok(());
    }
    // At once, so that many waiting logs need the space of one.
    held::remove(engine, &held)
}

fn waiting(files: &Catalog) -> Vec<Arc<Log>> {
    let is_waiting =
        |log: &&Arc<Log>| Some(log.id) != files.active && !files.unread.contains_key(&log.name);
    files.logs.values().filter(is_waiting).cloned().collect()
}

/// Writes the de-duplication state; every segment up to `through` is in it, and nothing that a file has
/// which waits to be read.
fn write_checkpoint(engine: &Engine, last: u64) -> Result<(), SeriesError> {
    let error = || engine.error("write", checkpoint::NAME);
    let files = engine.files();
    if files.unread.contains_key(checkpoint::NAME) {
        return Ok(());
    }
    let known = |first: u64| first.saturating_sub(1);
    let unread = files.unread.values().map(|unread| known(unread.first));
    let uncut = files.logs.keys().map(|&id| known(id));
    let through = unread.chain(uncut).fold(last, u64::min);
    let keys: Vec<_> = engine.writer().lanes.keys().copied().collect();
    let newest_ms = lateness(engine, &engine.files()).believed_ms;
    let oldest_ms = newest_ms.saturating_sub(2 * retention_ms(engine));
    let mut writer = checkpoint::Writer::new(&*engine.disk, through).map_err(error())?;
    for turn in keys.chunks(LANES_PER_TURN) {
        {
            let lanes = &mut engine.writer().lanes;
            for key in turn {
                // Frames this old are gone; without this, retired hosts would stay for ever.
                if lanes
                    .get(key)
                    .is_some_and(|lane| lane.last_received_ms < oldest_ms)
                {
                    lanes.remove(key);
                } else if let Some(lane) = lanes.get(key) {
                    checkpoint::write_lane(writer.buffer(), key.0, key.1, lane);
                }
            }
        }
        writer.flush().map_err(error())?;
    }
    let is_good = !engine.damage.has(checkpoint::NAME);
    writer.finish(is_good).map_err(error())?;
    engine.damage.forget(checkpoint::NAME);
    Ok(())
}

/// Why retention removes what is old.
const BY_AGE: &str = "age";

/// A file that retention may remove.
struct Candidate {
    name: String,
    bytes: u64,
    last_received_ms: i64,
    /// How many logs it was made of.
    width: u64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Segment(u64),
    Block(u64),
    Rollup(u64, u64),
    /// A file of which nothing can be read, so that it is in no list; the milliseconds of its steps.
    Waiting(u64),
}

/// Removes what is too old, or too much. What cannot go now waits for the next pass, alone.
fn expire(engine: &Engine) -> Result<(), SeriesError> {
    let victims = expired(engine, &engine.files());
    let is_due = |name: &str| victims.iter().any(|(victim, _)| victim.name == name);
    engine.stepless.keep(is_due);
    if victims.is_empty() {
        return Ok(());
    }
    let mut outcome = Ok(());
    let mut without_room = Vec::new();
    for (victim, reason) in victims {
        if reason == BY_AGE && lacks_room(engine, &victim) {
            without_room.push(victim);
            continue;
        }
        match expire_one(engine, &victim, reason) {
            Err(error) if error.is_full() && reason == BY_AGE => without_room.push(victim),
            done => outcome = then(outcome, || done)?,
        }
    }
    outcome = then(outcome, || expire_without_room(engine, without_room))?;
    outcome.and(engine.disk.sync().map_err(engine.error("sync", "")))
}

/// Whether there was no room for the steps of a file not long ago.
fn lacks_room(engine: &Engine, victim: &Candidate) -> bool {
    let pause = engine.options.ask_again.doubt;
    engine.stepless.was_just_tried(&victim.name, pause)
}

/// Where there is no room for steps the samples stay, until that was found three times; then the oldest
/// goes without, which makes room for the steps of the others.
fn expire_without_room(engine: &Engine, victims: Vec<Candidate>) -> Result<(), SeriesError> {
    let mut outcome = Ok(());
    let mut has_made_room = false;
    for victim in victims {
        if !has_made_room && lacks_room(engine, &victim) {
            let full = engine.error("sum up", &victim.name)(io::ErrorKind::StorageFull.into());
            outcome = then(outcome, || Err(full))?;
            continue;
        }
        let mut done = expire_one(engine, &victim, BY_AGE);
        if done.as_ref().is_err_and(SeriesError::is_full)
            && engine.stepless.is_believed(&victim.name)
        {
            done = remove(engine, &victim, BY_AGE);
            has_made_room |= done.is_ok();
            if done.is_ok() {
                engine.stepless.note_lost(engine.options.clock.now_ms());
                tracing::error!(file = %victim.name,
                    "there was no room to sum these samples up, time and again; they went without");
            }
        }
        outcome = then(outcome, || done)?;
    }
    outcome
}

/// Sums up what goes for its age, and removes it. For want of space nothing new is made.
fn expire_one(engine: &Engine, victim: &Candidate, reason: &str) -> Result<(), SeriesError> {
    if let (What::Block(first), BY_AGE) = (victim.what, reason)
        && let Some(block) = engine.files().blocks.get(&first)
    {
        rollup::roll_up_block(engine, block)?;
    }
    remove(engine, victim, reason)?;
    if let (What::Waiting(0), BY_AGE) = (victim.what, reason) {
        engine.stepless.note_lost(engine.options.clock.now_ms());
        tracing::error!(file = %victim.name,
            "the disk refused these samples until they were too old; they went without steps");
    }
    Ok(())
}

fn remove(engine: &Engine, victim: &Candidate, reason: &str) -> Result<(), SeriesError> {
    // The list first: a rollup is opened at each reading. What could not be removed is listed again, or
    // nobody would know of it until the next start.
    let taken = engine.change_files(|files| Taken::take(files, victim));
    match engine.disk.remove(&victim.name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let unread = taken.unread;
            engine.change_files(|files| {
                taken.put_back(files, victim.what);
                files
                    .unread
                    .extend(unread.map(|unread| (victim.name.clone(), unread)));
            });
            return Err(engine.error("remove", &victim.name)(error));
        }
        _ => {}
    }
    engine.damage.forget(&victim.name);
    count(&engine.counters.removed_segments, 1);
    tracing::info!(file = %victim.name, bytes = victim.bytes, reason, "removed by retention");
    Ok(())
}

/// A file that was taken off the list.
#[derive(Default)]
struct Taken {
    block: Option<Arc<Block>>,
    segment: Option<Arc<Segment>>,
    unread: Option<Unread>,
}

impl Taken {
    fn take(files: &mut Catalog, victim: &Candidate) -> Self {
        let mut taken = Self {
            unread: files.unread.remove(&victim.name),
            ..Self::default()
        };
        match victim.what {
            What::Segment(id) => taken.segment = files.sealed.remove(&id),
            What::Block(first) => taken.block = files.blocks.remove(&first),
            What::Rollup(step_ms, first) => taken.block = files.rollups.remove(&(step_ms, first)),
            What::Waiting(_) => {}
        }
        taken
    }

    fn put_back(self, files: &mut Catalog, what: What) {
        match (what, self.segment, self.block) {
            (What::Segment(id), Some(segment), _) => drop(files.sealed.insert(id, segment)),
            (What::Block(first), _, Some(block)) => drop(files.blocks.insert(first, block)),
            (What::Rollup(step_ms, first), _, Some(block)) => {
                drop(files.rollups.insert((step_ms, first), block));
            }
            _ => {}
        }
    }
}

/// What goes, oldest first. Age is the distance from the newest arrival that is believed
/// ([`crate::arrivals`]), not from the clock: a clock that is wrong for a moment removes nothing.
fn expired(engine: &Engine, files: &Catalog) -> Vec<(Candidate, &'static str)> {
    let newest_ms = lateness(engine, files).believed_ms;
    let logs: u64 = files.logs.values().map(|log| log.state().length).sum();
    let candidates = candidates(files);
    let mut bytes = logs + held::bytes(files) + candidates.iter().map(|one| one.bytes).sum::<u64>();
    let mut victims = Vec::new();
    let mut by_age = 0;
    for candidate in candidates {
        let kept_ms = kept_ms(&engine.options, candidate.what);
        let is_old = candidate.last_received_ms < newest_ms.saturating_sub(kept_ms)
            && by_age < MAX_EXPIRED_PER_PASS;
        let is_too_much = engine.options.max_bytes.is_some_and(|limit| bytes > limit);
        let reason = match (is_old, is_too_much) {
            (true, _) => BY_AGE,
            (_, true) => "size",
            _ => continue,
        };
        by_age += if is_old { candidate.width } else { 0 };
        bytes -= candidate.bytes;
        victims.push((candidate, reason));
    }
    victims
}

/// Raw samples before rollups, each oldest first: what is coarse costs least and lasts longest.
fn candidates(files: &Catalog) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    all.extend(files.sealed.values().map(|segment| Candidate {
        name: segment.name.clone(),
        bytes: segment.bytes,
        last_received_ms: segment.span.last_received_ms,
        width: 2,
        what: What::Segment(segment.id),
    }));
    // By the length of steps and the first log.
    let mut rest: Vec<((u64, u64), Candidate)> = Vec::new();
    let block = |what: What, block: &Arc<Block>| Candidate {
        name: block.name.clone(),
        bytes: block.bytes,
        last_received_ms: block.span().last_received_ms,
        width: block.last() - block.first() + 1,
        what,
    };
    let blocks = files.blocks.iter();
    rest.extend(blocks.map(|(&first, one)| ((0, first), block(What::Block(first), one))));
    let rollups = files.rollups.iter();
    rest.extend(rollups.map(|(&(step_ms, first), one)| {
        ((step_ms, first), block(What::Rollup(step_ms, first), one))
    }));
    rest.extend(unread::unlisted(files).filter_map(|(name, unread)| {
        let (first, last, step_ms) = unread::logs_of(name)?;
        let waiting = Candidate {
            name: name.to_owned(),
            bytes: unread.bytes,
            last_received_ms: arrived_by_ms(files, first, last),
            width: last - first + 1,
            what: What::Waiting(step_ms),
        };
        Some(((step_ms, first), waiting))
    }));
    rest.sort_by_key(|(place, _)| *place);
    all.extend(rest.into_iter().map(|(_, candidate)| candidate));
    all
}

/// The latest that a file can have arrived of which nothing can be read: not after what follows it. What lies
/// before it is asked as well, because clocks err. Nothing follows the newest: that one does not go for its age.
fn arrived_by_ms(files: &Catalog, first: u64, last: u64) -> i64 {
    let others = || files.blocks.values().chain(files.rollups.values());
    let arrived_ms = |one: &Arc<Block>| one.span().last_received_ms;
    let later = others().filter(|one| one.first() > last).map(arrived_ms);
    let earlier = others().filter(|one| one.last() < first).map(arrived_ms);
    let later_ms = later.min().unwrap_or(i64::MAX);
    later_ms.max(earlier.max().unwrap_or(i64::MIN))
}

fn kept_ms(options: &SeriesOptions, what: What) -> i64 {
    let kept = match what {
        What::Segment(_) | What::Block(_) | What::Waiting(0) => options.retention,
        What::Rollup(step_ms, _) | What::Waiting(step_ms) if step_ms < rollup::COARSE_MS => {
            options.retention_5m
        }
        What::Rollup(..) | What::Waiting(_) => options.retention_1h,
    };
    i64::try_from(kept.as_millis()).unwrap_or(i64::MAX / 4)
}

fn retention_ms(engine: &Engine) -> i64 {
    i64::try_from(engine.options.retention.as_millis()).unwrap_or(i64::MAX / 4)
}
