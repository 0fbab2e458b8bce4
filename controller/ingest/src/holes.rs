//! Holes in the numbers of event batches: asked for once, and given a reason if they stay.
//!
//! A hole that is the same at two looks, of a host that is connected and has nothing left to send,
//! will not close by itself. The host is then asked for the batches, which a spool keeps for about an
//! hour after they were acknowledged: enough for a controller whose database was restored from a
//! copy of that age. What does not come until the next look is recorded as a gap, so that no hole is
//! ever without a reason. Samples have no numbers here; a missing report shows as such.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{info, warn};
use xiezhi_model::{Actor, AuditEntry, EventStream, Gap, HostId};
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::Directive;
use xiezhi_store::{Hole, StoreError};

use crate::context::Context;
use crate::fleet::Fleet;

/// A host with more waiting than this is still sending; a few batches always wait for their
/// acknowledgement.
const QUIET: u64 = 16;

/// Hosts that are asked per look: a restored controller misses something of every host, and all of
/// them at once would be a storm.
const ASKED: usize = 500;

/// Reason of the gap, see [`Gap::reason`].
const MISSING: &str = "missing";

/// What makes a hole the same one at the next look.
type Key = (HostId, u64, EventStream, u64, u64);

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Seen,
    Asked,
}

/// What to do about a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait,
    Ask,
    Record,
}

/// Holes and how far they are.
#[derive(Debug, Default)]
struct Holes(HashMap<Key, Stage>);

impl Holes {
    /// Takes what a look found; `is_quiet` tells whether a host could and would have sent it.
    fn look(&mut self, found: &[Hole], is_quiet: impl Fn(HostId) -> bool) -> Vec<Step> {
        let mut next = HashMap::with_capacity(found.len());
        let mut asked = 0;
        let mut steps = Vec::with_capacity(found.len());
        for hole in found {
            let key = key_of(hole);
            let before = self.0.get(&key).copied();
            let may_ask = asked < ASKED && is_quiet(hole.host);
            let (stage, step) = match before {
                None => (Stage::Seen, Step::Wait),
                Some(Stage::Seen) if may_ask => (Stage::Asked, Step::Ask),
                Some(Stage::Asked) if is_quiet(hole.host) => (Stage::Asked, Step::Record),
                Some(stage) => (stage, Step::Wait),
            };
            asked += usize::from(step == Step::Ask);
            next.insert(key, stage);
            steps.push(step);
        }
        self.0 = next;
        steps
    }

    /// The host could not be asked.
    fn not_asked(&mut self, hole: &Hole) {
        self.0.insert(key_of(hole), Stage::Seen);
    }
}

fn key_of(hole: &Hole) -> Key {
    (hole.host, hole.epoch, hole.stream, hole.first, hole.last)
}

/// Looks for holes until `stop` changes.
pub(crate) async fn follow(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let every = context.options.hole_interval;
    let mut timer = interval_at(tokio::time::Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut holes = Holes::default();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stop.changed() => return,
        }
        if let Err(failure) = look(&context, &mut holes).await {
            let error: &dyn std::error::Error = &failure;
            warn!(error, "holes cannot be looked for, trying again");
        }
    }
}

async fn look(context: &Context, holes: &mut Holes) -> Result<(), StoreError> {
    let filled = context.store.close_filled_gaps(MISSING).await?;
    if filled > 0 {
        info!(
            batches = filled,
            "batches that were missing came after all; their gaps are closed"
        );
    }
    let found = context.store.event_holes().await?;
    let since_ms = context.now_ms() - every_ms(context);
    let steps = holes.look(&found, |host| is_quiet(&context.fleet, host, since_ms));
    let mut gaps = Vec::new();
    for (hole, step) in found.iter().zip(steps) {
        match step {
            Step::Wait => {}
            Step::Ask if !ask(context, hole).await? => holes.not_asked(hole),
            Step::Ask => {}
            Step::Record => gaps.push(gap_of(hole)),
        }
    }
    context.store.insert_gaps(&gaps, context.now_ms()).await
}

fn every_ms(context: &Context) -> i64 {
    i64::try_from(context.options.hole_interval.as_millis()).unwrap_or(i64::MAX)
}

/// Whether the host has been connected since then and has nothing left to send.
fn is_quiet(fleet: &Fleet, host: HostId, since_ms: i64) -> bool {
    fleet.get(host).is_some_and(|view| {
        view.spool.pending <= QUIET && view.connected_since_ms.is_some_and(|at| at <= since_ms)
    })
}

/// Asks the host; `false` if it cannot be reached. What it answers is not waited for: the next look
/// sees what came.
async fn ask(context: &Context, hole: &Hole) -> Result<bool, StoreError> {
    let (host, first, last) = (hole.host, hole.first, hole.last);
    let stream = match hole.stream {
        EventStream::Events => Stream::Events,
        EventStream::Security => Stream::Security,
    };
    let directive = Directive::Resend {
        stream,
        first,
        last,
    };
    if !context.fleet.post(host, directive) {
        return Ok(false);
    }
    info!(%host, stream = stream.name(), first, last, "batches are missing, the host is asked");
    let subject = format!("host:{host}");
    let entry = AuditEntry::new(
        context.now_ms(),
        Actor::System,
        "host.resend_asked",
        subject,
    )
    .with("stream", stream.name())
    .with("first", first.to_string())
    .with("last", last.to_string());
    context.store.append_repeated_audit(&entry).await?;
    Ok(true)
}

fn gap_of(hole: &Hole) -> Gap {
    Gap {
        host: hole.host,
        epoch: hole.epoch,
        stream: hole.stream.word().to_owned(),
        first: hole.first,
        last: hole.last,
        from_ms: hole.from_ms,
        to_ms: hole.to_ms,
        reason: MISSING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(host: i64, first: u64) -> Hole {
        Hole {
            host: HostId(host),
            epoch: 1,
            stream: EventStream::Security,
            first,
            last: 9,
            from_ms: 0,
            to_ms: 0,
        }
    }

    #[test]
    fn a_hole_is_asked_for_at_the_second_look_and_recorded_at_the_third() {
        let mut holes = Holes::default();
        let quiet = |_: HostId| true;
        assert_eq!(holes.look(&[hole(1, 5)], quiet), [Step::Wait]);
        assert_eq!(holes.look(&[hole(1, 5)], quiet), [Step::Ask]);
        assert_eq!(holes.look(&[hole(1, 5)], quiet), [Step::Record]);
        // One that shrinks is being filled: another hole, which has all its time again.
        assert_eq!(holes.look(&[hole(1, 6)], quiet), [Step::Wait]);
        assert_eq!(holes.look(&[], quiet), []);
        assert!(holes.0.is_empty());
    }

    #[test]
    fn a_host_that_is_away_or_still_sends_is_neither_asked_nor_blamed() {
        let mut holes = Holes::default();
        for _ in 0..3 {
            assert_eq!(holes.look(&[hole(1, 5)], |_| false), [Step::Wait]);
        }
        assert_eq!(holes.look(&[hole(1, 5)], |_| true), [Step::Ask]);
        assert_eq!(holes.look(&[hole(1, 5)], |_| false), [Step::Wait]);
        holes.not_asked(&hole(1, 5));
        assert_eq!(holes.look(&[hole(1, 5)], |_| true), [Step::Ask]);
    }

    #[test]
    fn a_province_is_asked_bit_by_bit() {
        let mut holes = Holes::default();
        let all: Vec<Hole> = (0..1200).map(|host| hole(host, 5)).collect();
        let asked = |steps: Vec<Step>| steps.iter().filter(|&&step| step == Step::Ask).count();
        let counts = [0, 500, 500, 200].map(|_| asked(holes.look(&all, |_| true)));
        assert_eq!(counts, [0, 500, 500, 200]);
    }
}
