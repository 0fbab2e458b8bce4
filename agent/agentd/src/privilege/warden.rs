//! The warden: spawns the worker, restarts it, starts helpers for it.

use std::ffi::OsString;
use std::process::ExitCode;

/// How the warden runs.
#[derive(Debug, Clone)]
pub struct WardenOptions {
    /// The worker's user, from `/etc/passwd`; by default `xiezhi`.
    pub user: String,
    /// Arguments of the worker: a hidden subcommand of this executable and its options.
    pub worker: Vec<OsString>,
}

/// Runs the warden until SIGTERM or SIGINT; call it as root and before any thread exists.
#[must_use]
pub fn supervise(options: &WardenOptions) -> ExitCode {
    let _ = options;
    ExitCode::FAILURE
}
