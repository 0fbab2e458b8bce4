//! What the background thread does: seal, write the checkpoint, apply retention.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::checkpoint;
use crate::engine::{Catalog, Engine, count};
use crate::error::SeriesError;
use crate::log::Log;
use crate::seal;
use crate::segment::Segment;

/// Pause before a failed pass is tried again; also the longest sleep.
const RETRY: Duration = Duration::from_secs(30);
/// Lanes written per turn of the writer's lock.
const LANES_PER_TURN: usize = 64;
/// Segments that one pass removes for their age. A clock that is years ahead then costs a day of
/// samples per hour, not all of them at once.
const MAX_EXPIRED_PER_PASS: usize = 24;
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
                tracing::warn!(error = %error, "segment is not sealed yet, trying again");
            }
        }
        if !engine.bell.wait(RETRY) {
            return;
        }
    }
}

/// One pass: seals every log that is not active, oldest first, then applies retention.
pub(crate) fn maintain(engine: &Engine) -> Result<(), SeriesError> {
    let _turn = engine
        .maintenance
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut sealed = None;
    // Each handle must go with its log: an open file keeps its space.
    let waiting = waiting(&engine.files());
    let result = waiting.into_iter().try_for_each(|log| {
        if log.state().frames > 0 {
            seal::seal(engine, &log)?;
        } else {
            engine.change_files(|files| files.logs.remove(&log.id));
        }
        sealed = Some(log.id);
        // At once, so that many waiting logs need the space of one.
        engine
            .disk
            .remove(&log.name)
            .map_err(engine.error("remove", &log.name))
    });
    if let Some(last) = sealed {
        write_checkpoint(engine, last)?;
    }
    result?;
    expire(engine)
}

fn waiting(files: &Catalog) -> Vec<Arc<Log>> {
    let is_waiting = |log: &&Arc<Log>| Some(log.id) != files.active;
    files.logs.values().filter(is_waiting).cloned().collect()
}

/// Writes the de-duplication state; every segment up to `through` is in it.
fn write_checkpoint(engine: &Engine, through: u64) -> Result<(), SeriesError> {
    let error = || engine.error("write", checkpoint::NAME);
    let keys: Vec<_> = engine.writer().lanes.keys().copied().collect();
    let oldest_ms = newest_arrival(&engine.files()).saturating_sub(2 * retention_ms(engine));
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

/// Removes sealed segments that are too old, or too many.
fn expire(engine: &Engine) -> Result<(), SeriesError> {
    let victims = expired(engine, &engine.files());
    if victims.is_empty() {
        return Ok(());
    }
    for (segment, reason) in victims {
        engine.change_files(|files| files.sealed.remove(&segment.id));
        engine
            .disk
            .remove(&segment.name)
            .map_err(engine.error("remove", &segment.name))?;
        count(&engine.counters.removed_segments, 1);
        tracing::info!(
            segment = segment.id,
            frames = segment.frames,
            bytes = segment.bytes,
            oldest_ms = segment.span.oldest_ms,
            newest_ms = segment.span.newest_ms,
            reason,
            "segment removed by retention"
        );
    }
    engine.disk.sync().map_err(engine.error("sync", ""))
}

/// Age is the distance from the newest sealed arrival, not from the clock: a clock that is wrong
/// at start removes nothing.
fn expired(engine: &Engine, files: &Catalog) -> Vec<(Arc<Segment>, &'static str)> {
    let oldest_ms = newest_arrival(files).saturating_sub(retention_ms(engine));
    let logs: u64 = files.logs.values().map(|log| log.state().length).sum();
    let mut bytes = logs
        + files
            .sealed
            .values()
            .map(|segment| segment.bytes)
            .sum::<u64>();
    let mut victims = Vec::new();
    for segment in files.sealed.values() {
        let is_old =
            segment.span.last_received_ms < oldest_ms && victims.len() < MAX_EXPIRED_PER_PASS;
        let is_too_much = engine.options.max_bytes.is_some_and(|limit| bytes > limit);
        let reason = match (is_old, is_too_much) {
            (true, _) => "age",
            (_, true) => "size",
            _ => break,
        };
        bytes -= segment.bytes;
        victims.push((Arc::clone(segment), reason));
    }
    victims
}

fn newest_arrival(files: &Catalog) -> i64 {
    let arrivals = files
        .sealed
        .values()
        .map(|segment| segment.span.last_received_ms);
    arrivals.max().unwrap_or(i64::MIN)
}

fn retention_ms(engine: &Engine) -> i64 {
    i64::try_from(engine.options.retention.as_millis()).unwrap_or(i64::MAX / 4)
}
