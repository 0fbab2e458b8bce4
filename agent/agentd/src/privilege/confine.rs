//! Gives up rights, in an order that cannot fail half-way unnoticed, and proves it afterwards.
//!
//! The process is single-threaded here (it has only just started), so the raw system calls of one
//! thread are those of the process. If anything is refused, or the proof fails, the process ends:
//! it never goes on with more rights than it should have.

use std::ffi::{CString, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::SigSet;
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::{ASKER_NAME, WORKER_NAME, accounts::Account, say};

/// Sets the name that `ps` shows.
pub(super) fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        // Only a name: a kernel that refuses it changes nothing else.
        thread::set_name(&name).ok();
    }
}

/// Removes from the bounding set all but `keep`: no program that is started later gets more.
pub(super) fn bound(keep: CapabilitySet) -> Result<()> {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(one) {
            // The kernel knows no more capabilities.
            Err(_) => break,
            Ok(true) if !keep.contains(one) => {
                thread::remove_capability_from_bounding_set(one)
                    .context("narrowing the bounding set")?;
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Sets the capabilities and forbids to gain any by starting a program.
pub(super) fn hold(effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets).context("giving up capabilities")?;
    thread::set_no_new_privs(true).context("forbidding new privileges")?;
    let held = thread::capabilities(None).context("reading capabilities back")?;
    ensure!(
        held.effective == effective && held.permitted == permitted,
        "capabilities are not as asked for"
    );
    ensure!(
        held.inheritable.is_empty(),
        "inheritable capabilities remain"
    );
    Ok(())
}

/// Does `act` with one capability more, if this process is permitted it; without it as it is.
pub(super) fn with<T>(
    capability: CapabilitySet,
    act: impl FnOnce() -> std::io::Result<T>,
) -> Result<T> {
    let before = thread::capabilities(None).context("reading capabilities")?;
    let more = CapabilitySets {
        effective: before.effective | (before.permitted & capability),
        ..before
    };
    thread::set_capabilities(None, more).context("raising a capability")?;
    let done = act();
    thread::set_capabilities(None, before).context("lowering a capability")?;
    Ok(done?)
}

/// Takes another identity, for good, keeping only `keep`.
pub(super) fn become_user(account: &Account, keep: CapabilitySet) -> Result<()> {
    // A child inherits the warden's blocked signals.
    SigSet::empty()
        .thread_set_mask()
        .context("unblocking signals")?;
    // A core file would hold keys and what only root may read.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).context("forbidding core files")?;
    bound(keep)?;
    if !keep.is_empty() {
        thread::set_keep_capabilities(true)
            .context("keeping capabilities over the change of user")?;
    }
    thread::set_thread_groups(&account.groups).context("setting groups")?;
    thread::set_thread_res_gid(account.gid, account.gid, account.gid)
        .context("setting the group")?;
    thread::set_thread_res_uid(account.uid, account.uid, account.uid)
        .context("setting the user")?;
    // Cleared by the kernel at exec, but not without one.
    if !keep.is_empty() {
        thread::set_keep_capabilities(false).context("ending the keeping of capabilities")?;
    }
    hold(keep, keep)?;
    // Last: a kernel without filters leaves a loss that the worker states, not a host without agent.
    super::filter::filter_system_calls().ok();
    ensure!(
        thread::set_thread_uid(Uid::ROOT).is_err(),
        "could become root again"
    );
    Ok(())
}

/// The hidden subcommand `confine UID GID GROUPS ARGUMENTS…`: becomes the worker.
///
/// It is a step of its own between the warden and the worker, because the standard library can
/// change a child's user but not its groups and capabilities. The worker proper starts by another
/// exec, so nothing of this step stays in its memory.
pub(super) fn become_worker(arguments: &[OsString]) -> ExitCode {
    match try_become_worker(arguments) {
        Ok(never) => match never {},
        Err(error) => {
            say(&format!("xiezhi-agent: cannot start the worker: {error:#}"));
            ExitCode::from(super::warden::CONFINE_FAILED)
        }
    }
}

fn try_become_worker(arguments: &[OsString]) -> Result<std::convert::Infallible> {
    let (head, rest) = arguments.split_at_checked(3).context("too few arguments")?;
    become_for_warden(&account_of(head)?)?;
    let error = Command::new("/proc/self/exe")
        .arg0(WORKER_NAME)
        .args(rest)
        .exec();
    Err(error).context("starting the worker")
}

/// The hidden subcommand `ask UID GID GROUPS PROGRAM ARGUMENTS…`: becomes the program that asks devices.
pub(super) fn become_asker(arguments: &[OsString]) -> ExitCode {
    match try_become_asker(arguments) {
        Ok(never) => match never {},
        Err(error) => {
            say(&format!(
                "xiezhi-agent: cannot start xiezhi-devices: {error:#}"
            ));
            ExitCode::from(super::warden::CONFINE_FAILED)
        }
    }
}

fn try_become_asker(arguments: &[OsString]) -> Result<std::convert::Infallible> {
    let (head, rest) = arguments.split_at_checked(3).context("too few arguments")?;
    let (program, rest) = rest.split_first().context("no program")?;
    become_for_warden(&account_of(head)?)?;
    let error = Command::new(program).arg0(ASKER_NAME).args(rest).exec();
    Err(error).context("starting the program")
}

/// Becomes `account` without any capability, and ends with the warden.
fn become_for_warden(account: &Account) -> Result<()> {
    let warden = rustix::process::getppid();
    become_user(account, CapabilitySet::empty())?;
    // Set after the change of user, which clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("tying to the warden")?;
    ensure!(rustix::process::getppid() == warden, "the warden ended");
    Ok(())
}

/// `UID GID GROUP,GROUP` as the warden writes them.
pub(super) fn account_of(words: &[OsString]) -> Result<Account> {
    let text = |index: usize| {
        words
            .get(index)
            .and_then(|word| word.to_str())
            .context("malformed argument")
    };
    let uid: u32 = text(0)?.parse().context("malformed user")?;
    let gid: u32 = text(1)?.parse().context("malformed group")?;
    ensure!(uid != 0 && gid != 0, "would run as root");
    let groups: Result<Vec<_>, _> = text(2)?
        .split(',')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map(Gid::from_raw))
        .collect();
    Ok(Account {
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
        groups: groups.context("malformed groups")?,
    })
}

/// What [`account_of`] reads.
pub(super) fn account_words(account: &Account, with_groups: bool) -> [String; 3] {
    let groups: Vec<String> = account
        .groups
        .iter()
        .map(|gid| gid.as_raw().to_string())
        .collect();
    let groups = if with_groups {
        groups.join(",")
    } else {
        String::new()
    };
    [
        account.uid.as_raw().to_string(),
        account.gid.as_raw().to_string(),
        groups,
    ]
}
