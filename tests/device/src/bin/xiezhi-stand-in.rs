//! `xiezhi-stand-in PROGRAM ARGUMENT …`: starts a program that asks devices as the agent does, and stands
//! in for the agent's worker, so that what it hands over is taken at once and costs a process of its own.
//!
//! Prints `pid N` once, and after each report of the program three lines: the `report` as it came, what
//! was `seen` since the start, and the `worst` of the devices that answer: by how much one of them was
//! asked later than its interval. Ends when the program does, or standard input closes.

#![expect(clippy::print_stdout, reason = "a command answers on the terminal")]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use xiezhi_protocol::poll::{DeviceState, Poll, encode_poll, read_poll};

/// Longest packet.
const LONGEST: usize = 1 << 20;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or("usage: xiezhi-stand-in PROGRAM …")?;
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::from(theirs))
        .spawn()?;
    println!("pid {}", child.id());
    std::thread::spawn(move || {
        // Nothing is ever written here; it only ends.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        child.kill().ok();
        child.wait().ok();
        std::process::exit(0);
    });
    take(&ours)
}

/// What came so far.
#[derive(Default)]
struct Seen {
    polls: u64,
    answered: u64,
    samples: u64,
    events: BTreeMap<String, u64>,
    /// When each device was asked last, Unix milliseconds.
    asked: BTreeMap<String, i64>,
    worst_ms: i64,
}

fn take(socket: &OwnedFd) -> Outcome<()> {
    let mut packet = vec![0; LONGEST];
    let mut seen = Seen::default();
    loop {
        let (length, _) = recv(socket, packet.as_mut_slice(), RecvFlags::empty())?;
        match packet.get(..length).and_then(<[u8]>::split_first) {
            None => return Ok(()),
            Some((1, rest)) => seen.poll(rest)?,
            Some((2, text)) => seen.event(&String::from_utf8_lossy(text)),
            Some((3, text)) => {
                println!("report {}", String::from_utf8_lossy(text));
                let (polls, answered, samples) = (seen.polls, seen.answered, seen.samples);
                let (devices, events) = (seen.asked.len(), &seen.events);
                println!(
                    "seen polls {polls} answered {answered} samples {samples} devices {devices} events {events:?}"
                );
                println!("worst {}", seen.worst_ms);
            }
            Some(_) => return Err("a packet of no kind".into()),
        }
    }
}

impl Seen {
    fn poll(&mut self, rest: &[u8]) -> Outcome<()> {
        let (time, content) = rest.split_first_chunk().ok_or("a poll without a time")?;
        let time_ms = i64::from_le_bytes(*time);
        let mut batch = Vec::new();
        encode_poll(1, time_ms, content, &mut batch)?;
        let (_, poll) = read_poll(&batch)?;
        let poll: Poll = poll;
        self.samples += poll.samples() as u64;
        let Some(about) = &poll.about else {
            return Ok(());
        };
        self.polls += 1;
        let answered = matches!(about.state, DeviceState::Answered | DeviceState::Partial);
        let before = self.asked.insert(poll.device, time_ms);
        if !answered {
            return Ok(());
        }
        self.answered += 1;
        if let Some(before) = before {
            let late = time_ms - before - i64::from(about.every_s) * 1000;
            self.worst_ms = self.worst_ms.max(late);
        }
        Ok(())
    }

    fn event(&mut self, text: &str) {
        // The kind is a word between quotes; a whole reader of JSON is not needed for it.
        let kind = text
            .split_once("\"kind\":\"")
            .and_then(|(_, rest)| rest.split('"').next());
        *self
            .events
            .entry(kind.unwrap_or_default().to_owned())
            .or_default() += 1;
    }
}
