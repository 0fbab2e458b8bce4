//! Keeps `xiezhi-devices` running while there are devices to ask or links to measure.
//!
//! It is a program and, under the warden, a user of its own: what reads the answers of any box on the
//! network holds neither the host's identity nor its spool. It hands what it learnt to the worker as
//! packets through a pair of sockets that outlives both, so that a packet is never torn and what was
//! handed over is read by the worker that comes next. Nothing is started on a host whose folders of
//! devices and links are empty.
//!
//! Traps come to a port below 1024, which it may not open. The warden opens it, once there are devices,
//! and hands the socket over as standard output; it never reads from it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;

use super::accounts::{self, Account};
use super::{ASKER_NAME, HELPER_NAME, confine, handover, say};

/// How devices are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskerOptions {
    /// The program.
    pub(crate) program: PathBuf,
    /// Files that name the devices and how to log in to them.
    pub(crate) folder: PathBuf,
    /// Files that name the links that are measured, and who may measure.
    pub(crate) links: PathBuf,
    /// What is remembered of each device.
    pub(crate) state_dir: PathBuf,
    /// Profiles of the court's own.
    pub(crate) profiles: PathBuf,
    /// User that the program runs as.
    pub(crate) user: String,
    /// Where traps come in; `None` if they are not received.
    pub(crate) traps: Option<SocketAddr>,
}

/// How often the folder is looked at while nothing runs.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Wait before a program that failed is started again, and the longest.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_LONGEST: Duration = Duration::from_secs(60);
/// A program that lived this long is healthy: the wait starts over.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The program and what it needs to be started again.
#[derive(Debug)]
pub(crate) struct Asker {
    options: AskerOptions,
    /// Whether it gets a user of its own; otherwise it runs as whoever started it.
    confined: bool,
    /// The program's end of the pair, its standard input.
    socket: OwnedFd,
    /// Where traps come in, under a warden, once it is open.
    traps: Option<UdpSocket>,
    child: Option<Child>,
    started: Instant,
    look_at: Instant,
    wait: Duration,
    /// What was said last, so that it is said once.
    said: String,
}

impl Asker {
    /// Makes the pair of sockets; the worker's end comes back. As root also the state folder, so call it
    /// before rights are given up.
    ///
    /// # Errors
    /// If the kernel gives no sockets.
    pub(crate) fn new(options: AskerOptions, confined: bool) -> Result<(Self, OwnedFd)> {
        let (theirs, ours) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("making the socket for what devices tell")?;
        let mut asker = Self {
            options,
            confined,
            socket: theirs,
            traps: None,
            child: None,
            started: Instant::now(),
            look_at: Instant::now(),
            wait: RESTART_FIRST,
            said: String::new(),
        };
        if confined && asker.has_devices() {
            let state_dir = &asker.options.state_dir;
            let made = accounts::find(&asker.options.user)
                .and_then(|account| handover::hand_over(state_dir, &account));
            asker.tell_once(made.err());
        }
        Ok((asker, ours))
    }

    /// When [`Asker::tend`] has something to do, unless the program ends before.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.look_at)
    }

    /// Starts the program if there are devices, and notices its end. Costs nothing while it runs.
    pub(crate) fn tend(&mut self) {
        if let Some(status) = self.reap() {
            self.note_end(status);
        }
        if self.child.is_some() || Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        if !self.has_devices() {
            return;
        }
        let started = self.start();
        self.child = started.map_err(|error| self.tell_once(Some(error))).ok();
        self.started = Instant::now();
    }

    /// Asks the program to end; it is gone when this value is.
    pub(crate) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let number = self.child.as_ref().map(Child::id);
        let number = number.and_then(|number| i32::try_from(number).ok());
        if let Some(pid) = number.and_then(Pid::from_raw) {
            // It may have ended this moment; then there is nobody to tell.
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// A program that ends by itself found nothing to do; any other end is told and waited after.
    fn note_end(&mut self, status: ExitStatus) {
        if self.started.elapsed() >= HEALTHY_AFTER {
            self.wait = RESTART_FIRST;
        }
        let wait = if status.success() {
            LOOK_EVERY
        } else {
            let wait = self.wait;
            say(&format!(
                "xiezhi-agent: xiezhi-devices ended ({status}); starting it again in {wait:?}"
            ));
            self.wait = (wait * 2).min(RESTART_LONGEST);
            wait
        };
        self.look_at = Instant::now() + wait;
    }

    /// Whether the folders name any device or link. What they may not be read for is not there.
    fn has_devices(&self) -> bool {
        let folders = [&self.options.folder, &self.options.links];
        folders.into_iter().any(|folder| {
            let entries = fs::read_dir(folder);
            entries
                .is_ok_and(|entries| entries.flatten().any(|entry| is_device_file(&entry.path())))
        })
    }

    /// The socket for traps, opened if it is not open yet. Without it devices are asked all the same.
    fn open_traps(&mut self) {
        let Some(address) = self.options.traps.filter(|_| self.traps.is_none()) else {
            return;
        };
        let opened = confine::with(CapabilitySet::NET_BIND_SERVICE, || bind(address));
        match opened {
            Ok(socket) => self.traps = Some(socket),
            Err(error) => self.tell_once(Some(error.context(format!(
                "traps of devices are not received: port {} cannot be opened; another program such as \
                 snmptrapd may have it; `devices: {{traps: off}}` in the configuration ends this message",
                address.port()
            )))),
        }
    }

    fn start(&mut self) -> Result<Child> {
        let socket = self.socket.try_clone().context("sharing the socket")?;
        let mut words: Vec<std::ffi::OsString> = vec!["run".into()];
        for (name, path) in [
            ("--config-dir", &self.options.folder),
            ("--state", &self.options.state_dir),
            ("--links", &self.options.links),
            ("--profiles", &self.options.profiles),
        ] {
            words.extend([name.into(), path.clone().into_os_string()]);
        }
        if !self.confined {
            if let Some(address) = self.options.traps {
                words.extend(["--traps".into(), address.to_string().into()]);
            }
            return Command::new(&self.options.program)
                .arg0(ASKER_NAME)
                .args(words)
                .stdin(Stdio::from(socket))
                .spawn()
                .with_context(|| self.cannot_start());
        }
        let account = accounts::find(&self.options.user)
            .context("devices are not asked: xiezhi-devices has no user to run as")?;
        // Opened here, because the user may not be able to get to the program's folder.
        let program = File::open(&self.options.program).with_context(|| self.cannot_start())?;
        rustix::io::fcntl_setfd(&program, FdFlags::empty()).context("handing the program over")?;
        self.open_traps();
        let mut command = self.confined_command(&account, &program);
        if let Some(traps) = &self.traps {
            let traps = traps.try_clone().context("sharing the socket for traps")?;
            words.extend(["--traps".into(), "stdout".into()]);
            command.stdout(Stdio::from(OwnedFd::from(traps)));
        }
        command
            .args(words)
            .stdin(Stdio::from(socket))
            .spawn()
            .with_context(|| self.cannot_start())
    }

    fn confined_command(&self, account: &Account, program: &File) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(HELPER_NAME)
            .arg("ask")
            .args(confine::account_words(account, false))
            .arg(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command
    }

    fn cannot_start(&self) -> String {
        format!(
            "devices are not asked: {} cannot be started; it comes with the agent's package",
            self.options.program.display()
        )
    }

    fn tell_once(&mut self, error: Option<anyhow::Error>) {
        let Some(error) = error else { return };
        let text = format!("{error:#}");
        if text != self.said {
            say(&format!("xiezhi-agent: {text}"));
            self.said = text;
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && child.kill().is_ok()
        {
            drop(child.wait());
        }
    }
}

/// A socket at `address`; on a host without IPv6 at all addresses of IPv4 instead of all.
fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(address).or_else(|error| {
        let is_any = address.is_ipv6() && address.ip().is_unspecified();
        match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) if is_any => {
                UdpSocket::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
            }
            _ => Err(error),
        }
    })
}

/// Files that editors and packages leave beside others are none.
fn is_device_file(path: &Path) -> bool {
    let named = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| !name.starts_with('.'));
    let extension = path.extension().and_then(|word| word.to_str());
    named && matches!(extension, Some("yaml" | "yml"))
}
