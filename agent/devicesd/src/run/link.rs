//! The socket to the agent's worker: whole messages, in order, waiting while it is full.
//!
//! ```text
//! message = 1:u8 time_ms:i64le content     a poll, or a part of one
//!         | 2:u8 JSON                      an event
//!         | 3:u8 JSON                      what this program tells of itself
//! ```

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{SocketType, sockopt};
use tokio::net::UnixDatagram;
use tokio::sync::Mutex;
use xiezhi_protocol::event::Event;

use super::tally::Report;

/// Bytes that the kernel keeps for the worker, if the host allows so many.
const BUFFER: usize = 512 << 10;

const NO_SOCKET: &str = "standard input is no socket to the agent's worker (SOCK_SEQPACKET)";

/// One message.
pub(crate) enum Message<'a> {
    /// Its time in Unix milliseconds, and its content.
    Poll(i64, &'a [u8]),
    Event(&'a Event),
    Report(&'a Report),
}

impl Message<'_> {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Poll(time_ms, content) => {
                bytes.reserve_exact(9 + content.len());
                bytes.push(1);
                bytes.extend_from_slice(&time_ms.to_le_bytes());
                bytes.extend_from_slice(content);
            }
            Self::Event(event) => {
                bytes.push(2);
                serde_json::to_writer(&mut bytes, event).context("writing an event")?;
            }
            Self::Report(report) => {
                bytes.push(3);
                serde_json::to_writer(&mut bytes, report).context("writing a report")?;
            }
        }
        Ok(bytes)
    }
}

pub(crate) struct Link {
    /// One sender at a time, so that messages keep their order.
    socket: Mutex<UnixDatagram>,
    waiting: AtomicUsize,
}

impl Link {
    /// Takes over the socket that this process was started with as standard input, as all are that the
    /// warden starts. Standard input is `/dev/null` afterwards.
    pub(crate) fn open() -> Result<Self> {
        let stdin = std::io::stdin();
        let socket =
            rustix::io::fcntl_dupfd_cloexec(&stdin, 3).context("standard input is not open")?;
        let link = Self::new(socket)?;
        let null = std::fs::File::open("/dev/null").context("opening /dev/null")?;
        rustix::stdio::dup2_stdin(null).context("letting standard input go")?;
        Ok(link)
    }

    fn new(socket: OwnedFd) -> Result<Self> {
        let kind = sockopt::socket_type(&socket).context(NO_SOCKET)?;
        ensure!(kind == SocketType::SEQPACKET, NO_SOCKET);
        // More is better, what there is will do.
        sockopt::set_socket_send_buffer_size(&socket, BUFFER).ok();
        // The library knows two kinds of socket that keep messages apart; to send, they are alike.
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket
            .set_nonblocking(true)
            .context("setting up the socket")?;
        let socket = UnixDatagram::from_std(socket).context("watching the socket")?;
        Ok(Self {
            socket: Mutex::new(socket),
            waiting: AtomicUsize::new(0),
        })
    }

    /// How many messages wait for the worker.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Sends a message whole, and waits for as long as there is no room.
    pub(crate) async fn send(&self, message: &Message<'_>) -> Result<()> {
        let bytes = message.bytes()?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.send_bytes(&bytes).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        sent.context("the agent's worker takes nothing any more")
    }

    async fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let socket = self.socket.lock().await;
        socket.send(bytes).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, socketpair};

    use super::*;

    fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_full_socket_delays_and_neither_loses_nor_tears() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (ours, theirs) = pair(SocketType::SEQPACKET);
            let link = Arc::new(Link::new(ours).unwrap());
            let mut senders = tokio::task::JoinSet::new();
            for number in 0..100_u8 {
                let link = Arc::clone(&link);
                let content = vec![number; 100_000];
                senders.spawn(async move { link.send(&Message::Poll(7, &content)).await });
            }
            // Until each has begun, and the kernel takes no more.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert!(link.waiting() > 50, "{} wait", link.waiting());
            let reader = std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                let mut told = Vec::new();
                for _ in 0..100 {
                    let (length, _) =
                        rustix::net::recv(&theirs, buffer.as_mut_slice(), RecvFlags::empty())
                            .unwrap();
                    let message = &buffer[..length];
                    assert_eq!(message[..9], [1, 7, 0, 0, 0, 0, 0, 0, 0]);
                    assert_eq!(message.len(), 100_009);
                    assert!(message[9..].iter().all(|byte| *byte == message[9]));
                    told.push(message[9]);
                }
                told
            });
            while let Some(sent) = senders.join_next().await {
                sent.unwrap().unwrap();
            }
            assert_eq!(reader.join().unwrap(), (0..100).collect::<Vec<u8>>());
            assert_eq!(link.waiting(), 0);
        });
    }

    #[test]
    fn a_worker_that_is_gone_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (ours, theirs) = pair(SocketType::SEQPACKET);
            let link = Link::new(ours).unwrap();
            drop(theirs);
            assert!(link.send(&Message::Poll(7, b"x")).await.is_err());
            assert!(Link::new(pair(SocketType::STREAM).0).is_err());
        });
    }
}
