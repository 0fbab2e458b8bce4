//! A filter on system calls for the processes that read what others wrote: the worker, which parses
//! what comes from the network, and the helpers, which hold a capability.
//!
//! It is a list of what is denied, not of what is allowed: a list of all that libraries, `rpm` and
//! `systemctl` need differs between kernels, C libraries and processors, and what it lacks would fail
//! in a court at night. Denied is what an intruder would reach for next: namespaces and mounts, other
//! processes' memory, kernel modules, the parts of the kernel with the most holes. A denied call fails
//! with EPERM. What is started later inherits the filter, and nothing can take it off.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What is denied on every processor.
const DENIED: [libc::c_long; 40] = [
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    // Namespaces, mounts, another root.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    // The kernel itself, and its parts with the most holes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Files past their paths, and watching all of them.
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
];

/// What only some processors or newer kernels have, by the numbers that these share.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    PIDFD_GETFD,
    MOUNT_SETATTR,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[PIDFD_GETFD, MOUNT_SETATTR];

/// Linux 5.6 and 5.12 gave these numbers on every processor.
const PIDFD_GETFD: libc::c_long = 438;
const MOUNT_SETATTR: libc::c_long = 442;

/// On x86-64 the same calls can be made a second time, by numbers with this bit (the x32 ABI).
#[cfg(target_arch = "x86_64")]
const OTHER_ABI: Option<libc::c_long> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_ABI: Option<libc::c_long> = None;

/// Every flag of clone(2) that makes a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Puts the filter on the calling thread and all that it starts; there must be no other yet.
///
/// # Errors
/// The kernel knows no filters (CONFIG_SECCOMP_FILTER), or the processor is not known here. The
/// process goes on without one, which the worker then says.
pub(super) fn filter_system_calls() -> Result<()> {
    let denied = program(denied()?, libc::EPERM)?;
    // The flags of clone3 lie behind a pointer, where no filter sees them. Without it libraries use
    // clone, whose flags are seen.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = program(clone3, libc::ENOSYS)?;
    seccompiler::apply_filter(&denied).context("setting the filter on system calls")?;
    seccompiler::apply_filter(&clone3).context("setting the filter on clone3")
}

fn denied() -> Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let own = DENIED.iter().chain(DENIED_HERE).copied();
    let other = own.clone().filter_map(|call| Some(call | OTHER_ABI?));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        own.chain(other).map(|call| (call, Vec::new())).collect();
    let namespaces: Result<Vec<_>, _> = NAMESPACES.into_iter().map(with_flag).collect();
    rules.insert(libc::SYS_clone, namespaces.context("describing clone")?);
    Ok(rules)
}

/// A call of clone with this flag.
fn with_flag(flag: libc::c_int) -> Result<SeccompRule, seccompiler::BackendError> {
    let flag = u64::from(flag.cast_unsigned());
    let is_set = SeccompCmpOp::MaskedEq(flag);
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, is_set, flag)?;
    SeccompRule::new(vec![condition])
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, error: libc::c_int) -> Result<BpfProgram> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .context("this processor has no filter")?;
    let action = SeccompAction::Errno(error.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture);
    let filter = filter.context("describing the filter on system calls")?;
    filter
        .try_into()
        .context("compiling the filter on system calls")
}

/// Puts the filter on a worker that has no warden, and says so if this one or the warden's is not on.
pub(crate) fn ensure_filtered(supervised: bool) {
    let filtered = if supervised {
        Ok(())
    } else {
        filter_system_calls()
    };
    if !is_filtered() {
        let error = filtered.err().map(|error| format!("{error:#}"));
        tracing::warn!(
            error,
            "this kernel filters no system calls: what takes over the agent could try more of them"
        );
    }
}

/// Whether a filter is on this process, proc_pid_status(5).
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_compile_for_both_processors_that_are_shipped() {
        for architecture in ["x86_64", "aarch64"] {
            let target: seccompiler::TargetArch = architecture.try_into().unwrap();
            let deny = SeccompAction::Errno(1);
            let filter = SeccompFilter::new(denied().unwrap(), SeccompAction::Allow, deny, target);
            let compiled: BpfProgram = filter.unwrap().try_into().unwrap();
            // The kernel takes 4096 instructions.
            assert!(compiled.len() < 1000, "{}", compiled.len());
        }
    }
}
