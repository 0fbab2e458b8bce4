//! The socket that traps come in by, and the thread that empties it.
//!
//! The kernel keeps few datagrams: with its usual bound 300 to 500 of them, which is ten milliseconds of a
//! storm. So a thread of its own does nothing but copy them into a queue that is bounded in bytes, and
//! whatever takes time happens elsewhere. What does not fit is counted by where it was lost: in the
//! kernel, in the queue, or because one address sent far more than any device does. Datagrams from
//! addresses of no device are counted and not kept, so nobody else can fill the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Bytes of datagrams that may wait, with [`OVERHEAD`] for each.
const MOST_BYTES: usize = 8 << 20;

/// What a datagram costs besides its bytes.
const OVERHEAD: usize = 64;

/// Longest datagram over UDP.
const LONGEST: usize = 65_536;

/// A batch that grew beyond this is given back to the system once it is empty.
const KEPT_BYTES: usize = 256 << 10;

/// Datagrams that one address may send at once: more than a storm of a device has.
const BURST: u32 = 32_768;

/// After so long it may send one more.
const REFILL: Duration = Duration::from_millis(2);

/// Addresses of no device that are told by name.
const MOST_STRANGERS: usize = 32;

/// Datagrams in the order in which they came.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Who sent each, and where it ends.
    ends: Vec<(SocketAddr, usize)>,
    /// The next one.
    at: usize,
}

impl Batch {
    /// The next datagram and who sent it.
    pub fn take(&mut self) -> Option<(SocketAddr, &[u8])> {
        let start = match self.at.checked_sub(1) {
            Some(before) => self.ends.get(before)?.1,
            None => 0,
        };
        let (source, end) = self.ends.get(self.at)?;
        self.at += 1;
        Some((*source, self.bytes.get(start..*end)?))
    }

    /// Whether all were taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at >= self.ends.len()
    }

    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
        self.at = 0;
    }

    fn push(&mut self, source: SocketAddr, datagram: &[u8]) -> bool {
        let size = self.bytes.len() + (self.ends.len() + 1) * OVERHEAD + datagram.len();
        if size > MOST_BYTES {
            return false;
        }
        self.bytes.extend_from_slice(datagram);
        self.ends.push((source, self.bytes.len()));
        true
    }
}

/// What came in, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Datagrams that the kernel handed over.
    pub received: u64,
    /// Those that did not fit into the queue.
    pub queue_full: u64,
    /// Those of addresses that send without end.
    pub too_many: u64,
    /// Those from addresses of no device.
    pub strangers: u64,
}

#[derive(Debug, Default)]
struct Queue {
    batch: Batch,
    counted: Counted,
    known: BTreeSet<IpAddr>,
    rates: BTreeMap<IpAddr, Rate>,
    /// Who is no device, and how often, since that was asked.
    strangers: BTreeMap<IpAddr, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    room: u32,
    at: Instant,
}

impl Rate {
    fn pass(&mut self, now: Instant) -> bool {
        if self.room == 0 {
            let refilled = now.duration_since(self.at).as_micros() / REFILL.as_micros();
            self.room = u32::try_from(refilled).unwrap_or(BURST).min(BURST);
            if self.room == 0 {
                return false;
            }
            self.at = now;
        }
        self.room -= 1;
        true
    }
}

impl Queue {
    fn take(&mut self, source: SocketAddr, datagram: &[u8], now: Instant) {
        self.counted.received += 1;
        let address = source.ip().to_canonical();
        if !self.known.contains(&address) {
            self.counted.strangers += 1;
            if self.strangers.len() < MOST_STRANGERS || self.strangers.contains_key(&address) {
                *self.strangers.entry(address).or_default() += 1;
            }
            return;
        }
        // Only of known addresses, so there are not more of them than devices.
        let rate = self.rates.entry(address);
        let rate = rate.or_insert(Rate {
            room: BURST,
            at: now,
        });
        if !rate.pass(now) {
            self.counted.too_many += 1;
        } else if !self.batch.push(source, datagram) {
            self.counted.queue_full += 1;
        }
    }
}

/// The socket with its thread, which ends with the process.
#[derive(Debug)]
pub struct Intake {
    socket: Arc<UdpSocket>,
    queue: Arc<Mutex<Queue>>,
    came: Arc<Notify>,
}

impl Intake {
    /// Begins to empty `socket`.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        let intake = Self {
            socket: Arc::new(socket),
            queue: Arc::default(),
            came: Arc::default(),
        };
        let (socket, queue, came) = (
            Arc::clone(&intake.socket),
            Arc::clone(&intake.queue),
            Arc::clone(&intake.came),
        );
        std::thread::Builder::new()
            .name("traps".to_owned())
            .stack_size(128 << 10)
            .spawn(move || empty(&socket, &queue, &came))?;
        Ok(intake)
    }

    /// Its socket, by which replies go out.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Only datagrams of these addresses are kept from now on.
    pub fn know(&self, addresses: BTreeSet<IpAddr>) {
        let mut queue = lock(&self.queue);
        queue.rates.retain(|address, _| addresses.contains(address));
        queue.known = addresses;
    }

    /// Waits until datagrams came, and takes them all into `batch`, which must be done.
    pub async fn next(&self, batch: &mut Batch) {
        loop {
            {
                let mut queue = lock(&self.queue);
                if !queue.batch.ends.is_empty() {
                    batch.clear();
                    std::mem::swap(&mut queue.batch, batch);
                    return;
                }
            }
            self.came.notified().await;
        }
    }

    /// What came in so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        lock(&self.queue).counted.clone()
    }

    /// Who sent without being a device, and how often, since this was asked before.
    #[must_use]
    pub fn strangers(&self) -> BTreeMap<IpAddr, u64> {
        std::mem::take(&mut lock(&self.queue).strangers)
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread.
fn empty(socket: &UdpSocket, queue: &Mutex<Queue>, came: &Notify) {
    let mut datagram = vec![0; LONGEST];
    loop {
        match socket.recv_from(&mut datagram) {
            Ok((length, source)) => {
                let datagram = datagram.get(..length).unwrap_or_default();
                lock(queue).take(source, datagram, Instant::now());
                came.notify_one();
            }
            // What the network said of an earlier reply, or a signal: nothing that concerns the next one.
            // Slowly, lest an error that stays keeps a core.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_comes_from_a_device_is_kept_and_all_is_counted() {
        let mut queue = Queue::default();
        queue.known.insert("10.0.0.1".parse().unwrap());
        let now = Instant::now();
        queue.take(source("10.0.0.1:50000"), b"one", now);
        // As a socket for both families tells it.
        queue.take(source("[::ffff:10.0.0.1]:50000"), b"two", now);
        for _ in 0..3 {
            queue.take(source("10.0.0.9:162"), b"x", now);
        }
        let mut batch = std::mem::take(&mut queue.batch);
        assert_eq!(batch.take().unwrap().1, b"one");
        assert_eq!(
            batch.take().unwrap(),
            (source("[::ffff:10.0.0.1]:50000"), &b"two"[..])
        );
        assert!(batch.take().is_none() && batch.is_done());
        assert_eq!(queue.strangers[&"10.0.0.9".parse::<IpAddr>().unwrap()], 3);
        let counted = Counted {
            received: 5,
            strangers: 3,
            ..Counted::default()
        };
        assert_eq!(queue.counted, counted);
    }

    #[test]
    fn strangers_without_end_fill_no_memory() {
        let mut queue = Queue::default();
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            queue.take((address, 162).into(), b"x", Instant::now());
        }
        assert_eq!(queue.strangers.len(), MOST_STRANGERS);
        assert_eq!(queue.counted.strangers, 10_000);
        assert!(queue.batch.is_done());
    }

    #[test]
    fn a_device_that_never_ends_is_held_to_a_rate_and_the_queue_to_its_bytes() {
        let mut queue = Queue::default();
        let (one, other) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        queue.known = [one.ip(), other.ip()].into();
        let now = Instant::now();
        for _ in 0..40_000 {
            queue.take(one, &[7; 40], now);
        }
        assert_eq!(queue.counted.too_many, u64::from(40_000 - BURST));
        queue.take(other, &[7; 40], now);
        assert_eq!(queue.batch.ends.len(), BURST as usize + 1);
        queue.take(one, b"later", now + REFILL * 3);
        queue.take(one, b"later", now + REFILL * 3);
        assert_eq!(queue.counted.too_many, u64::from(40_000 - BURST));
        let long = vec![1; 60_000];
        for _ in 0..200 {
            queue.take(other, &long, now);
        }
        assert!(queue.counted.queue_full > 50);
        assert!(queue.batch.bytes.len() <= MOST_BYTES);
    }

    #[tokio::test]
    async fn what_comes_in_is_taken_in_order() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let intake = Intake::start(socket).unwrap();
        intake.know(["127.0.0.1".parse().unwrap()].into());
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::default();
        for number in 0..50_u8 {
            sender.send_to(&[number], to).unwrap();
        }
        let mut told = Vec::new();
        while told.len() < 50 {
            intake.next(&mut batch).await;
            while let Some((from, datagram)) = batch.take() {
                assert_eq!(from, sender.local_addr().unwrap());
                told.push(datagram[0]);
            }
        }
        assert_eq!(told, (0..50).collect::<Vec<u8>>());
        assert_eq!(intake.counted().received, 50);
    }
}
