//! What a follower missed of a log that the disk gave too late.
//!
//! Who follows the logs may have gone past one that waited. What of it was sent all the same is no loss: all
//! that lay before the place at which the follower began, and what could be read of it meanwhile. The rest is
//! counted and told; nothing is sent out of its order.

use std::sync::PoisonError;

use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::head::lock;
use crate::held::Held;
use crate::log::Log;
use crate::tail::Released;

/// How many frames of a log, read anew, its follower went past without seeing them. Called before they become
/// a block: what the heads hold of it tells what could be read meanwhile.
pub(crate) fn count_unsent(engine: &Engine, log: &Log) -> Result<u64, SeriesError> {
    let released = engine.released.lock();
    let released = *released.unwrap_or_else(PoisonError::into_inner);
    let Some(Released { first, now }) = released.filter(|_| engine.options.hold.is_some()) else {
        return Ok(0);
    };
    if now.log <= log.id || first.log > log.id {
        return Ok(0);
    }
    let from = if first.log == log.id { first.offset } else { 0 };
    let behind = Held::of(log, true).frames_behind(from);
    let behind = behind.map_err(engine.error("read", &log.name))?;
    Ok(behind.saturating_sub(seen_meanwhile(engine, log.id, from)))
}

/// Frames of a log, from `from` on, that could be read while it waited.
fn seen_meanwhile(engine: &Engine, id: u64, from: u64) -> u64 {
    let files = engine.files();
    let Some(log) = files.logs.get(&id) else {
        return 0;
    };
    let now_ms = engine.options.clock.now_ms();
    let is_behind = |offset: &&u32| u64::from(**offset) >= from;
    let mut seen = log.state().batches;
    for (host, head) in engine.heads.hosts() {
        engine.heads.catch_up(host, id, now_ms);
        let readable = log.offsets(host);
        let undecoded = lock(&head).orphans(id).iter().filter(is_behind).count();
        let readable = readable.iter().filter(is_behind).count();
        seen += readable.saturating_sub(undecoded) as u64;
    }
    seen
}

/// Counts what a follower missed, and says so.
pub(crate) fn tell(engine: &Engine, file: &str, frames: u64) {
    if frames > 0 {
        count(&engine.counters.unfollowed, frames);
        tracing::error!(
            file,
            frames,
            "a log was read too late to be sent on: what was not sent before stays in this store only"
        );
    }
}
