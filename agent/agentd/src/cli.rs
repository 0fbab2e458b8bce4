//! The command line of the agent.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands answer on the terminal"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::*;

use crate::clock::now_ms;
use crate::config::Config;
use crate::link::Link;
use crate::{identity, logging, privilege, profile, status, worker};

const HELP: &str = "\
xiezhi-agent: reports this host's health and security events to the controller

  xiezhi-agent run                        run (as root: with an unprivileged worker)
  xiezhi-agent enrol --controller URL --token TOKEN [--policy-root FILE] [--force]
                                          make this host known to the controller
  xiezhi-agent status                     identity, certificate, worker, session, backlog
  xiezhi-agent check-config               show every problem of the configuration
  xiezhi-agent profile …                  how devices are read: list, check, try, learn
  xiezhi-agent device …                   the devices that this host polls: add, list, test, remove
  xiezhi-agent link …                     the lines that it measures: add, list, test, remove, reflect
  xiezhi-agent version

  --config FILE                           default: /etc/xiezhi/agent.yaml if it exists
  --token may be `-` to read it from standard input, so that it is in no process list
";

#[derive(Default)]
struct Arguments {
    command: String,
    config: Option<PathBuf>,
    controller: Option<String>,
    token: Option<String>,
    policy_root: Option<PathBuf>,
    /// From the privileged half of `enrol` to the other.
    policy_root_fingerprint: Option<String>,
    force: bool,
}

/// Does what the command line asks.
pub(crate) fn run() -> Result<ExitCode> {
    let mut parser = lexopt::Parser::from_env();
    let arguments = parse(&mut parser)?;
    let config = || Config::load(arguments.config.as_deref());
    match arguments.command.as_str() {
        "run" => start(&config()?, &arguments),
        "worker" => work(config()?),
        "enrol" => enrol(&config()?, &arguments),
        "status" => show_status(&config()?, &arguments),
        "profile" => Err(profile::become_it(None, &mut parser)),
        "link" => Err(profile::become_it(Some("link"), &mut parser)),
        "device" => Err(profile::become_it(Some("device"), &mut parser)),
        "profile-as-worker" => profile::as_worker(&config()?, &mut parser).map(code_of),
        "check-config" => {
            config()?;
            println!("the configuration has no problems");
            Ok(ExitCode::SUCCESS)
        }
        "version" => {
            println!("xiezhi-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
        "" | "help" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command `{other}`; try `xiezhi-agent help`"),
    }
}

/// Shows why a command failed.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("xiezhi-agent: {error:#}");
}

/// Reads the command line, up to the command if that has a command line of its own.
fn parse(parser: &mut lexopt::Parser) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => "help".clone_into(&mut arguments.command),
            Short('V') | Long("version") => "version".clone_into(&mut arguments.command),
            Long("config") => arguments.config = Some(parser.value()?.into()),
            Long("controller") => arguments.controller = Some(parser.value()?.string()?),
            Long("token") => arguments.token = Some(parser.value()?.string()?),
            Long("policy-root") => arguments.policy_root = Some(parser.value()?.into()),
            Long("policy-root-fingerprint") => {
                arguments.policy_root_fingerprint = Some(parser.value()?.string()?);
            }
            Long("force") => arguments.force = true,
            Value(word) if arguments.command.is_empty() => {
                arguments.command = word.string()?;
                let own = ["device", "link"].contains(&arguments.command.as_str());
                if own || arguments.command.starts_with("profile") {
                    break;
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(arguments)
}

/// As root: the warden. Otherwise: the worker, with what an ordinary user can see.
fn start(config: &Config, arguments: &Arguments) -> Result<ExitCode> {
    if !privilege::is_root() {
        return work(config.clone());
    }
    let mut worker = vec!["worker".to_owned()];
    if let Some(path) = &arguments.config {
        worker.push("--config".to_owned());
        worker.push(path.display().to_string());
    }
    let options = privilege::WardenOptions {
        user: config.user.clone(),
        state_dir: config.state_dir.clone(),
        worker,
        asker: config.devices.clone(),
    };
    privilege::supervise(&options).context("supervising the worker")
}

fn work(config: Config) -> Result<ExitCode> {
    logging::start(config.log);
    let link = Link::open(&config)?;
    let supervised = privilege::is_supervised();
    runtime()?.block_on(worker::run(config, Arc::new(link), supervised))?;
    Ok(ExitCode::SUCCESS)
}

fn enrol(config: &Config, arguments: &Arguments) -> Result<ExitCode> {
    let controller = arguments
        .controller
        .clone()
        .context("--controller URL is missing")?;
    let token = match arguments.token.as_deref() {
        Some("-") => std::io::read_to_string(std::io::stdin()).context("reading the token")?,
        Some(token) => token.to_owned(),
        None => bail!("--token TOKEN is missing; make one with `xiezhi-controller token create`"),
    };
    let policy_root = match (&arguments.policy_root, &arguments.policy_root_fingerprint) {
        (Some(file), _) => identity::fingerprint_of(file)?,
        (None, given) => given.clone().unwrap_or_default(),
    };
    if privilege::is_root() {
        let mut words: Vec<OsString> = ["enrol", "--token", "-", "--controller"]
            .map(Into::into)
            .into();
        words.push(controller.into());
        words.extend(["--policy-root-fingerprint".into(), policy_root.into()]);
        words.extend(arguments.force.then(|| "--force".into()));
        if let Some(path) = &arguments.config {
            words.extend(["--config".into(), path.into()]);
        }
        let status = privilege::run_as_worker(&config.user, &config.state_dir, &words, &token)?;
        return Ok(code_of(status));
    }
    logging::start(config.log);
    let request = identity::Enrolment {
        controller,
        token,
        policy_root,
        force: arguments.force,
    };
    let issued = runtime()?.block_on(identity::enrol(&request, &config.state_dir))?;
    println!(
        "enrolled as host {} of {}; start the agent now",
        issued.host, issued.site
    );
    Ok(ExitCode::SUCCESS)
}

fn show_status(config: &Config, arguments: &Arguments) -> Result<ExitCode> {
    if privilege::is_root() {
        let mut words: Vec<OsString> = vec!["status".into()];
        if let Some(path) = &arguments.config {
            words.extend(["--config".into(), path.into()]);
        }
        let status = privilege::look_as_worker(&config.user, &words)?;
        return Ok(code_of(status));
    }
    let shown = status::show(config, now_ms())?;
    print!("{}", shown.text);
    for problem in &shown.problems {
        println!("problem      {problem}");
    }
    Ok(if shown.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn code_of(status: ExitStatus) -> ExitCode {
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}
