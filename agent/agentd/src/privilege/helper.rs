//! A helper: one request, one answer, exit.
//!
//! `helper UID GID - ID WORD…`, with the worker's socket as standard output. It gives up all but
//! the one capability that its request needs, then reads, answers and ends. It reads nothing from
//! anybody: the request is in its arguments, which the warden wrote from a closed enum.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::net::SendFlags;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use xiezhi_collect::security::privileged::{ASK_WORDS, Ask, MAX_ANSWER_BYTES, serve};

use super::wire::{self, Kind};
use super::{HELPER_NAME, confine, say};

/// A long scan rests this many times as long as it worked.
const REST: u32 = 9;

/// Serves the hidden subcommand `helper`.
pub(super) fn run(arguments: &[OsString]) -> ExitCode {
    match try_run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{HELPER_NAME}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn try_run(arguments: &[OsString]) -> Result<()> {
    let (account, request) = arguments.split_at_checked(3).context("too few arguments")?;
    let account = confine::account_of(account)?;
    let (id, ask) = parse(request).context("malformed request")?;
    confine::become_user(&account, capabilities(&ask))?;
    // A helper never outlives its warden.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tying to the warden")?;
    confine::set_name(HELPER_NAME);
    let stdout = io::stdout();
    let mut out = Packets {
        socket: stdout.as_fd(),
        id,
        buffer: Vec::new(),
        sent: 0,
    };
    match answer(&ask, &mut out) {
        Ok(()) => out.finish(Kind::Done, b""),
        Err(error) => out.finish(Kind::Failed, error.to_string().as_bytes()),
    }
    .context("answering")
}

/// The one capability of each helper; [`super::table`] shows the same.
pub(super) const fn capabilities(ask: &Ask) -> CapabilitySet {
    match ask {
        // All of them read what belongs to others; none writes anything.
        Ask::LogTail(..) | Ask::AuthorizedKeys | Ask::SetuidScan | Ask::Dmi => {
            CapabilitySet::DAC_READ_SEARCH
        }
    }
}

/// Arguments that [`parse`] reads.
pub(super) fn words(id: u64, ask: &Ask) -> Vec<String> {
    std::iter::once(id)
        .chain(ask.encode())
        .map(|word| word.to_string())
        .collect()
}

fn parse(request: &[OsString]) -> Option<(u64, Ask)> {
    let mut words = request
        .iter()
        .map(|word| word.to_str()?.parse::<u64>().ok());
    let id = words.next()??;
    let mut ask = [0; ASK_WORDS];
    for word in &mut ask {
        *word = words.next()??;
    }
    Some((id, Ask::decode(ask)?))
}

fn answer(ask: &Ask, out: &mut Packets<'_>) -> io::Result<()> {
    let mut pause = || {};
    if !matches!(ask, Ask::SetuidScan) {
        return serve(*ask, Path::new("/"), &mut pause, out);
    }
    // Behind everything that the host is for.
    rustix::process::setpriority_process(None, 19).ok();
    let mut worked = Instant::now();
    let mut rest = || {
        std::thread::sleep((worked.elapsed() * REST).min(Duration::from_secs(1)));
        worked = Instant::now();
    };
    serve(*ask, Path::new("/"), &mut rest, out)
}

/// Writes bytes as data packets.
struct Packets<'a> {
    socket: BorrowedFd<'a>,
    id: u64,
    buffer: Vec<u8>,
    sent: usize,
}

impl Packets<'_> {
    fn finish(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.send(kind, payload)
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut packet = wire::encode_head(self.id, kind).to_vec();
        packet.extend_from_slice(payload.get(..wire::MAX_PAYLOAD).unwrap_or(payload));
        rustix::net::send(self.socket, &packet, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Write for Packets<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sent + bytes.len() > MAX_ANSWER_BYTES {
            return Err(io::Error::other("the answer is too long"));
        }
        self.sent += bytes.len();
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= wire::MAX_PAYLOAD {
            let rest = self.buffer.split_off(wire::MAX_PAYLOAD);
            let full = std::mem::replace(&mut self.buffer, rest);
            self.send(Kind::Data, &full)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::take(&mut self.buffer);
        self.send(Kind::Data, &full)
    }
}
