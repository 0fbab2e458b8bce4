//! `xiezhi-devices`: what `xiezhi-agent profile` and `device` do, and the polling itself, in a program of
//! its own.
//!
//! `run` polls devices and measures links for as long as the agent runs; `device …` and `link …` add, list, test
//! and remove them.
//! `learn` draws up a profile from a live device or a recording, `check` tells every problem of a file
//! with its line and tries its recordings, `try` shows what it reads from a live device.
//!
//! Apart from the agent because most hosts have no devices to ask: the agent stays small, and SNMP, which
//! reads what any device sends, stays away from the process that holds the host's identity.

/// A line on the terminal, as `println!`, which would panic where nobody reads any more.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::show::write_out(format_args!("{}\n", format_args!($($part)*)))
    };
}

/// As [`say`], without the end of the line.
macro_rules! say_part {
    ($($part:tt)*) => {
        $crate::show::write_out(format_args!($($part)*))
    };
}

mod check;
mod credentials;
mod device;
mod files;
mod link;
mod network;
mod run;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::*;
use xiezhi_devices::Secret;
use xiezhi_document::Language;

const HELP: &str = "\
xiezhi-agent profile: how devices are read, without code

  xiezhi-agent profile list                    all profiles: what they are for
  xiezhi-agent profile check [FILE|FOLDER …]   every problem with its line; tries the recordings
  xiezhi-agent profile try ADDRESS             what a live device tells, read with its profile
  xiezhi-agent profile try --walk FILE         the same from a recording
  xiezhi-agent profile learn ADDRESS --name NAME --into FOLDER
                                               a draft from a live device: FOLDER/NAME.yaml and its
                                               recording, without names, addresses, serial numbers
  xiezhi-agent profile learn --walk FILE --name NAME --into FOLDER

  ADDRESS               10.8.0.7 or 10.8.0.7:1161
  --credentials FILE    version: 2c, community: …   or   version: 3, user: …, auth: {protocol: sha256,
                        password: …}, privacy: {protocol: aes128, password: …}; readable by you alone
  --community -         for SNMPv2c: reads it from standard input, so that it is in no process list
  --profile NAME        with `try`: read it with this profile, whatever the device says it is
  --profiles FOLDER     your own profiles, over those that come with the agent;
                        default: /etc/xiezhi/profiles.d if it exists
  --lang zh|en          default: as your terminal (LANG)

  snmpwalk's output is no recording; snmpsim's format is: OID|type|value
";

/// What the command line asks.
#[derive(Debug, Default)]
struct Arguments {
    words: Vec<OsString>,
    walk: Option<PathBuf>,
    name: Option<String>,
    into: Option<PathBuf>,
    profile: Option<String>,
    profiles: Option<PathBuf>,
    credentials: Option<PathBuf>,
    community: Option<String>,
    language: Option<Language>,
    config: Option<PathBuf>,
    /// Credentials that another command already has, as text.
    login: Option<Secret>,
    help: bool,
}

impl Arguments {
    fn language(&self) -> Language {
        self.language.unwrap_or_else(of_the_terminal)
    }

    fn address(&self) -> Option<String> {
        let word = self.words.first()?;
        Some(word.to_string_lossy().into_owned())
    }
}

fn main() -> ExitCode {
    match run_command() {
        Ok(code) => code,
        Err(error) => {
            show::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Does what the command line asks.
fn run_command() -> Result<ExitCode> {
    let mut parser = lexopt::Parser::from_env();
    // Some commands have words of their own.
    match std::env::args_os()
        .nth(1)
        .and_then(|word| word.into_string().ok())
        .as_deref()
    {
        Some("run") => {
            parser.next()?;
            return run::run(&mut parser);
        }
        Some("link") => {
            parser.next()?;
            return link::run(&mut parser);
        }
        Some("link-try") => {
            parser.next()?;
            return link::attempt(&mut parser);
        }
        Some("device") => {
            parser.next()?;
            return device::run(&mut parser);
        }
        _ => {}
    }
    let (command, arguments) = parse(&mut parser)?;
    if arguments.help {
        return Ok(show::help(HELP));
    }
    match command.as_str() {
        "list" => check::list(&arguments),
        "check" => check::check(&arguments),
        "try" => network::try_device(&arguments),
        "learn" => network::learn(&arguments),
        "" | "help" => Ok(show::help(HELP)),
        other => bail!("there is no `profile {other}`; try `xiezhi-agent profile help`"),
    }
}

fn parse(parser: &mut lexopt::Parser) -> Result<(String, Arguments)> {
    let mut command = String::new();
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => arguments.help = true,
            Long("walk") => arguments.walk = Some(parser.value()?.into()),
            Long("name") => arguments.name = Some(parser.value()?.string()?),
            Long("into") => arguments.into = Some(parser.value()?.into()),
            Long("profile") => arguments.profile = Some(parser.value()?.string()?),
            Long("profiles") => arguments.profiles = Some(parser.value()?.into()),
            Long("credentials") => arguments.credentials = Some(parser.value()?.into()),
            Long("community") => arguments.community = Some(parser.value()?.string()?),
            Long("config") => arguments.config = Some(parser.value()?.into()),
            Long("lang") => {
                let word = parser.value()?.string()?;
                arguments.language = Some(
                    language(&word)
                        .with_context(|| format!("`--lang {word}`: there are zh and en"))?,
                );
            }
            Value(word) if command.is_empty() => command = word.string()?,
            Value(word) => arguments.words.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok((command, arguments))
}

fn language(word: &str) -> Option<Language> {
    match word {
        "zh" => Some(Language::Chinese),
        "en" => Some(Language::English),
        _ => None,
    }
}

/// As POSIX looks for it: the first of three variables that says anything.
fn of_the_terminal() -> Language {
    let said = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    if said.is_some_and(|value| value.starts_with("zh")) {
        Language::Chinese
    } else {
        Language::English
    }
}
