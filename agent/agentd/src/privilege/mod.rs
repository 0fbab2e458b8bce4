//! Who may do what: the split of the agent into processes with as few rights as possible.
//!
//! Started as root, the agent becomes a tiny *warden* that spawns the unprivileged *worker* (all
//! of the agent proper) and, on a typed request of the worker, single-purpose *helpers*. All are
//! this one executable. Before the warden gives up its rights it reads the configuration,
//! `/etc/passwd` and `/etc/group`, and for `enrol` the policy root; all of them come from the administrator.
//! Afterwards its requests are its only input. It starts no runtime, reads no network and never
//! looks into an answer: helpers write straight to the worker's socket. [`table`] says what each process holds and is checked against `/proc/PID/status`.
//!
//! | file | what it holds |
//! |---|---|
//! | `accounts` | looks the worker's user and groups up in `/etc/passwd` and `/etc/group` |
//! | `asker` | keeps the program that asks devices running, as a user of its own |
//! | `client` | the worker's side: asks without blocking |
//! | `confine` | gives up rights, and proves it |
//! | `errand` | one command as the worker: enrolment, status |
//! | `filter` | which system calls the worker and the helpers are denied |
//! | `handover` | makes the state folder the worker's |
//! | `helper` | one request, one answer, exit |
//! | `table` | the single source of the privilege table |
//! | `warden` | spawns, restarts, stops |
//! | `wire` | request and answer packets |

use std::ffi::OsString;
use std::process::ExitCode;

mod accounts;
mod asker;
mod client;
mod confine;
mod errand;
mod filter;
mod handover;
mod helper;
mod table;
mod warden;
mod wire;

pub(crate) use accounts::user_refusal;
pub(crate) use asker::{Asker, AskerOptions};
pub(crate) use client::PrivilegedClient;
pub(crate) use errand::{give_to_worker, look_as_worker, run_as_worker};
pub(crate) use filter::ensure_filtered;
pub(crate) use handover::refusal as state_dir_refusal;
#[cfg(test)]
pub(crate) use table::markdown;
pub(crate) use warden::{WardenOptions, supervise};

/// Name of the worker's first argument and process, by which it knows that a warden started it.
const WORKER_NAME: &str = "xiezhi-worker";
/// The same of helpers.
const HELPER_NAME: &str = "xiezhi-helper";
/// The same of the program that asks devices.
const ASKER_NAME: &str = "xiezhi-devices";
/// The same of the warden.
const WARDEN_NAME: &str = "xiezhi-warden";

/// Whether this process may become a warden.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a warden started this process as its worker.
pub(crate) fn is_supervised() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name == WORKER_NAME)
}

/// Serves the hidden subcommands `ask`, `confine` and `helper`, if this process was started with one.
///
/// Call it first in `main`, before any thread exists: both give up rights of the calling thread.
#[must_use]
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    if name == WORKER_NAME {
        confine::set_name(WORKER_NAME);
        return None;
    }
    if name != HELPER_NAME {
        return None;
    }
    let subcommand = arguments.next()?;
    let rest: Vec<OsString> = arguments.collect();
    match subcommand.to_str()? {
        "ask" => Some(confine::become_asker(&rest)),
        "confine" => Some(confine::become_worker(&rest)),
        "helper" => Some(helper::run(&rest)),
        _ => None,
    }
}

/// A line for the journal: the warden and its helpers have no other log.
fn say(text: &str) {
    use std::io::Write as _;
    // If standard error is closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{text}"));
}

#[cfg(test)]
mod tests;
