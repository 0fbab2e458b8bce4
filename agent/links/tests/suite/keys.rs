//! Somebody between the two ends who changes packets, plays them again and makes up others.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use xiezhi_links::packet::Refusal;
use xiezhi_links::reflector::Running;

use crate::support::{Measuring, anywhere, link, reflector, refused};

const KEY: &str = "a key of both ends";

/// What is done to a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Pass,
    /// One bit is another.
    Flip(usize),
    /// It comes again.
    Again,
    /// A packet of zeros comes before it.
    MadeUp(usize),
    /// A plain answer's two times are later.
    LaterBySeconds(u32),
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}

impl Way {
    pub(crate) fn is_answer(self) -> bool {
        self == Self::Back
    }
}

/// Carries packets between a sender and a reflector, and does something to each; it ends with this.
pub(crate) struct Between {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Between {
    /// `deed` says what is done to the packet of this number on its way.
    pub(crate) fn start(
        there: SocketAddr,
        deed: impl Fn(Way, u32) -> Deed + Send + 'static,
    ) -> Self {
        let (near, far) = (
            UdpSocket::bind(anywhere()).unwrap(),
            UdpSocket::bind(anywhere()).unwrap(),
        );
        far.connect(there).unwrap();
        for socket in [&near, &far] {
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
        }
        let address = near.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 2000];
            let mut sender = None;
            let mut numbers = [0; 2];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = near.recv_from(&mut buffer) {
                    sender = Some(from);
                    let done = deed(Way::There, numbers[0]);
                    numbers[0] += 1;
                    for packet in packets(&buffer[..length], done) {
                        far.send(&packet).ok();
                    }
                }
                if let Ok(length) = far.recv(&mut buffer)
                    && let Some(sender) = sender
                {
                    let done = deed(Way::Back, numbers[1]);
                    numbers[1] += 1;
                    for packet in packets(&buffer[..length], done) {
                        near.send_to(&packet, sender).ok();
                    }
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn packets(packet: &[u8], deed: Deed) -> Vec<Vec<u8>> {
    let mut own = packet.to_vec();
    match deed {
        Deed::Pass => vec![own],
        Deed::Flip(bit) => {
            let bit = bit % (own.len() * 8);
            own[bit / 8] ^= 1 << (bit % 8);
            vec![own]
        }
        Deed::Again => vec![own.clone(), own],
        Deed::MadeUp(length) => vec![vec![0; length], own],
        Deed::LaterBySeconds(seconds) => {
            for at in [4, 16] {
                let time = u32::from_be_bytes(own[at..at + 4].try_into().unwrap());
                own[at..at + 4].copy_from_slice(&time.wrapping_add(seconds).to_be_bytes());
            }
            vec![own]
        }
    }
}

#[test]
fn what_somebody_changes_on_the_way_there_is_refused_and_not_answered() {
    let reflector = Running::start(&reflector(anywhere(), Some(KEY))).unwrap();
    let between = Between::start(reflector.addresses()[0], |way, number| {
        match (way, number % 10) {
            (Way::There, 3) => Deed::Flip(number as usize * 7),
            (Way::There, 5) => Deed::Again,
            (Way::There, 7) => Deed::MadeUp(112),
            (Way::There, 8) => Deed::MadeUp(44),
            _ => Deed::Pass,
        }
    });
    let measuring = Measuring::here(link(between.address(), Some(KEY)));
    let counts = measuring
        .until(|totals| totals.counts.sent > 200)
        .totals
        .counts;
    // One of ten was changed; all others were answered once.
    assert_eq!(counts.lost, (counts.sent + 6) / 10);
    assert_eq!((counts.lost_backward, counts.duplicates), (0, 0));
    let tally = reflector.tally();
    for reason in [Refusal::Signature, Refusal::Replayed, Refusal::Short] {
        assert!(
            refused(&tally.refused, reason) >= counts.sent / 10,
            "{reason:?} {tally:?}"
        );
    }
}

#[test]
fn what_somebody_changes_on_the_way_back_is_refused_and_counts_for_nothing() {
    let reflector = Running::start(&reflector(anywhere(), Some(KEY))).unwrap();
    let between = Between::start(reflector.addresses()[0], |way, number| {
        match (way, number % 10) {
            (Way::Back, 3) => Deed::Flip(number as usize * 7),
            (Way::Back, 5) => Deed::Again,
            (Way::Back, 7) => Deed::MadeUp(112),
            _ => Deed::Pass,
        }
    });
    let measuring = Measuring::here(link(between.address(), Some(KEY)));
    let totals = measuring.until(|totals| totals.counts.sent > 200).totals;
    let counts = totals.counts;
    assert_eq!((counts.lost_forward, counts.lost_somewhere), (0, 0));
    assert!(counts.lost_backward >= counts.sent / 10 - 1, "{counts:?}");
    assert!(counts.duplicates >= counts.sent / 10, "{counts:?}");
    assert!(
        refused(&totals.refused, Refusal::Signature) >= 2 * (counts.sent / 10),
        "{totals:?}"
    );
}

#[test]
fn ends_with_different_keys_do_not_measure() {
    let reflector = Running::start(&reflector(anywhere(), Some(KEY))).unwrap();
    let measuring = Measuring::here(link(
        reflector.addresses()[0],
        Some("another key of nobody"),
    ));
    let counts = measuring
        .until(|totals| totals.counts.sent > 20)
        .totals
        .counts;
    assert_eq!((counts.answered, counts.lost), (0, counts.sent));
    assert!(refused(&reflector.tally().refused, Refusal::Signature) >= counts.sent);
}
