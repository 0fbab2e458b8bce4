//! The worker's side of the warden's socket.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags, SocketType};
use xiezhi_collect::security::privileged::{
    Answer, Ask, MAX_ANSWER_BYTES, Privileged, PrivilegedError,
};

use super::wire::{self, Kind};

/// Asks the warden for privileged answers; only [`PrivilegedClient::request`] waits.
#[derive(Debug)]
pub(crate) struct PrivilegedClient {
    socket: OwnedFd,
    next: u64,
    open: BTreeMap<u64, Open>,
    packet: Vec<u8>,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    deadline: Instant,
}

/// Requests under way at most.
const MAX_OPEN: usize = 8;
/// Packets that one [`Privileged::take`] reads at most.
const MAX_PACKETS: usize = 64;

impl PrivilegedClient {
    /// The client for the socket that the warden left as standard input; `None` if this process
    /// was not started by a warden. Standard input is `/dev/null` afterwards.
    #[must_use]
    pub(crate) fn from_stdin() -> Option<Self> {
        if !super::is_supervised() {
            return None;
        }
        let stdin = io::stdin();
        let is_ours = rustix::net::sockopt::socket_type(&stdin) == Ok(SocketType::SEQPACKET);
        if !is_ours {
            return None;
        }
        let socket = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).ok()?;
        let null = std::fs::File::open("/dev/null").ok()?;
        rustix::stdio::dup2_stdin(null).ok()?;
        Some(Self::new(socket))
    }

    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            next: 0,
            open: BTreeMap::new(),
            packet: Vec::new(),
        }
    }

    /// Asks and waits for the whole answer; other answers that arrive meanwhile are kept.
    ///
    /// # Errors
    /// As [`Privileged::ask`]; `TimedOut` if nothing came in time, or what the helper said.
    #[allow(
        dead_code,
        reason = "the watch never waits; the probe of the tests does"
    )]
    pub(crate) fn request(
        &mut self,
        ask: Ask,
        timeout: Duration,
    ) -> Result<Vec<u8>, PrivilegedError> {
        let id = self.ask(ask)?;
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            self.wait(deadline);
            if let Some(answer) = self.take().into_iter().find(|answer| answer.id == id) {
                return answer
                    .result
                    .map_err(|reason| PrivilegedError::Connection(io::Error::other(reason)));
            }
        }
        Err(PrivilegedError::Connection(io::ErrorKind::TimedOut.into()))
    }

    #[allow(dead_code, reason = "as above")]
    fn wait(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else {
            return;
        };
        // Whatever the result, the caller looks itself.
        rustix::event::poll(
            &mut [PollFd::new(&self.socket, PollFlags::IN)],
            Some(&timeout),
        )
        .ok();
    }

    /// One packet, if one is there.
    fn receive(&mut self) -> Option<Answer> {
        self.packet.resize(wire::HEAD + wire::MAX_PAYLOAD, 0);
        let (_, length) =
            rustix::net::recv(&self.socket, &mut self.packet[..], RecvFlags::DONTWAIT).ok()?;
        let (id, kind, payload) = wire::decode_answer(self.packet.get(..length)?)?;
        let open = self.open.get_mut(&id)?;
        let result = match kind {
            Kind::Data if open.bytes.len() + payload.len() <= MAX_ANSWER_BYTES => {
                open.bytes.extend_from_slice(payload);
                return None;
            }
            Kind::Data => Err("the answer is too long".to_owned()),
            Kind::Done => Ok(std::mem::take(&mut open.bytes)),
            Kind::Failed => Err(String::from_utf8_lossy(payload).into_owned()),
        };
        self.open.remove(&id);
        Some(Answer { id, result })
    }

    fn expired(&mut self) -> Vec<Answer> {
        let now = Instant::now();
        let late: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        late.into_iter()
            .inspect(|id| drop(self.open.remove(id)))
            .map(|id| Answer {
                id,
                result: Err("the helper did not answer in time".to_owned()),
            })
            .collect()
    }
}

impl Privileged for PrivilegedClient {
    fn ask(&mut self, ask: Ask) -> Result<u64, PrivilegedError> {
        if self.open.len() >= MAX_OPEN {
            return Err(PrivilegedError::Busy);
        }
        self.next += 1;
        let packet = wire::encode_request(self.next, &ask);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&self.socket, &packet, flags) {
            Ok(_) => {
                let deadline =
                    Instant::now() + super::warden::patience(&ask) + Duration::from_secs(5);
                self.open.insert(
                    self.next,
                    Open {
                        bytes: Vec::new(),
                        deadline,
                    },
                );
                Ok(self.next)
            }
            Err(rustix::io::Errno::AGAIN) => Err(PrivilegedError::Busy),
            Err(error) => Err(PrivilegedError::Connection(error.into())),
        }
    }

    fn take(&mut self) -> Vec<Answer> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let mut answers: Vec<Answer> = Vec::new();
        for _ in 0..MAX_PACKETS {
            let is_readable = rustix::event::poll(
                &mut [PollFd::new(&self.socket, PollFlags::IN)],
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                }),
            );
            if !matches!(is_readable, Ok(1..)) {
                break;
            }
            answers.extend(self.receive());
        }
        answers.extend(self.expired());
        if self.open.is_empty() {
            self.packet = Vec::new();
        }
        answers
    }
}
