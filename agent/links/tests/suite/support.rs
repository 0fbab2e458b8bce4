//! A link at work: its sender on a thread, and what it tells.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use xiezhi_links::config::{Link, Reflector};
use xiezhi_links::packet::{Key, PLAIN, Refusal, SIGNED};
use xiezhi_links::sender::{self, Measured, Totals};
use xiezhi_links::sessions::Peer;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A link to `peer` that tells twice a second.
pub(crate) fn link(peer: SocketAddr, key: Option<&str>) -> Link {
    let key = key.map(|text| Key::new(text).unwrap());
    Link {
        name: "line".to_owned(),
        peer,
        source: None,
        rate: 100,
        size: if key.is_some() { SIGNED } else { PLAIN },
        key,
        every: Duration::from_millis(500),
        timeout: Duration::from_millis(1000),
        stateful: true,
        note: String::new(),
        file: String::new(),
    }
}

/// A reflector at this address for everybody.
pub(crate) fn reflector(listen: SocketAddr, key: Option<&str>) -> Reflector {
    Reflector {
        listen: vec![listen],
        peers: vec![Peer {
            network: (Ipv4Addr::UNSPECIFIED.into(), 0),
            key: key.map(|text| Key::new(text).unwrap()),
        }],
        rate: 10_000,
        file: String::new(),
    }
}

/// Any port of the loopback.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A sender at work.
pub(crate) struct Measuring {
    links: Option<Sender<Vec<Link>>>,
    told: Receiver<Measured>,
    thread: Option<JoinHandle<()>>,
}

impl Measuring {
    /// Begins on a thread that `within` runs it on: in a namespace, for instance.
    pub(crate) fn start(
        link: Link,
        within: impl FnOnce(Box<dyn FnOnce() + Send>) + Send + 'static,
    ) -> Self {
        let (links, given) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        links.send(vec![link]).unwrap();
        let thread = std::thread::spawn(move || {
            within(Box::new(move || {
                sender::run(&given, |measured| drop(tell.send(measured)));
            }));
        });
        Self {
            links: Some(links),
            told,
            thread: Some(thread),
        }
    }

    /// Begins here.
    pub(crate) fn here(link: Link) -> Self {
        Self::start(link, |work| work())
    }

    /// Waits until the totals are as wanted.
    pub(crate) fn until(&self, wanted: impl Fn(&Totals) -> bool) -> Measured {
        let begun = std::time::Instant::now();
        loop {
            let measured = self.told.recv_timeout(PATIENCE).unwrap();
            if wanted(&measured.totals) {
                return measured;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it stays at {:?}",
                measured.totals
            );
        }
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        drop(self.links.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

/// How many packets were refused for this reason.
pub(crate) fn refused(counts: &[u64; Refusal::ALL.len()], reason: Refusal) -> u64 {
    let each = Refusal::ALL.iter().zip(counts);
    each.filter(|(one, _)| **one == reason)
        .map(|(_, count)| count)
        .sum()
}

/// Whether every loss has its direction.
pub(crate) fn is_settled(totals: &Totals) -> bool {
    let counts = totals.counts;
    counts.lost == counts.lost_forward + counts.lost_backward + counts.lost_somewhere
}
