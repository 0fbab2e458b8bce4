//! Network namespaces: machines that share nothing of the network but the line between them.
//!
//! A namespace lives as long as the value that stands for it and the processes inside; nothing is
//! given a name in the file system, so nothing stays behind after a panic or a kill. Only root may
//! make one.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace with a loopback interface that is up.
#[derive(Debug)]
pub struct Namespace {
    /// Keeps the namespace while no process is inside.
    handle: File,
}

/// This thread is inside a namespace until the value is dropped; so are the processes it starts.
#[derive(Debug)]
pub struct Inside {
    before: File,
    /// It speaks for the thread that made it and must not leave it.
    thread: PhantomData<*const ()>,
}

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Errors
    /// Says why this machine or user cannot have one; a test that needs it prints that and ends.
    pub fn new() -> Result<Self> {
        let namespace = Self {
            handle: made_by_unshare().context("network namespaces cannot be made (run as root)")?,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Moves this thread into the namespace.
    ///
    /// # Errors
    /// The system refused.
    pub fn enter(&self) -> Result<Inside> {
        let before = File::open("/proc/thread-self/ns/net").context("opening this namespace")?;
        move_to(self.handle.as_fd()).context("entering a network namespace")?;
        Ok(Inside {
            before,
            thread: PhantomData,
        })
    }

    /// Does a short piece of work inside, on a thread of its own: this thread stays where it is.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let run = || {
            move_to(self.handle.as_fd()).context("entering a network namespace")?;
            Ok(work())
        };
        thread::scope(|scope| {
            let joined = scope.spawn(run).join();
            joined.map_err(|_| anyhow!("work in a namespace panicked"))?
        })
    }

    /// Runs `ip` with these arguments inside.
    ///
    /// # Errors
    /// It failed; what it said is in the error.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let words = arguments.split_whitespace();
        let output = self
            .inside(|| Command::new("ip").args(words.collect::<Vec<_>>()).output())?
            .context("starting `ip` (Debian package iproute2)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {arguments}: {}", said.trim());
        Ok(())
    }

    /// Another handle of the same namespace.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let handle = self.handle.try_clone()?;
        Ok(Self { handle })
    }

    /// A path that names it for `ip link set … netns`.
    pub(crate) fn path(&self) -> PathBuf {
        let own = std::process::id();
        PathBuf::from(format!("/proc/{own}/fd/{}", self.handle.as_raw_fd()))
    }
}

impl Drop for Inside {
    #[expect(
        clippy::print_stderr,
        reason = "a drop can return nothing, and a panic in it would hide the first one"
    )]
    fn drop(&mut self) {
        // A thread in the wrong namespace would let later tests fail for no reason of theirs.
        if let Err(error) = move_to(self.before.as_fd()) {
            eprintln!("this thread stays in a network namespace: {error}");
        }
    }
}

fn move_to(namespace: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// `unshare` makes it, says so, and may end once the handle is open.
fn made_by_unshare() -> Result<File> {
    let mut maker = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo made && read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting `unshare`")?;
    let mut said = String::new();
    if let Some(output) = maker.stdout.take() {
        BufReader::new(output).read_line(&mut said)?;
    }
    let handle = File::open(format!("/proc/{}/ns/net", maker.id()));
    // Its input ends here, and with it the process.
    let ended = maker.wait_with_output()?;
    let trouble = String::from_utf8_lossy(&ended.stderr);
    ensure!(said.trim() == "made", "unshare: {}", trouble.trim());
    handle.context("opening the new namespace")
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::*;
    use crate::process::Running;

    /// The namespace behind a path of `/proc`.
    fn identity(path: &Path) -> Option<PathBuf> {
        std::fs::read_link(path).ok()
    }

    #[test]
    fn nothing_stays_of_a_namespace_after_a_panic() {
        let namespace = match Namespace::new() {
            Ok(namespace) => namespace,
            Err(error) => {
                crate::skip(format!("{error:#}"));
                return;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let made = identity(&namespace.path());
        let before = identity(Path::new("/proc/thread-self/ns/net"));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _inside = namespace.enter().unwrap();
            let mut sleep = Command::new("sleep");
            let log = folder.path().join("log");
            let _running = Running::start("sleep", sleep.arg("600"), &log).unwrap();
            assert_eq!(identity(Path::new("/proc/thread-self/ns/net")), made);
            panic!("a test fails");
        }));
        assert!(failed.is_err() && made.is_some() && made != before);
        drop(namespace);
        assert_eq!(identity(Path::new("/proc/thread-self/ns/net")), before);
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut inside = processes.map(|process| process.path().join("ns/net"));
        assert!(
            !inside.any(|path| identity(&path) == made),
            "a process is left"
        );
        let handles = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut open = handles.map(|handle| handle.path());
        assert!(
            !open.any(|path| identity(&path) == made),
            "a handle is left"
        );
    }
}
