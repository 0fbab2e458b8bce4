//! `xiezhi-agent`: reports a host's health and security events to the controller.
//!
//! Started as root it becomes the warden, which starts the unprivileged worker; started as an
//! ordinary user it is the worker itself, and what that cannot see is stated. This file wires the
//! parts; what each process may do is in `privilege::table`.

mod cli;
mod clock;
mod config;
mod devices;
mod events;
mod identity;
mod link;
mod logging;
mod metrics;
mod privilege;
mod profile;
mod schedule;
mod self_use;
mod status;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Must come before any thread: it gives up rights of the calling thread.
    if let Some(code) = privilege::dispatch() {
        return code;
    }
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
