//! Where a host's files are: the real ones, or a folder that was recorded from some host.

use std::path::{Path, PathBuf};

/// The three folders that every collector reads below.
///
/// ```
/// use xiezhi_collect::HostRoot;
/// let recorded = HostRoot::at("tests/hosts/kernel-4.19");
/// assert!(recorded.proc.ends_with("proc"));
/// assert!(!recorded.is_live());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoot {
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// Usually `/sys`.
    pub sys: PathBuf,
    /// Usually `/`; `/etc`, `/run` and `/var` are read below it.
    pub root: PathBuf,
    /// Answers to system calls come from the running kernel, not from recorded files.
    live: bool,
}

impl HostRoot {
    /// This machine.
    #[must_use]
    pub fn real() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            root: "/".into(),
            live: true,
        }
    }

    /// A recorded host: `dir/proc`, `dir/sys`, `dir/etc` and so on. What a live host answers by
    /// system call (uname, statfs, adjtimex, the clock) is read from text files in `dir/calls`.
    #[must_use]
    pub fn at(dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        Self {
            proc: dir.join("proc"),
            sys: dir.join("sys"),
            root: dir.into(),
            live: false,
        }
    }

    /// Whether system calls may be asked, because these are the files of the running kernel.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// A path below the root folder, given as it is on the host: `/etc/os-release`.
    #[must_use]
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }
}
