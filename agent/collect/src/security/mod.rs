//! Security events of a host: who came in, what was run with other rights, what changed.
//!
//! [`SecurityWatch`] owns one watcher per source and is polled every few seconds by one thread;
//! it starts no thread, no process and no runtime of its own. Each watcher is one file here and
//! one line in [`watchers`]. A watcher has a pure core (text in, [`Event`] out), and an outer part
//! that reads the real source incrementally from a saved position.
//!
//! What holds for all of them:
//!
//! - The first run records a silent baseline; only what changes after it is an event. The baseline
//!   and all positions are durable, so a change made while the agent was down is reported later.
//! - Positions move only by [`SecurityWatch::stage`] and [`SecurityWatch::commit`], after the
//!   events were handed to the spool: a restart neither loses nor doubles them.
//! - What could not be read is itself an event (`source_gap`) and shows in
//!   [`SecurityWatch::sources`].
//! - Each source may give at most [`limiter::PER_MINUTE`] events of a kind per minute; the rest is
//!   counted in one event, so a brute-force attack cannot fill the spool, and cannot hide the one
//!   login that succeeded either, because that is another kind.
//!
//! It never parses network input, never writes outside its state folder and never needs a
//! capability: what only root can read comes through [`privileged`].
//!
//! [`Event`]: xiezhi_protocol::event::Event

pub mod limiter;
pub mod privileged;
mod watch;
mod watcher;

pub use watch::{SecurityError, SecurityOptions, SecurityWatch, SourceState};

use watcher::Watcher;

/// Every watcher, in the order in which they are polled: the one list to add a line to.
fn watchers(_options: &SecurityOptions) -> Vec<Box<dyn Watcher>> {
    vec![]
}
