//! What the background thread does: seal, write the checkpoint, apply retention.
//!
//! What fails keeps nothing else from its turn: a file that cannot be read, or a disk that is full, must
//! not stop retention, which is what makes space.

use std::error::Error as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::arrivals::lateness;
use crate::block::Block;
use crate::checkpoint;
use crate::engine::{Catalog, Engine, count};
use crate::error::SeriesError;
use crate::frame::SealingTrouble;
use crate::log::Log;
use crate::options::SeriesOptions;
use crate::{cut, damage, held, merge, refused, rollup};

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
    let mut outcome = cut_waiting(engine);
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

fn cut_waiting(engine: &Engine) -> Result<(), SeriesError> {
    let mut sealed = None;
    // Each handle must go with its log: an open file keeps its space.
    let waiting = waiting(&engine.files());
    let result = waiting.into_iter().try_for_each(|log| {
        if !log.state().is_empty() {
            cut::cut(engine, &log)?;
        } else {
            engine.change_files(|files| files.logs.remove(&log.id));
        }
        sealed = Some(log.id);
        if engine.files().held.contains_key(&log.id) {
            return Ok(());
        }
        // At once, so that many waiting logs need the space of one.
        damage::remove_or_keep(engine, &log.name)
    });
    match sealed {
        Some(last) => result.and(write_checkpoint(engine, last)),
        None => result,
    }
}

fn waiting(files: &Catalog) -> Vec<Arc<Log>> {
    let is_waiting = |log: &&Arc<Log>| Some(log.id) != files.active;
    files.logs.values().filter(is_waiting).cloned().collect()
}

/// Writes the de-duplication state; every segment up to `through` is in it.
fn write_checkpoint(engine: &Engine, through: u64) -> Result<(), SeriesError> {
    let error = || engine.error("write", checkpoint::NAME);
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
    writer.finish().map_err(error())
}

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
}

/// Removes what is too old, or too much. What cannot go now waits for the next pass, alone.
fn expire(engine: &Engine) -> Result<(), SeriesError> {
    let victims = expired(engine, &engine.files());
    if victims.is_empty() {
        return Ok(());
    }
    let mut outcome = Ok(());
    for (victim, reason) in victims {
        outcome = then(outcome, || remove(engine, &victim, reason))?;
    }
    outcome.and(engine.disk.sync().map_err(engine.error("sync", "")))
}

fn remove(engine: &Engine, victim: &Candidate, reason: &str) -> Result<(), SeriesError> {
    // For want of space nothing new is made.
    if let (What::Block(first), "age") = (victim.what, reason)
        && let Some(block) = engine.files().blocks.get(&first)
    {
        rollup::roll_up_block(engine, block)?;
    }
    engine.change_files(|files| match victim.what {
        What::Segment(id) => drop(files.sealed.remove(&id)),
        What::Block(first) => drop(files.blocks.remove(&first)),
        What::Rollup(resolution, first) => drop(files.rollups.remove(&(resolution, first))),
    });
    engine
        .disk
        .remove(&victim.name)
        .map_err(engine.error("remove", &victim.name))?;
    count(&engine.counters.removed_segments, 1);
    tracing::info!(file = %victim.name, bytes = victim.bytes, reason, "removed by retention");
    Ok(())
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
            (true, _) => "age",
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
    let block = |what: What, block: &Arc<Block>| Candidate {
        name: block.name.clone(),
        bytes: block.bytes,
        last_received_ms: block.span().last_received_ms,
        width: block.last() - block.first() + 1,
        what,
    };
    all.extend(
        files
            .blocks
            .iter()
            .map(|(&first, one)| block(What::Block(first), one)),
    );
    let rollups = files.rollups.iter();
    all.extend(
        rollups.map(|(&(resolution, first), one)| block(What::Rollup(resolution, first), one)),
    );
    all
}

fn kept_ms(options: &SeriesOptions, what: What) -> i64 {
    let kept = match what {
        What::Segment(_) | What::Block(_) => options.retention,
        What::Rollup(resolution_ms, _) if resolution_ms < rollup::COARSE_MS => options.retention_5m,
        What::Rollup(..) => options.retention_1h,
    };
    i64::try_from(kept.as_millis()).unwrap_or(i64::MAX / 4)
}

fn retention_ms(engine: &Engine) -> i64 {
    i64::try_from(engine.options.retention.as_millis()).unwrap_or(i64::MAX / 4)
}
