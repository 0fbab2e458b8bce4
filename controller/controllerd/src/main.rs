//! `xiezhi-controller`: takes in what the agents of a province report, keeps it and shows it.
//!
//! This file and its neighbours wire the parts: configuration, commands, the running service. What
//! each part does is in its own crate.

#![expect(clippy::print_stderr, reason = "commands answer on the terminal")]

mod authority_watch;
mod cli;
mod clock;
mod cluster;
mod commands;
mod config;
mod control;
mod logging;
mod own_metrics;
mod reserve;
mod service;
mod terminal;
mod web_certificate;

use std::process::ExitCode;

use clap::Parser as _;

/// EX_NOPERM of sysexits.h. The unit file names it: a start that a token refused must not be repeated
/// every few seconds, because the token locks itself after a few wrong PINs.
const PIN_REFUSED: u8 = 77;

/// EX_DATAERR of sysexits.h: the backup is there and is what the samples are, and they are damaged.
const DAMAGED_BACKUP: u8 = 65;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xiezhi-controller: {error:#}");
            let cause = error.downcast_ref::<xiezhi_identity::IdentityError>();
            if cause.is_some_and(xiezhi_identity::IdentityError::is_pin_refused) {
                return ExitCode::from(PIN_REFUSED);
            }
            if error.is::<commands::DamagedBackup>() {
                return ExitCode::from(DAMAGED_BACKUP);
            }
            ExitCode::FAILURE
        }
    }
}
