//! A started program that ends with the value that stands for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Path of one of the project's programs, built next to the running test.
///
/// # Errors
/// It was not built: `cargo build --workspace --bins`.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this test's program")?;
    let found = own
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found
        .with_context(|| format!("{name} is not built: run `cargo build --workspace --bins` first"))
}

/// A port of loopback that was free a moment ago, for a program that cannot tell which one it got.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A running program. Dropping it kills it.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with its log if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}):\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// Its child processes: of an agent that runs as root, the worker and the helpers.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let id = self.id();
        let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        list.unwrap_or_default()
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect()
    }

    /// Ends it and its children at once, as a crash would (SIGKILL), and waits until all are gone.
    pub fn kill(&mut self) {
        // Ended already: its number may belong to another process by now.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // A warden that merely died would have its worker say goodbye; one that is stopped cannot
        // start another.
        drop(self.signal("STOP"));
        let children = self.children();
        for child in &children {
            drop(
                Command::new("kill")
                    .args(["-s", "KILL", &child.to_string()])
                    .status(),
            );
        }
        drop(self.child.kill());
        drop(self.child.wait());
        let deadline = Instant::now() + Duration::from_secs(15);
        while children.iter().any(|&child| is_alive(child)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to stop (SIGTERM) and waits; tells whether it stopped by itself with success.
    ///
    /// # Errors
    /// It did not stop within 15 s.
    pub fn stop(&mut self) -> Result<bool> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while !takes_stop(self.id()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.signal("TERM")?;
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        bail!("{} did not stop within 15 s:\n{}", self.name, self.log())
    }

    /// Sends a signal by name: `STOP`, `CONT`, `TERM`.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill")
            .args(["-s", name])
            .arg(self.id().to_string())
            .status()?;
        if !status.success() {
            bail!("{} is gone", self.name);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process catches SIGTERM, or blocks it to read it: one that was started a moment ago does
/// not yet, and would die of the signal instead of stopping in order.
fn takes_stop(id: u32) -> bool {
    const TERM: u64 = 1 << 14;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| {
        let mask = line
            .strip_prefix("SigBlk:")
            .or_else(|| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.fold(0, |all, mask| all | mask) & TERM != 0
}

/// Whether a process runs; one that only waits to be reaped does not, and holds no locks.
fn is_alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Runs a program to its end and yields its standard output.
///
/// # Errors
/// It failed; what it said is in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{:?} failed ({}):\n{said}",
            command.get_program(),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
