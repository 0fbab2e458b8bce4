//! A lossy link: a relay of IP packets between two namespaces that is thin, slow and forgetful.
//!
//! Each side has a TUN interface; a thread of its own carries packets between them, so the line goes
//! on while a test waits for a process. What a packet suffers is decided by a seed. Packets do not
//! overtake each other, as a line is a queue, unless some are told to dawdle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tun::Tun;

use crate::cable::{FAR, NEAR};
use crate::namespace::Namespace;
use crate::random::Random;

/// Longest packet.
const MTU: usize = 1500;

/// What a line does to packets, each way.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Time that every packet takes.
    pub delay: Duration,
    /// Up to so much more, at random.
    pub jitter: Duration,
    /// Packets of a hundred that are lost, at random.
    pub loss_percent: u64,
    /// Bytes per second that fit through.
    pub bytes_per_second: u64,
    /// Packets that may wait for their turn; more are lost.
    pub queue: usize,
    /// Packets of a hundred that come twice, at random.
    pub twice_percent: u64,
    /// Packets of a hundred that take this much longer, so that others overtake them, at random.
    pub dawdle: (u64, Duration),
    /// Whether it is noted what became of each packet, see [`LossyLine::carriages`].
    pub noted: bool,
    /// Decides what is random.
    pub seed: u64,
}

/// Most packets of one way that are noted.
const MOST_NOTED: usize = 200_000;

/// Octets of a packet that are noted.
const NOTED_OCTETS: usize = 80;

/// What became of a packet, by the relay's own clock.
#[derive(Debug, Clone)]
pub struct Carriage {
    /// Its first octets, from the IP header on.
    pub head: Vec<u8>,
    /// How long it was under way; `None` if it was lost.
    pub took: Option<Duration>,
}

impl Default for Conditions {
    /// A good line: 1 ms, nothing lost, 12.5 MB/s.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss_percent: 0,
            bytes_per_second: 12_500_000,
            queue: 1000,
            twice_percent: 0,
            dawdle: (0, Duration::ZERO),
            noted: false,
            seed: 1,
        }
    }
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the far end to the near one.
    ToNear,
    /// From the near end to the far one.
    ToFar,
}

/// Packets of one way, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Brought to the other end.
    pub passed: u64,
    /// Lost at random or for lack of room.
    pub lost: u64,
    /// Swallowed while the way was closed.
    pub swallowed: u64,
}

/// A line under way; it ends with this value.
#[derive(Debug)]
pub struct LossyLine {
    ways: [Arc<State>; 2],
    stop: Option<oneshot::Sender<()>>,
    relay: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    closed: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
    swallowed: AtomicU64,
    notes: Mutex<Vec<Carriage>>,
}

impl State {
    fn note(&self, conditions: &Conditions, bytes: &[u8], came: Option<Instant>) {
        if !conditions.noted {
            return;
        }
        let carriage = Carriage {
            head: bytes.iter().take(NOTED_OCTETS).copied().collect(),
            took: came.map(|came| came.elapsed()),
        };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < MOST_NOTED {
            notes.push(carriage);
        }
    }
}

impl LossyLine {
    /// Lays the line: [`NEAR`] in one namespace, [`FAR`] in the other.
    ///
    /// # Errors
    /// TUN interfaces cannot be made here; the reason is in the error.
    pub fn lay(near: &Namespace, far: &Namespace, conditions: Conditions) -> Result<Self> {
        let ways = [Arc::default(), Arc::default()];
        let [to_near, to_far] = ways.clone();
        let (stop, stopped) = oneshot::channel();
        let (laid, ready) = mpsc::channel();
        let mut random = Random::new(conditions.seed);
        let seeds = [random.below(u64::MAX), random.below(u64::MAX)];
        let (near, far) = (near.try_clone()?, far.try_clone()?);
        let relay = thread::spawn(move || {
            let ends = runtime().and_then(|runtime| {
                let guard = runtime.enter();
                let ends = (end(&near, NEAR)?, end(&far, FAR)?);
                drop(guard);
                Ok((runtime, ends))
            });
            let (runtime, (near, far)) = match ends {
                Ok(ends) => ends,
                Err(error) => return drop(laid.send(Err(error))),
            };
            drop(laid.send(Ok(())));
            let [first, second] = seeds;
            runtime.block_on(async {
                tokio::select! {
                    () = carry(&far, &near, &to_near, conditions, Random::new(first)) => {}
                    () = carry(&near, &far, &to_far, conditions, Random::new(second)) => {}
                    _ = stopped => {}
                }
            });
        });
        ready.recv().map_err(|_| anyhow!("the relay ended"))??;
        Ok(Self {
            ways,
            stop: Some(stop),
            relay: Some(relay),
        })
    }

    /// Opens or closes one way; a closed one swallows packets in silence.
    pub fn set_open(&self, way: Way, open: bool) {
        self.state(way).closed.store(!open, Ordering::Relaxed);
    }

    /// What became of the packets of one way.
    #[must_use]
    pub fn carried(&self, way: Way) -> Carried {
        let state = self.state(way);
        Carried {
            passed: state.passed.load(Ordering::Relaxed),
            lost: state.lost.load(Ordering::Relaxed),
            swallowed: state.swallowed.load(Ordering::Relaxed),
        }
    }

    /// What became of each packet of one way so far, in the order of its end; nothing unless
    /// [`Conditions::noted`]. Packets that a closed way swallowed are lost ones.
    #[must_use]
    pub fn carriages(&self, way: Way) -> Vec<Carriage> {
        let notes = &self.state(way).notes;
        notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    const fn state(&self, way: Way) -> &Arc<State> {
        let [to_near, to_far] = &self.ways;
        match way {
            Way::ToNear => to_near,
            Way::ToFar => to_far,
        }
    }
}

impl Drop for LossyLine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(relay) = self.relay.take() {
            drop(relay.join());
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("starting the relay's runtime")
}

/// A TUN interface in a namespace; the descriptor works from anywhere.
fn end(namespace: &Namespace, address: &str) -> Result<Tun> {
    let inside = namespace.enter()?;
    let built = Tun::builder()
        .name("line")
        .mtu(i32::try_from(MTU)?)
        .address(address.parse()?)
        .netmask("255.255.255.252".parse()?)
        .up()
        .close_on_exec()
        .build();
    drop(inside);
    built
        .map_err(|error| anyhow!("{error}"))
        .and_then(|mut interfaces| interfaces.pop().context("no interface was made"))
        .context("a TUN interface cannot be made")
}

/// A packet: when it arrives, which one it is, when it came, and its octets.
type Packet = (Instant, u64, Instant, Vec<u8>);

/// Carries packets one way for ever.
async fn carry(from: &Tun, to: &Tun, state: &State, conditions: Conditions, mut random: Random) {
    let mut waiting: BinaryHeap<Reverse<Packet>> = BinaryHeap::new();
    let mut line = Line {
        conditions,
        free_at: Instant::now(),
        last_at: Instant::now(),
    };
    let mut number = 0;
    let mut buffer = vec![0; MTU + 4];
    loop {
        let next = waiting.peek().map(|Reverse(packet)| packet.0);
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = from.recv(&mut buffer) => {
                let Ok(length) = received else { return };
                let came = Instant::now();
                let bytes = buffer.get(..length).unwrap_or_default();
                if state.closed.load(Ordering::Relaxed) {
                    state.swallowed.fetch_add(1, Ordering::Relaxed);
                    state.note(&conditions, bytes, None);
                } else if waiting.len() >= conditions.queue
                    || random.below(100) < conditions.loss_percent
                {
                    state.lost.fetch_add(1, Ordering::Relaxed);
                    state.note(&conditions, bytes, None);
                } else {
                    let at = line.arrival(length, &mut random);
                    number += 1;
                    waiting.push(Reverse((at, number, came, bytes.to_vec())));
                    if happens(conditions.twice_percent, &mut random) {
                        number += 1;
                        waiting.push(Reverse((at, number, came, bytes.to_vec())));
                    }
                }
            }
            () = due => {
                let Some(Reverse((_, _, came, bytes))) = waiting.pop() else { continue };
                // Noted before it is there, so that whoever sees it finds it noted.
                state.note(&conditions, &bytes, Some(came));
                // An interface that is down loses packets, as the line does.
                match to.send(&bytes).await {
                    Ok(_) => state.passed.fetch_add(1, Ordering::Relaxed),
                    Err(_) => state.lost.fetch_add(1, Ordering::Relaxed),
                };
            }
        }
    }
}

/// Asks for no random number where nothing can happen, so that seeds mean what they meant before.
fn happens(percent: u64, random: &mut Random) -> bool {
    percent > 0 && random.below(100) < percent
}

/// The clockwork of one way.
struct Line {
    conditions: Conditions,
    /// When the last byte of the packet before has left.
    free_at: Instant,
    /// When the packet before arrives.
    last_at: Instant,
}

impl Line {
    fn arrival(&mut self, length: usize, random: &mut Random) -> Instant {
        let rate = self.conditions.bytes_per_second.max(1) as f64;
        let sending = Duration::from_secs_f64(length as f64 / rate);
        self.free_at = self.free_at.max(Instant::now()) + sending;
        let travel = self.conditions.delay + random.moment(self.conditions.jitter);
        let (percent, longer) = self.conditions.dawdle;
        if happens(percent, random) {
            return self.last_at.max(self.free_at + travel) + longer;
        }
        self.last_at = self.last_at.max(self.free_at + travel);
        self.last_at
    }
}
