//! Makes the state folder the worker's, and nothing else.
//!
//! Enrolment by an administrator writes it as root, and so does a fresh installation or a restored
//! copy. Only what root owns is handed over, and only if the folder holds nothing but what the
//! agent itself makes: a mistaken `state_dir` must never give away somebody else's files. Everything
//! is done on open folders, so no link is followed and no path can be exchanged meanwhile.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

use super::accounts::Account;

/// What the agent makes in its state folder.
const KNOWN: [&str; 5] = [
    "identity",
    "spool",
    "security",
    "status.json",
    "status.json.new",
];
/// What a file system of its own may hold besides; it is left as it is.
const TOLERATED: &str = "lost+found";
/// Folders below which nothing is ever an agent's state.
const SYSTEM_TREES: [&str; 11] = [
    "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys",
    "/usr",
];
/// Folders that are not the agent's, though one below them may be.
const SHARED_FOLDERS: [&str; 17] = [
    "/",
    "/dev",
    "/dev/shm",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];
/// Files and folders that are handed over at most.
const MAX_ENTRIES: usize = 10_000;
/// Folders within each other at most; the agent makes two.
const MAX_DEPTH: usize = 4;

/// Why `path` cannot be a state folder and what to do; `None` if nothing speaks against its name.
pub(crate) fn refusal(path: &Path) -> Option<String> {
    let has_upward = path.components().any(|part| part == Component::ParentDir);
    let reason = if !path.is_absolute() || has_upward {
        "must be an absolute path without `..`"
    } else if is_system(path) {
        "is a folder of the system"
    } else {
        return None;
    };
    Some(format!(
        "`state_dir: {}` {reason}: name a folder of the agent's own, such as /var/lib/xiezhi-agent",
        path.display()
    ))
}

fn is_system(path: &Path) -> bool {
    SYSTEM_TREES.iter().any(|tree| path.starts_with(tree))
        // Compared part by part, so that `/var/` and `/var/.` are `/var` too.
        || SHARED_FOLDERS.iter().any(|folder| path == Path::new(folder))
}

/// Gives `state_dir`, made if it is not there, and what root made in it to the worker.
///
/// # Errors
/// If the folder is not the agent's alone, which changes no owner, or if the kernel refuses.
pub(super) fn hand_over(state_dir: &Path, account: &Account) -> Result<()> {
    make(state_dir)?;
    // An administrator may have put the folder elsewhere by a link; where it leads is what counts.
    let real = fs::canonicalize(state_dir)
        .with_context(|| format!("looking for {}", state_dir.display()))?;
    if let Some(refusal) = refusal(&real) {
        bail!(refusal);
    }
    let folder = open_folder(CWD, &real).with_context(|| format!("opening {}", real.display()))?;
    let stat =
        rustix::fs::fstat(&folder).with_context(|| format!("looking at {}", real.display()))?;
    if stat.st_uid == account.uid.as_raw() {
        // Handed over already. What is in it now is the worker's business: it may move things there.
        return Ok(());
    }
    ensure!(
        stat.st_uid == 0,
        "{} belongs to user number {}, and the agent's worker is number {}: name another `state_dir`, \
         or give it to the worker with `chown -R`",
        real.display(),
        stat.st_uid,
        account.uid.as_raw()
    );
    refuse_strangers(&folder, &real)?;
    give_known(&folder, account).with_context(|| giving(&real))?;
    rustix::fs::fchown(&folder, Some(account.uid), Some(account.gid)).with_context(|| giving(&real))
}

fn giving(path: &Path) -> String {
    format!("giving {} to the worker", path.display())
}

fn make(state_dir: &Path) -> Result<()> {
    if let Some(refusal) = refusal(state_dir) {
        bail!(refusal);
    }
    if state_dir.exists() {
        return Ok(());
    }
    let making = || format!("making {}", state_dir.display());
    if let Some(parent) = state_dir.parent() {
        // The worker must be able to get through.
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o755).create(parent);
        made.with_context(making)?;
    }
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(state_dir).with_context(making)
}

fn open_folder(
    parent: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, path, flags, Mode::empty())
}

fn refuse_strangers(folder: &OwnedFd, path: &Path) -> Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry.with_context(|| format!("listing {}", path.display()))?;
        let name = entry.file_name().to_string_lossy();
        let is_ours = [".", "..", TOLERATED].contains(&&*name) || KNOWN.contains(&&*name);
        ensure!(
            is_ours,
            "{} holds `{name}`, which is not the agent's: nothing was changed. Name a folder of the \
             agent's own as `state_dir`, or move `{name}` away",
            path.display()
        );
    }
    Ok(())
}

/// Gives the parts of the state folder that root owns.
fn give_known(folder: &OwnedFd, account: &Account) -> Result<()> {
    let mut left = MAX_ENTRIES;
    for name in KNOWN {
        let name = std::ffi::CString::new(name)?;
        give(folder, &name, account, &mut left, MAX_DEPTH)
            .with_context(|| format!("handing over `{}`", name.to_string_lossy()))?;
    }
    Ok(())
}

/// Gives one entry. Of a folder that the worker owns, the content is its own business: what it could
/// exchange meanwhile is never handed over.
fn give(
    parent: &OwnedFd,
    name: &CStr,
    account: &Account,
    left: &mut usize,
    depth: usize,
) -> Result<()> {
    ensure!(
        *left > 0 && depth > 0,
        "more than {MAX_ENTRIES} files or {MAX_DEPTH} folders deep: that is not the agent's"
    );
    *left -= 1;
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if stat.st_uid != 0 {
        return Ok(());
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => give_folder(parent, name, account, left, depth),
        // A second name of the file may be anywhere on the host.
        FileType::RegularFile if stat.st_nlink == 1 => give_file(parent, name, &stat, account),
        _ => Ok(()),
    }
}

fn give_folder(
    parent: &OwnedFd,
    name: &CStr,
    account: &Account,
    left: &mut usize,
    depth: usize,
) -> Result<()> {
    let folder = open_folder(std::os::fd::AsFd::as_fd(parent), name)?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            give(&folder, entry.file_name(), account, left, depth - 1)?;
        }
    }
    Ok(rustix::fs::fchown(
        &folder,
        Some(account.uid),
        Some(account.gid),
    )?)
}

/// Through a descriptor, on which it is checked that this is the file that was looked at.
fn give_file(parent: &OwnedFd, name: &CStr, seen: &Stat, account: &Account) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let now = rustix::fs::fstat(&file)?;
    let is_same =
        (now.st_dev, now.st_ino, now.st_uid, now.st_nlink) == (seen.st_dev, seen.st_ino, 0, 1);
    ensure!(is_same, "it changed meanwhile");
    Ok(rustix::fs::fchown(
        &file,
        Some(account.uid),
        Some(account.gid),
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::PathBuf;

    use rustix::fs::{Gid, Uid};

    use super::*;

    const WORKER: u32 = 65_534;

    fn account() -> Account {
        Account {
            uid: Uid::from_raw(WORKER),
            gid: Gid::from_raw(WORKER),
            groups: Vec::new(),
        }
    }

    fn owner(path: impl AsRef<Path>) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    /// A folder of root's to work in; `None`, and it is said, if this is not root.
    fn workplace() -> Option<(tempfile::TempDir, PathBuf)> {
        if !rustix::process::geteuid().is_root() {
            xiezhi_test_skip::skip("not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Some((folder, state))
    }

    #[test]
    fn a_folder_that_holds_a_foreign_file_keeps_its_owners_and_the_file_is_named() {
        let Some((_folder, state)) = workplace() else {
            return;
        };
        fs::create_dir_all(state.join("identity")).unwrap();
        fs::write(state.join("identity/key.pem"), "k").unwrap();
        fs::write(state.join("shadow"), "secret").unwrap();
        let error = format!("{:#}", hand_over(&state, &account()).unwrap_err());
        assert!(error.contains("holds `shadow`"), "{error}");
        for path in ["", "shadow", "identity", "identity/key.pem"] {
            assert_eq!(owner(state.join(path)), 0, "{path}");
        }
    }

    #[test]
    fn what_root_left_in_known_folders_becomes_the_workers_and_no_link_is_followed() {
        let Some((folder, state)) = workplace() else {
            return;
        };
        let secret = folder.path().join("secret");
        fs::write(&secret, "s").unwrap();
        fs::create_dir_all(state.join("identity")).unwrap();
        fs::write(state.join("identity/key.pem"), "k").unwrap();
        symlink(&secret, state.join("identity/chain.pem")).unwrap();
        fs::hard_link(&secret, state.join("identity/root.pem")).unwrap();
        symlink(folder.path(), state.join("spool")).unwrap();
        hand_over(&state, &account()).unwrap();
        for path in ["", "identity", "identity/key.pem"] {
            assert_eq!(owner(state.join(path)), WORKER, "{path}");
        }
        assert_eq!(owner(&secret), 0);
        assert_eq!(owner(folder.path()), 0);
    }

    #[test]
    fn a_new_folder_is_the_workers_and_its_parents_let_the_worker_through() {
        let Some((folder, _)) = workplace() else {
            return;
        };
        let state = folder.path().join("a/b");
        hand_over(&state, &account()).unwrap();
        assert_eq!(owner(&state), WORKER);
        let parent = fs::metadata(folder.path().join("a")).unwrap();
        assert_eq!((parent.uid(), parent.mode() & 0o077), (0, 0o055));
    }

    #[test]
    fn a_folder_of_somebody_else_or_a_link_to_the_system_is_refused() {
        let Some((folder, state)) = workplace() else {
            return;
        };
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(12_345), None).unwrap();
        let error = hand_over(&state, &account()).unwrap_err().to_string();
        assert!(error.contains("belongs to user number 12345"), "{error}");
        let link = folder.path().join("link");
        symlink("/etc", &link).unwrap();
        let error = hand_over(&link, &account()).unwrap_err().to_string();
        assert!(error.contains("folder of the system"), "{error}");
        assert_eq!(owner("/etc"), 0);
    }

    #[test]
    fn relative_paths_and_folders_of_the_system_are_refused_by_name() {
        for bad in [
            "",
            "state",
            "./state",
            "/var/lib/../../etc",
            "/",
            "//",
            "/etc",
            "/etc/",
            "/etc/xiezhi",
            "/usr/lib/x",
            "/var/",
            "/var/.",
            "/var/lib",
            "/home",
            "/root",
            "/bin",
            "/lib",
            "/boot",
            "/dev",
            "/proc/1",
            "/sys",
            "/run",
            "/tmp",
        ] {
            assert!(refusal(Path::new(bad)).is_some(), "{bad}");
        }
        for good in [
            "/var/lib/xiezhi-agent",
            "/tmp/x/state",
            "/opt/xiezhi",
            "/home/xiezhi/s",
        ] {
            assert_eq!(refusal(Path::new(good)), None, "{good}");
        }
    }
}
