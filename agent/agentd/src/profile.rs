//! `xiezhi-agent profile` and `device`: hands over to `xiezhi-devices`, which lies beside this program.
//!
//! That is a program of its own because most hosts ask no devices, and because whatever a device sends
//! is read without the host's identity at hand. What it must not do as root, it asks of
//! `profile-as-worker`, which comes back here without rights.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, ensure};
use lexopt::Parser;
use rustix::io::FdFlags;

use crate::config::Config;
use crate::privilege;

/// Becomes the other program, with `first` before the words that are left; comes back only with why it
/// could not.
pub(crate) fn become_it(first: Option<&str>, parser: &mut Parser) -> anyhow::Error {
    match start(first, parser) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn start(first: Option<&str>, parser: &mut Parser) -> Result<std::convert::Infallible> {
    let mut words: VecDeque<OsString> = parser.raw_args().context(READING)?.collect();
    let program = if words.front().is_some_and(|word| word == OPENED) {
        words.pop_front();
        words.pop_front().map(PathBuf::from).context(READING)?
    } else {
        beside()?
    };
    let error = Command::new(&program).args(first).args(words).exec();
    Err(error).with_context(|| {
        format!(
            "{} cannot be started; it comes with the agent's package",
            program.display()
        )
    })
}

/// As root: runs `profile` once more as the worker, with the same words and this process's standard
/// input, which holds credentials.
///
/// # Errors
/// If this is not root, or the process cannot be started.
pub(crate) fn as_worker(config: &Config, parser: &mut Parser) -> Result<ExitStatus> {
    ensure!(privilege::is_root(), "`profile-as-worker` is for root");
    // Opened by root and handed over, because the worker may not be able to get to its folder.
    let program = beside()?;
    let opened = File::open(&program).with_context(|| format!("opening {}", program.display()))?;
    rustix::io::fcntl_setfd(&opened, FdFlags::empty()).context("handing the program over")?;
    let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let mut words: Vec<OsString> = vec!["profile".into(), OPENED.into(), path.into()];
    words.extend(parser.raw_args().context(READING)?);
    let input = std::io::read_to_string(std::io::stdin()).context("reading the credentials")?;
    privilege::give_to_worker(&config.user, &words, &input)
}

/// The program, which lies beside this one.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    Ok(own.with_file_name("xiezhi-devices"))
}

/// The word before the program that root opened.
const OPENED: &str = "--opened";

const READING: &str = "reading the command line";
