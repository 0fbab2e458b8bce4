//! What became of every packet that was sent: judged once, when its time is over.
//!
//! A reflector that counts what it sends back (a *stateful* one, RFC 8762 §4.3) tells on which way a packet
//! was lost. Between two answered packets, of the numbers that the reflector gave out, those that never came
//! were lost on the way back, and the rest of what was lost never reached it. That is exact where no packet
//! overtakes another across the boundary, so a boundary is drawn only where none does. Until the next one
//! what was lost has no direction; so during an outage it is counted at once and told apart afterwards.
//!
//! A packet that comes after its time was judged as lost stays lost and is counted as late too.
//!
//! Pure: times come in.

use std::collections::VecDeque;

use crate::clock::Instant;
use crate::interval::{Interval, Summary, Times};
use crate::packet::{Echo, Probe, Refusal};
use crate::stamp::{self, ErrorEstimate};

/// Packets that are remembered after they were judged, to tell those that come late from those that
/// nobody asked for: 40 seconds at 100 packets a second.
const REMEMBERED: usize = 4096;

/// Numbers of the reflector that are remembered, to see that it began again.
const NUMBERS: usize = 128;

/// How far the difference of the two clocks may change between two packets without one being set: the kernel
/// corrects by at most half a thousandth.
const SLEW_NS: i64 = 500_000;

/// Counters since the session began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were sent and whose time is over.
    pub sent: u64,
    /// Of them, answered in time.
    pub answered: u64,
    /// Of them, not answered in time.
    pub lost: u64,
    /// Of those, lost on the way there, as far as it is known by now.
    pub lost_forward: u64,
    /// Lost on the way back.
    pub lost_backward: u64,
    /// Lost on a way that cannot be told: the reflector does not count, or began again.
    pub lost_somewhere: u64,
    /// Answered after their time; they are lost too.
    pub late: u64,
    /// Answers that came again.
    pub duplicates: u64,
    /// Packets that arrived there after one that was sent later (RFC 4737).
    pub reordered_forward: u64,
    /// Answers that arrived here after one that was sent later.
    pub reordered_backward: u64,
    /// Times that one of the clocks was set, as far as it can be seen.
    pub clock_steps: u64,
    /// Times that the reflector began to count again.
    pub restarts: u64,
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy)]
struct Flight {
    at: Instant,
    /// As it was written into the packet.
    stamp: u64,
    /// The clock of this host was set since the packet before.
    clock_was_set: bool,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    /// The reflector's number; the packet's own where the reflector does not count.
    number: u32,
    /// Which answer it was.
    order: u64,
    times: Option<Times>,
}

/// A packet that was judged.
#[derive(Debug, Clone, Copy)]
struct Judged {
    stamp: u64,
    came: bool,
}

/// The packets of one session.
#[derive(Debug)]
pub struct Ledger {
    timeout_ns: i64,
    /// Whether the reflector counts what it sends.
    stateful: bool,
    session: u16,
    /// Packets under way and answered ones whose time is not over, the oldest first.
    flights: VecDeque<Flight>,
    /// The newest that were judged, the oldest first.
    judged: VecDeque<Judged>,
    /// Number of the first of `flights`.
    first: u64,
    counts: Counts,
    interval: Interval,
    /// What was answered since the interval began.
    cut: Cut,
    /// Answers that arrived.
    arrived: u64,
    /// Difference of the two clocks at the packet before.
    offset_ns: Option<i64>,
    own_error: ErrorEstimate,
}

/// Where what was lost is told apart.
#[derive(Debug, Default)]
struct Cut {
    /// The reflector's number that comes after the last boundary.
    next: u32,
    /// Answers behind the boundary, by the reflector's numbers: how many, and the highest as a distance.
    answers: u64,
    top: Option<u32>,
    /// Lost packets behind the boundary.
    pending: u64,
    /// The newest numbers that were seen, to see one come again for another packet.
    seen: VecDeque<u32>,
}

impl Ledger {
    /// A session that begins. `session` is its identifier in the packets.
    #[must_use]
    pub fn new(session: u16, timeout_ns: i64, stateful: bool) -> Self {
        Self {
            timeout_ns,
            stateful,
            session,
            flights: VecDeque::new(),
            judged: VecDeque::new(),
            first: 0,
            counts: Counts::default(),
            interval: Interval::default(),
            cut: Cut::default(),
            arrived: 0,
            offset_ns: None,
            own_error: ErrorEstimate::of(None),
        }
    }

    /// The next packet, sent at `at`.
    pub fn send(&mut self, at: Instant, error: ErrorEstimate) -> Probe {
        let offset_ns = at.wall_ns.saturating_sub(at.steady_ns);
        let before = self.offset_ns.replace(offset_ns);
        let clock_was_set = before
            .is_some_and(|before| offset_ns.saturating_sub(before).saturating_abs() > SLEW_NS);
        self.own_error = error;
        let probe = Probe {
            sequence: self.next_sequence(),
            sent: stamp::to_ntp(at.wall_ns),
            error,
            session: self.session,
        };
        self.flights.push_back(Flight {
            at,
            stamp: probe.sent,
            clock_was_set,
            answer: None,
        });
        probe
    }

    /// The packet that [`Ledger::send`] gave last could not be sent: it never was.
    pub fn take_back(&mut self) {
        self.flights.pop_back();
    }

    /// The number of the next packet.
    fn next_sequence(&self) -> u32 {
        // Modulo 2³², as it travels.
        let next = self.first.wrapping_add(self.flights.len() as u64);
        (next & u64::from(u32::MAX)) as u32
    }

    /// Takes an answer that arrived.
    ///
    /// # Errors
    /// [`Refusal::Unasked`] for one that answers no packet of this session as it was sent, and
    /// [`Refusal::Replayed`] for one that came before; that is counted.
    pub fn arrive(&mut self, echo: &Echo, at: Instant) -> Result<(), Refusal> {
        let session = echo.session;
        // Reflectors of RFC 8762 alone know no identifier.
        if session != self.session && session != 0 {
            return Err(Refusal::Unasked);
        }
        let behind = self.next_sequence().wrapping_sub(echo.probe.sequence);
        let under_way = self.flights.len();
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        let Some(place) = under_way.checked_sub(behind) else {
            return self.arrive_late(echo, behind - under_way);
        };
        let own_error = self.own_error;
        // One that comes from the future has no place.
        let Some(flight) = self.flights.get_mut(place) else {
            return Err(Refusal::Unasked);
        };
        if flight.stamp != echo.probe.sent {
            return Err(Refusal::Unasked);
        }
        if flight.answer.is_some() {
            self.counts.duplicates += 1;
            return Err(Refusal::Replayed);
        }
        flight.answer = Some(Answer {
            number: echo.sequence,
            order: self.arrived,
            times: times(flight.at, at, echo, own_error),
        });
        self.arrived += 1;
        Ok(())
    }

    /// Takes an answer to a packet that was judged `ago` packets before the first under way.
    fn arrive_late(&mut self, echo: &Echo, ago: usize) -> Result<(), Refusal> {
        let place = self.judged.len().checked_sub(ago);
        let Some(judged) = place.and_then(|place| self.judged.get_mut(place)) else {
            return Err(Refusal::Unasked);
        };
        if judged.stamp != echo.probe.sent {
            return Err(Refusal::Unasked);
        }
        if judged.came {
            self.counts.duplicates += 1;
            return Err(Refusal::Replayed);
        }
        judged.came = true;
        self.counts.late += 1;
        Ok(())
    }

    /// Judges every packet whose time is over.
    pub fn judge(&mut self, now: Instant) {
        while let Some(flight) = self.flights.front().copied() {
            if now.steady_ns.saturating_sub(flight.at.steady_ns) < self.timeout_ns {
                return;
            }
            self.flights.pop_front();
            self.first = self.first.wrapping_add(1);
            if self.judged.len() >= REMEMBERED {
                self.judged.pop_front();
            }
            self.judged.push_back(Judged {
                stamp: flight.stamp,
                came: flight.answer.is_some(),
            });
            self.counts.sent += 1;
            if flight.clock_was_set {
                self.counts.clock_steps += 1;
                self.interval.clock_was_set();
            }
            match flight.answer {
                Some(answer) => self.answered(answer),
                None => self.lost(),
            }
        }
    }

    fn lost(&mut self) {
        self.counts.lost += 1;
        self.interval.add(None);
        if self.stateful {
            self.cut.pending += 1;
        } else {
            self.counts.lost_somewhere += 1;
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.counts.answered += 1;
        self.counts.clock_steps += u64::from(self.interval.add(answer.times));
        let (mut overtaken_there, mut overtaken_back) = (false, false);
        for other in later(&self.flights, &self.cut) {
            overtaken_there |= is_before(other.number, answer.number);
            overtaken_back |= is_before(answer.number, other.number) && other.order < answer.order;
        }
        self.counts.reordered_backward += u64::from(overtaken_back);
        if !self.stateful {
            return;
        }
        if self.cut.began_again(answer.number) {
            self.counts.restarts += 1;
            self.counts.lost_somewhere += self.cut.pending;
            self.cut = Cut::after(answer.number);
        } else {
            self.counts.reordered_forward += u64::from(overtaken_there);
        }
        let top = self.cut.note(answer.number);
        if !later(&self.flights, &self.cut).any(|other| is_before(other.number, top)) {
            let (forward, backward) = self.cut.draw(top);
            self.counts.lost_forward += forward;
            self.counts.lost_backward += backward;
        }
    }

    /// The counters.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The numbers since they were taken last.
    pub fn take(&mut self) -> Summary {
        self.interval.take()
    }

    /// When the next packet is to be judged, by the clock that nobody sets.
    #[must_use]
    pub fn next_judgement_ns(&self) -> Option<i64> {
        let oldest = self.flights.front()?;
        Some(oldest.at.steady_ns.saturating_add(self.timeout_ns))
    }
}

impl Cut {
    /// The first boundary: the next number is this one.
    fn after(next: u32) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Whether the reflector began to count again: its number is below the boundary, or another packet's.
    fn began_again(&self, number: u32) -> bool {
        is_before(number, self.next) || self.seen.contains(&number)
    }

    /// Notes an answer; the highest number since the boundary.
    fn note(&mut self, number: u32) -> u32 {
        self.answers += 1;
        if self.seen.len() >= NUMBERS {
            self.seen.pop_front();
        }
        self.seen.push_back(number);
        let top = self.top.map_or(number, |top| later_of(top, number));
        self.top = Some(top);
        top
    }

    /// Draws a boundary behind `top`: how many were lost there, and how many on the way back.
    fn draw(&mut self, top: u32) -> (u64, u64) {
        let given = u64::from(top.wrapping_sub(self.next)) + 1;
        let backward = given.saturating_sub(self.answers).min(self.pending);
        let forward = self.pending - backward;
        self.next = top.wrapping_add(1);
        self.answers = 0;
        self.top = None;
        self.pending = 0;
        (forward, backward)
    }
}

/// Answers to packets that are not judged yet. A number below the boundary is of a reflector that began again:
/// what it counts has nothing to do with what it counted before.
fn later<'f>(flights: &'f VecDeque<Flight>, cut: &Cut) -> impl Iterator<Item = Answer> + use<'f> {
    let next = cut.next;
    let answers = flights.iter().filter_map(|flight| flight.answer);
    answers.filter(move |answer| !is_before(answer.number, next))
}

/// The later of two numbers that wrap.
const fn later_of(one: u32, other: u32) -> u32 {
    if is_before(one, other) { other } else { one }
}

/// Whether one number comes before another, modulo 2³².
const fn is_before(one: u32, other: u32) -> bool {
    let ahead = other.wrapping_sub(one);
    ahead != 0 && ahead <= u32::MAX / 2
}

/// The times of a packet; `None` if what the reflector says of itself cannot be.
fn times(sent: Instant, arrived: Instant, echo: &Echo, own: ErrorEstimate) -> Option<Times> {
    let is_ptp = echo.error.is_ptp();
    let received_ns = stamp::to_unix_ns(echo.received, is_ptp);
    let echoed_ns = stamp::to_unix_ns(echo.sent, is_ptp);
    let whole = arrived.steady_ns.saturating_sub(sent.steady_ns);
    let there = echoed_ns.saturating_sub(received_ns);
    // Its clock was set while it had the packet, or it says anything.
    if there < 0 || there > whole {
        return None;
    }
    // PTP's time is another one than UTC by the leap seconds.
    let both = own.is_synchronized() && echo.error.is_synchronized() && !is_ptp;
    let error = own.bound_ns() + echo.error.bound_ns();
    Some(Times {
        round_trip: whole - there,
        forward: received_ns.saturating_sub(sent.wall_ns),
        backward: arrived.wall_ns.saturating_sub(echoed_ns),
        error: both.then_some(error as i64),
    })
}

#[cfg(test)]
mod tests;
