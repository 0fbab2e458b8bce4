//! The project's own commands: `cargo xtask NAME`.
//!
//! One file per command. What a command needs it sets up itself, so that a fresh machine with Rust
//! and a C compiler can run it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its terminal"
)]

mod bench;
mod demo;
mod deps;
mod dist;
mod docs;
mod fuzzer;
mod packages;
mod process;
mod releases;
mod stage;
mod test;
mod tidy;
mod web;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--province] [--port N]  a controller and this machine's agent, live in a browser
  test [--quick]                everything that must hold before a change lands
  bench [NAME]                  the figures, next to those of other programs, from one run
  deps                          who may import whom, one TLS provider, licences
  tidy                          form: headers, lengths, leftovers
  docs                          reference documentation without a warning
  web                           types and lints of the pages' scripts and style sheets
  dist [--quick]                tarball, .deb and .rpm of each binary
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let outcome = match command {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "deps" => deps::run(),
        "tidy" => tidy::run(),
        "docs" => docs::run(),
        "web" => web::run(),
        "dist" => dist::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprint!("there is no command `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
