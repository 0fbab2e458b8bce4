//! The warden: spawns the worker, restarts it, starts helpers for it.
//!
//! One thread, one loop over two descriptors: signals and the worker's socket. The only input is
//! a packet of fixed size from the worker, which names a request of a closed enum; what follows is
//! a process of this same executable. A worker that dies is started again, slower each time; one
//! that ends by itself ends the warden too.

use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;
use xiezhi_collect::security::privileged::Ask;

use super::accounts::{self, Account};
use super::asker::{Asker, AskerOptions};
use super::wire::{self, Kind};
use super::{HELPER_NAME, WARDEN_NAME, confine, handover, helper, say};

/// How the warden runs.
#[derive(Debug, Clone)]
pub(crate) struct WardenOptions {
    /// The worker's user, from `/etc/passwd`.
    pub(crate) user: String,
    /// The folder that is the worker's to write; handed over if root made it.
    pub(crate) state_dir: PathBuf,
    /// Arguments of the worker: a hidden subcommand of this executable and its options.
    pub(crate) worker: Vec<String>,
    /// How devices are asked.
    pub(crate) asker: AskerOptions,
}

/// Exit code of a worker that could not give up its rights; the warden does not try again.
pub(super) const CONFINE_FAILED: u8 = 77;
/// Helpers at once.
const MAX_HELPERS: usize = 3;
/// Wait before the first restart of a worker, and the longest.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_LONGEST: Duration = Duration::from_secs(60);
/// A worker that lived this long is healthy: the wait starts over.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// How long a worker may take to stop; systemd's own patience is 90 s.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What may be made effective later: by the worker's and the helpers' first step, and for the moment in
/// which the port for traps is opened.
pub(super) const PERMITTED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_READ_SEARCH);
/// What the warden itself uses: it ends processes of another user.
pub(super) const EFFECTIVE: CapabilitySet = CapabilitySet::KILL;

/// How long a helper may take.
pub(super) const fn patience(ask: &Ask) -> Duration {
    match ask {
        Ask::LogTail(..) | Ask::Dmi => Duration::from_secs(20),
        Ask::AuthorizedKeys => Duration::from_secs(120),
        Ask::SetuidScan => Duration::from_secs(30 * 60),
    }
}

/// Runs the warden until a signal or the worker's own end; call it as root, before any thread.
///
/// # Errors
/// If the worker's user does not exist, or rights cannot be given up: nothing runs then.
pub(crate) fn supervise(options: &WardenOptions) -> Result<ExitCode> {
    let account = accounts::find(&options.user)?;
    handover::hand_over(&options.state_dir, &account)?;
    let (asker, from_devices) = Asker::new(options.asker.clone(), true)?;
    confine_warden()?;
    let mut mask = SigSet::empty();
    for signal in [
        NixSignal::SIGCHLD,
        NixSignal::SIGTERM,
        NixSignal::SIGINT,
        NixSignal::SIGHUP,
    ] {
        mask.add(signal);
    }
    mask.thread_block().context("blocking signals")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("receiving signals")?;
    let warden = Warden {
        options,
        account,
        signals,
        worker: None,
        helpers: Vec::new(),
        asker,
        from_devices,
        stop_by: None,
    };
    warden.run()
}

fn confine_warden() -> Result<()> {
    confine::set_name(WARDEN_NAME);
    let held = rustix::thread::capabilities(None)
        .context("reading capabilities")?
        .permitted;
    let spared = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::NET_BIND_SERVICE;
    let needed = PERMITTED.difference(spared);
    ensure!(
        held.contains(needed),
        "the warden needs CAP_SETUID, CAP_SETGID, CAP_SETPCAP and CAP_KILL; check CapabilityBoundingSet of the unit"
    );
    if !held.contains(CapabilitySet::DAC_READ_SEARCH) {
        say(
            "xiezhi-agent: without CAP_DAC_READ_SEARCH the audit log, authorised keys and setuid files are not watched",
        );
    }
    let permitted = PERMITTED.intersection(held);
    confine::bound(permitted)?;
    confine::hold(EFFECTIVE, permitted)
}

struct Warden<'a> {
    options: &'a WardenOptions,
    account: Account,
    signals: SignalFd,
    worker: Option<Worker>,
    helpers: Vec<Helper>,
    asker: Asker,
    /// The worker's end of what the asker hands over, its standard output; kept for the worker that
    /// comes next.
    from_devices: OwnedFd,
    stop_by: Option<Instant>,
}

struct Worker {
    child: Child,
    socket: OwnedFd,
    started: Instant,
}

struct Helper {
    child: Child,
    id: u64,
    deadline: Instant,
}

impl Warden<'_> {
    fn run(mut self) -> Result<ExitCode> {
        let mut wait = RESTART_FIRST;
        let mut start_at = Instant::now();
        loop {
            if self.worker.is_none() && self.stop_by.is_some() {
                return Ok(ExitCode::SUCCESS);
            }
            if self.worker.is_none() && Instant::now() >= start_at {
                self.worker = Some(self.spawn_worker()?);
            }
            if self.stop_by.is_none() {
                self.asker.tend();
            }
            self.wait(start_at);
            self.handle_signals();
            self.handle_requests();
            self.end_late_processes();
            self.reap_helpers();
            let Some((status, lived)) = self.reap_worker() else {
                continue;
            };
            if let Some(code) = final_code(status) {
                return Ok(code);
            }
            if lived >= HEALTHY_AFTER {
                wait = RESTART_FIRST;
            }
            start_at = Instant::now() + wait;
            if self.stop_by.is_none() {
                say(&format!(
                    "xiezhi-agent: the worker ended ({status}); starting it again in {wait:?}"
                ));
            }
            wait = (wait * 2).min(RESTART_LONGEST);
        }
    }

    /// Sleeps until a signal, a request, a deadline or the restart.
    fn wait(&self, start_at: Instant) {
        let deadlines = self.helpers.iter().map(|helper| helper.deadline);
        let restart = self.worker.is_none().then_some(start_at);
        let look = self.asker.next_look().filter(|_| self.stop_by.is_none());
        let next = deadlines
            .chain(restart)
            .chain(look)
            .chain(self.stop_by)
            .min();
        let timeout = next
            .map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
            .and_then(|left| Timespec::try_from(left).ok());
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        watched.extend(
            self.worker
                .as_ref()
                .map(|worker| PollFd::new(&worker.socket, PollFlags::IN)),
        );
        // Interrupted or not, the loop looks at everything.
        rustix::event::poll(&mut watched, timeout.as_ref()).ok();
    }

    fn spawn_worker(&self) -> Result<Worker> {
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("making the worker's socket")?;
        let from_devices = self.from_devices.try_clone().context("sharing a socket")?;
        let child = Command::new("/proc/self/exe")
            .arg0(HELPER_NAME)
            .arg("confine")
            .args(confine::account_words(&self.account, true))
            .args(&self.options.worker)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(from_devices))
            .spawn()
            .context("starting the worker")?;
        Ok(Worker {
            child,
            socket,
            started: Instant::now(),
        })
    }

    fn handle_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == NixSignal::SIGHUP as i32 {
                self.signal_worker(Signal::HUP);
            } else if number != NixSignal::SIGCHLD as i32 {
                self.stop_by.get_or_insert(Instant::now() + STOP_PATIENCE);
                self.asker.stop();
                self.signal_worker(Signal::TERM);
            }
        }
    }

    fn signal_worker(&self, signal: Signal) {
        if let Some(worker) = &self.worker
            && let Some(pid) = i32::try_from(worker.child.id())
                .ok()
                .and_then(Pid::from_raw)
        {
            // It may have ended this moment; then there is nobody to tell.
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    fn handle_requests(&mut self) {
        // Bounded, so that a worker that floods does not keep signals waiting.
        for _ in 0..MAX_HELPERS * 2 {
            let Some(worker) = &self.worker else { return };
            let mut packet = [0; wire::REQUEST + 1];
            let received = rustix::net::recv(&worker.socket, &mut packet, RecvFlags::DONTWAIT);
            let Ok((_, length @ 1..)) = received else {
                return;
            };
            let Some((id, ask)) = packet.get(..length).and_then(wire::decode_request) else {
                continue;
            };
            if self.helpers.len() >= MAX_HELPERS {
                self.refuse(id, "busy");
            } else if let Err(error) = self.spawn_helper(id, &ask) {
                self.refuse(id, &format!("cannot start a helper: {error:#}"));
            }
        }
    }

    fn spawn_helper(&mut self, id: u64, ask: &Ask) -> Result<()> {
        let worker = self.worker.as_ref().context("no worker")?;
        let socket = worker.socket.try_clone().context("sharing the socket")?;
        let child = Command::new("/proc/self/exe")
            .arg0(HELPER_NAME)
            .arg("helper")
            .args(confine::account_words(&self.account, false))
            .args(helper::words(id, ask))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::from(socket))
            .spawn()
            .context("starting it")?;
        self.helpers.push(Helper {
            child,
            id,
            deadline: Instant::now() + patience(ask),
        });
        Ok(())
    }

    /// Tells the worker that there will be no answer. If its socket is full it does not read; then
    /// its own patience ends the request.
    fn refuse(&self, id: u64, reason: &str) {
        let Some(worker) = &self.worker else { return };
        let mut packet = wire::encode_head(id, Kind::Failed).to_vec();
        packet.extend_from_slice(reason.as_bytes());
        rustix::net::send(
            &worker.socket,
            &packet,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
        .ok();
    }

    fn end_late_processes(&mut self) {
        let now = Instant::now();
        for helper in self
            .helpers
            .iter_mut()
            .filter(|helper| helper.deadline <= now)
        {
            // Reaped when its end is signalled.
            drop(helper.child.kill());
        }
        if self.stop_by.is_some_and(|by| by <= now)
            && let Some(worker) = &mut self.worker
        {
            drop(worker.child.kill());
        }
    }

    fn reap_helpers(&mut self) {
        let mut failed = Vec::new();
        self.helpers
            .retain_mut(|helper| match helper.child.try_wait() {
                Ok(None) => true,
                Ok(Some(status)) => {
                    if !status.success() {
                        failed.push((helper.id, status));
                    }
                    false
                }
                Err(_) => false,
            });
        for (id, status) in failed {
            self.refuse(id, &format!("the helper ended with {status}"));
        }
    }

    fn reap_worker(&mut self) -> Option<(ExitStatus, Duration)> {
        let status = self.worker.as_mut()?.child.try_wait().ok()??;
        let worker = self.worker.take()?;
        for helper in &mut self.helpers {
            drop(helper.child.kill());
        }
        Some((status, worker.started.elapsed()))
    }
}

impl Drop for Warden<'_> {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            if helper.child.kill().is_ok() {
                drop(helper.child.wait());
            }
        }
    }
}

/// Whether the worker's end is final: it stopped by itself, or it cannot run at all.
fn final_code(status: ExitStatus) -> Option<ExitCode> {
    if status.signal().is_some() {
        return None;
    }
    match u8::try_from(status.code()?).ok()? {
        0 => Some(ExitCode::SUCCESS),
        CONFINE_FAILED => Some(ExitCode::from(CONFINE_FAILED)),
        _ => None,
    }
}
