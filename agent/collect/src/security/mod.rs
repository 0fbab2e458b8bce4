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

mod accounts;
mod audit;
mod auth;
mod clock;
mod journal;
mod keys;
pub mod limiter;
mod logfile;
mod logins;
mod packages;
mod ports;
pub mod privileged;
mod rpm;
mod setuid;
mod state;
mod syslog;
mod tail;
mod tamper;
mod usb;
mod watch;
mod watcher;
mod zone;

pub use watch::{SecurityError, SecurityOptions, SecurityWatch, SourceState};

use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use watcher::Watcher;

/// Every watcher, in the order in which they are polled: the one list to add a line to.
fn watchers(options: &SecurityOptions) -> Vec<Box<dyn Watcher>> {
    vec![
        Box::new(clock::Clock::default()),
        Box::new(logins::Logins::new()),
        Box::new(audit::Audit::new(options.logins_from_audit)),
        Box::new(accounts::Accounts::default()),
        Box::new(keys::AuthorizedKeys::default()),
        Box::new(ports::ListeningPorts::default()),
        Box::new(setuid::SetuidFiles::new(options.setuid_every)),
        Box::new(packages::Packages::new()),
        Box::new(rpm::Rpm::default()),
        Box::new(usb::Usb::default()),
        Box::new(tamper::Tamper::new(options.guarded.clone())),
    ]
}

/// The text of a regular file, at most `limit` bytes of it; never waits at a pipe.
fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Values of a helper's answer, one JSON document per line; a line that is none is passed.
fn json_lines<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}

#[cfg(test)]
mod tests;
