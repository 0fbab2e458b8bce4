//! Who may do what: the split of the agent into processes with as few rights as possible.
//!
//! Started as root, the agent becomes a tiny *warden* that spawns the unprivileged *worker* (all
//! of the agent proper) and, on a typed request of the worker, single-purpose *helpers*. All are
//! this one executable. The warden starts no runtime, reads no network and no configuration
//! beyond its arguments, and never looks into an answer: helpers write straight to the worker's
//! socket. [`table`] says what each process holds and is checked against `/proc/PID/status`.
//!
//! | file | what it holds |
//! |---|---|
//! | `accounts` | looks the worker's user and groups up in `/etc/passwd` and `/etc/group` |
//! | `client` | the worker's side: asks without blocking |
//! | `confine` | gives up rights, and proves it |
//! | `helper` | one request, one answer, exit |
//! | `table` | the single source of the privilege table |
//! | `warden` | spawns, restarts, stops |
//! | `wire` | request and answer packets |

use std::process::ExitCode;

mod client;
mod table;
mod warden;

pub use client::PrivilegedClient;
pub use table::{Row, markdown, table};
pub use warden::{WardenOptions, supervise};

/// Serves the hidden subcommands `confine` and `helper`, if this process was started with one.
///
/// Call it first in `main`, before any thread exists: both give up rights of the calling thread.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    None
}
