//! Sends to all links and listens, on one thread.
//!
//! Each link has a socket of its own, connected to its reflector, so the kernel drops what others send and tells
//! that nobody listens there. What the numbers of an interval are is told to a function, which must not wait.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, TryRecvError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::clock;
use crate::config::Link;
use crate::interval::Summary;
use crate::ledger::{Counts, Ledger};
use crate::packet::{Echo, Refusal};
use crate::socket::Socket;
use crate::stamp::ErrorEstimate;

/// Longest wait, so that new links are seen, milliseconds.
const LOOK_MS: u16 = 200;

/// Before a socket that cannot be had is tried again, and one that cannot send is made anew, nanoseconds.
const AGAIN_NS: i64 = 5_000_000_000;

/// How often the clock is asked what it claims, nanoseconds.
const ASK_CLOCK_NS: i64 = 1_000_000_000;

/// Packets of one link before the others have their turn.
const AT_ONCE: usize = 64;

/// Counters of a link since it began to be measured, over all its sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// What became of the packets.
    pub counts: Counts,
    /// Packets that came and were refused, in the order of [`Refusal::ALL`]. Those that came again are among
    /// the duplicates of `counts` too.
    pub refused: [u64; Refusal::ALL.len()],
    /// Times that the other end's host said that nobody listens there.
    pub closed: u64,
    /// Times that the network said that there is no way.
    pub unreachable: u64,
    /// Packets that this host could not send.
    pub unsent: u64,
    /// Sessions that began.
    pub sessions: u64,
}

/// The numbers of a link at the end of an interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The link.
    pub link: Link,
    /// When the interval ended, Unix milliseconds.
    pub time_ms: i64,
    /// Since it began to be measured.
    pub totals: Totals,
    /// The same at the end of the interval before.
    pub before: Totals,
    /// Of the interval.
    pub summary: Summary,
}

struct Run {
    link: Link,
    session: Option<(Socket, Ledger)>,
    /// Of sessions that ended.
    ended: Counts,
    totals: Totals,
    before: Totals,
    next_send_ns: i64,
    next_tell_ns: i64,
    /// No attempt to open a socket before.
    open_at_ns: i64,
    /// Since when nothing could be sent.
    stuck_since_ns: Option<i64>,
}

/// Measures until the other end of `links` is gone; each list that comes from there takes the place of the one
/// before. A link that stays as it was goes on with its session.
pub fn run(links: &Receiver<Vec<Link>>, mut tell: impl FnMut(Measured)) {
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    let mut error = clock::error_estimate();
    let mut asked_ns = clock::now().steady_ns;
    loop {
        let news = if runs.is_empty() {
            links.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            links.try_recv()
        };
        match news {
            Ok(links) => take_up(&mut runs, links),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let now = clock::now();
        if now.steady_ns.saturating_sub(asked_ns) >= ASK_CLOCK_NS {
            asked_ns = now.steady_ns;
            error = clock::error_estimate();
        }
        for run in runs.values_mut() {
            run.send(error);
            if let Some(measured) = run.tell() {
                tell(measured);
            }
        }
        let ready = wait(&runs);
        for (run, _) in runs.values_mut().zip(ready).filter(|(_, ready)| *ready) {
            run.receive();
        }
    }
}

fn take_up(runs: &mut BTreeMap<String, Run>, links: Vec<Link>) {
    let mut before = std::mem::take(runs);
    let count = i64::try_from(links.len().max(1)).unwrap_or(1);
    let now_ns = clock::now().steady_ns;
    for (place, link) in links.into_iter().enumerate() {
        let kept = before.remove(&link.name).filter(|run| run.link == link);
        let run = kept.unwrap_or_else(|| {
            // Links do not send at the same moment, nor tell.
            let share = i64::try_from(place).unwrap_or_default();
            Run::new(link, now_ns, |whole: i64| whole / count * share)
        });
        runs.insert(run.link.name.clone(), run);
    }
}

/// Waits until something is due or came; for each link whether it has something to read.
fn wait(runs: &BTreeMap<String, Run>) -> Vec<bool> {
    let now_ns = clock::now().steady_ns;
    let due = runs.values().map(|run| run.next_send_ns).min();
    let wait_ns = due
        .map_or(i64::MAX, |due| due.saturating_sub(now_ns))
        .max(0);
    // Rounded up: a packet that is a fraction of a millisecond late is dated when it goes.
    let wait_ms = (wait_ns / 1_000_000 + i64::from(wait_ns % 1_000_000 != 0)).min(LOOK_MS.into());
    let mut watched: Vec<PollFd<'_>> = runs
        .values()
        .filter_map(|run| run.session.as_ref())
        .map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::from(u16::try_from(wait_ms).unwrap_or(LOOK_MS));
    // Woken too early, it looks and waits again.
    poll(&mut watched, timeout).ok();
    let mut watched = watched.iter();
    let ready = |run: &Run| {
        let own = run.session.as_ref().and_then(|_| watched.next());
        own.and_then(PollFd::any).unwrap_or_default()
    };
    runs.values().map(ready).collect()
}

impl Run {
    fn new(link: Link, now_ns: i64, part: impl Fn(i64) -> i64) -> Self {
        let every_ns = nanoseconds(link.every);
        Self {
            next_send_ns: now_ns + part(1_000_000_000 / i64::from(link.rate.max(1))),
            // The first interval is a short one, or a large province would tell all at once.
            next_tell_ns: now_ns + every_ns - part(every_ns) / 2,
            link,
            session: None,
            ended: Counts::default(),
            totals: Totals::default(),
            before: Totals::default(),
            open_at_ns: now_ns,
            stuck_since_ns: None,
        }
    }

    fn open(&mut self, now_ns: i64) {
        if self.session.is_some() || now_ns < self.open_at_ns {
            return;
        }
        self.open_at_ns = now_ns.saturating_add(AGAIN_NS);
        if let Ok(socket) = Socket::connect(self.link.source, self.link.peer) {
            let timeout_ns = nanoseconds(self.link.timeout);
            let ledger = Ledger::new(session_number(), timeout_ns, self.link.stateful);
            self.session = Some((socket, ledger));
            self.totals.sessions += 1;
        }
    }

    /// Sends what is due.
    fn send(&mut self, error: ErrorEstimate) {
        let now_ns = clock::now().steady_ns;
        if now_ns < self.next_send_ns {
            return;
        }
        let step_ns = 1_000_000_000 / i64::from(self.link.rate.max(1));
        self.next_send_ns = self.next_send_ns.saturating_add(step_ns);
        if self.next_send_ns <= now_ns {
            // What could not be sent in time is not made up for in a burst.
            self.next_send_ns = now_ns.saturating_add(step_ns);
        }
        self.open(now_ns);
        let Some((socket, ledger)) = &mut self.session else {
            self.totals.unsent += 1;
            return;
        };
        ledger.judge(clock::now());
        // Dated as late as can be: what lies between is no delay of the line.
        let probe = ledger.send(clock::now(), error);
        let packet = probe.encode(self.link.key.as_ref(), self.link.size);
        let mut sent = socket.send(&packet);
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
            // That was about a packet before this one, which was not sent yet.
            self.totals.closed += 1;
            sent = socket.send(&packet);
        }
        if sent.is_ok() {
            self.stuck_since_ns = None;
            return;
        }
        ledger.take_back();
        self.totals.unsent += 1;
        let since_ns = *self.stuck_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) >= AGAIN_NS {
            // The address that it was bound to may be another one by now.
            self.end_session();
        }
    }

    fn end_session(&mut self) {
        if let Some((_, ledger)) = self.session.take() {
            self.ended = sum(&self.ended, &ledger.counts());
        }
        self.stuck_since_ns = None;
    }

    fn receive(&mut self) {
        let Some((socket, ledger)) = &mut self.session else {
            return;
        };
        for _ in 0..AT_ONCE {
            let arrival = match socket.receive() {
                Ok(Some(arrival)) => arrival,
                Ok(None) => return,
                // It says why packets before got no answer; those behind it are read the next time.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.totals.closed += 1;
                    return;
                }
                Err(_) => {
                    self.totals.unreachable += 1;
                    return;
                }
            };
            // Whatever was over by then is lost, even if nobody had looked yet.
            ledger.judge(arrival.at);
            let echo = Echo::decode(arrival.packet, self.link.key.as_ref());
            let taken = echo.and_then(|echo| ledger.arrive(&echo, arrival.at));
            if let Err(refusal) = taken {
                let counted = Refusal::ALL.iter().zip(&mut self.totals.refused);
                for (_, count) in counted.filter(|(word, _)| **word == refusal) {
                    *count += 1;
                }
            }
        }
    }

    /// The numbers, if the interval is over.
    fn tell(&mut self) -> Option<Measured> {
        let now = clock::now();
        if now.steady_ns < self.next_tell_ns {
            return None;
        }
        self.totals.counts = self.ended;
        if let Some((_, ledger)) = &mut self.session {
            ledger.judge(now);
            self.totals.counts = sum(&self.ended, &ledger.counts());
        }
        let every_ns = nanoseconds(self.link.every);
        self.next_tell_ns = self
            .next_tell_ns
            .saturating_add(every_ns)
            .max(now.steady_ns);
        let before = std::mem::replace(&mut self.before, self.totals);
        let session = self.session.as_mut();
        Some(Measured {
            link: self.link.clone(),
            time_ms: now.wall_ns / 1_000_000,
            totals: self.totals,
            before,
            summary: session.map(|(_, ledger)| ledger.take()).unwrap_or_default(),
        })
    }
}

/// A number that tells this session from those before it; 0 would be none.
fn session_number() -> u16 {
    let mut bytes = [0; 2];
    // Without random numbers, the port still tells sessions apart.
    SystemRandom::new().fill(&mut bytes).ok();
    u16::from_be_bytes(bytes).max(1)
}

fn nanoseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn sum(one: &Counts, other: &Counts) -> Counts {
    Counts {
        sent: one.sent + other.sent,
        answered: one.answered + other.answered,
        lost: one.lost + other.lost,
        lost_forward: one.lost_forward + other.lost_forward,
        lost_backward: one.lost_backward + other.lost_backward,
        lost_somewhere: one.lost_somewhere + other.lost_somewhere,
        late: one.late + other.late,
        duplicates: one.duplicates + other.duplicates,
        reordered_forward: one.reordered_forward + other.reordered_forward,
        reordered_backward: one.reordered_backward + other.reordered_backward,
        clock_steps: one.clock_steps + other.clock_steps,
        restarts: one.restarts + other.restarts,
    }
}
