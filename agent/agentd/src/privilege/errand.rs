//! One command run as the worker: enrolment reads network input and `status` what the worker wrote, so
//! root never does either itself.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};

use super::accounts::{self, Account};
use super::{HELPER_NAME, confine, handover};

/// Makes `state_dir` the worker's and runs this executable with `arguments` as the worker, `input`
/// on its standard input. Call it as root.
///
/// # Errors
/// If the user does not exist, or the process cannot be started.
pub(crate) fn run_as_worker(
    user: &str,
    state_dir: &Path,
    arguments: &[OsString],
    input: &str,
) -> Result<ExitStatus> {
    let account = accounts::find(user)?;
    handover::hand_over(state_dir, &account)?;
    run(&account, arguments, input)
}

/// Runs this executable with `arguments` as the worker and changes nothing before: for looking at
/// files that the worker wrote. Call it as root.
///
/// # Errors
/// As [`run_as_worker`].
pub(crate) fn look_as_worker(user: &str, arguments: &[OsString]) -> Result<ExitStatus> {
    run(&accounts::find(user)?, arguments, "")
}

/// Runs this executable with `arguments` as the worker, changes nothing before, and hands it `input` as
/// its standard input: for a command that needs the network and a secret. Call it as root.
///
/// # Errors
/// As [`run_as_worker`].
pub(crate) fn give_to_worker(
    user: &str,
    arguments: &[OsString],
    input: &str,
) -> Result<ExitStatus> {
    run(&accounts::find(user)?, arguments, input)
}

fn run(account: &Account, arguments: &[OsString], input: &str) -> Result<ExitStatus> {
    let mut child = Command::new("/proc/self/exe")
        .arg0(HELPER_NAME)
        .arg("confine")
        .args(confine::account_words(account, false))
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting the unprivileged part")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .context("handing over the input")?;
    }
    child.wait().context("waiting for the unprivileged part")
}
