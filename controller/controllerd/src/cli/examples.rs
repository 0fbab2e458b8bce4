//! Every example that `--help` gives is taken as it stands: one that is refused teaches a mistake.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Words as a shell makes them of a line without anything but blanks and single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn examples(command: &clap::Command, found: &mut Vec<String>) {
    if let Some(help) = command.get_after_help() {
        let help = help.to_string();
        let lines = help.lines().map(str::trim_start);
        found.extend(
            lines
                .filter(|line| line.starts_with("xiezhi-controller "))
                .map(str::to_owned),
        );
    }
    for below in command.get_subcommands() {
        examples(below, found);
    }
}

#[test]
fn every_example_of_the_help_is_taken_as_it_stands() {
    let mut found = Vec::new();
    examples(&Cli::command(), &mut found);
    assert!(found.len() > 20, "{found:#?}");
    for line in found {
        if let Err(error) = Cli::try_parse_from(words(&line)) {
            panic!("{line}\n{error}");
        }
    }
}
