//! Answers whoever may measure against this host, on one thread.
//!
//! It waits for packets and for nothing else. What it may answer is said by [`Sessions`]; a packet that gets no
//! answer is counted and forgotten, because who sent it may be nobody.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::config::Reflector;
use crate::sessions::{Sessions, Tally};
use crate::socket::Socket;
use crate::stamp::ErrorEstimate;

/// How often it looks whether it should end, and what its clock claims, milliseconds.
const LOOK_MS: u16 = 500;

/// Packets of one socket before the others have their turn.
const AT_ONCE: usize = 64;

/// A reflector at work; it ends with this value.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Listens, and answers from now on.
    ///
    /// # Errors
    /// An address cannot be had, or there is no thread.
    pub fn start(config: &Reflector) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for address in &config.listen {
            let socket = Socket::bind(*address)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            sockets.push(socket);
        }
        let addresses = sockets
            .iter()
            .map(Socket::address)
            .collect::<Result<_, _>>()?;
        let sessions = Sessions::new(config.peers.clone(), config.rate);
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ended, counted) = (Arc::clone(&stop), Arc::clone(&tally));
        let thread = std::thread::Builder::new()
            .name("reflector".to_owned())
            .stack_size(256 << 10)
            .spawn(move || reflect(sockets, sessions, &ended, &counted))?;
        Ok(Self {
            addresses,
            stop,
            tally,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What came in so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn reflect(
    mut sockets: Vec<Socket>,
    mut sessions: Sessions,
    stop: &AtomicBool,
    tally: &Mutex<Tally>,
) {
    let mut error = clock::error_estimate();
    let mut looked_ns = clock::now().steady_ns;
    while !stop.load(Ordering::Acquire) {
        wait(&sockets);
        for socket in &mut sockets {
            serve(socket, &mut sessions, error);
        }
        let now_ns = clock::now().steady_ns;
        if now_ns.saturating_sub(looked_ns) >= i64::from(LOOK_MS) * 1_000_000 {
            looked_ns = now_ns;
            error = clock::error_estimate();
        }
        *tally.lock().unwrap_or_else(PoisonError::into_inner) = sessions.tally();
    }
}

fn wait(sockets: &[Socket]) {
    let mut ready: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
        .collect();
    // Woken too early, it looks and waits again.
    poll(&mut ready, PollTimeout::from(LOOK_MS)).ok();
}

fn serve(socket: &mut Socket, sessions: &mut Sessions, error: ErrorEstimate) {
    for _ in 0..AT_ONCE {
        // An error tells of an answer that did not arrive; the next packet is behind it.
        let Ok(received) = socket.receive() else {
            continue;
        };
        let Some(arrival) = received else { return };
        let back = arrival.back();
        let Ok(answer) = sessions.take(arrival.packet, arrival.from, arrival.at.steady_ns) else {
            continue;
        };
        // As late as can be: what lies between is no delay of the line.
        let echo = answer.encode(
            arrival.packet,
            arrival.at.wall_ns,
            arrival.ttl,
            (clock::now().wall_ns, error),
        );
        // A host that cannot send loses packets, as its line does.
        socket.answer(&echo, back).ok();
    }
}
