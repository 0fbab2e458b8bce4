//! `xiezhi-controller`: takes in what the agents of a province report, keeps it and shows it.
//!
//! This file and its neighbours wire the parts: configuration, commands, the running service. What
//! each part does is in its own crate.

#![expect(clippy::print_stderr, reason = "commands answer on the terminal")]

mod cli;
mod clock;
mod commands;
mod config;
mod logging;
mod service;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xiezhi-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}
