//! What becomes of each packet, against a model and by example.

use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;
const TIMEOUT: i64 = 2_000 * MS;

/// A reflector that counts, and the two ways, moved by hand.
struct Line {
    ledger: Ledger,
    now: Instant,
    /// The reflector's next number.
    number: u32,
    probes: Vec<Probe>,
}

impl Line {
    fn new(stateful: bool) -> Self {
        Self {
            ledger: Ledger::new(9, TIMEOUT, stateful),
            now: Instant {
                wall_ns: 1_700_000_000_000_000_000,
                steady_ns: 0,
            },
            number: 0,
            probes: Vec::new(),
        }
    }

    fn pass(&mut self, ns: i64) {
        self.now.wall_ns += ns;
        self.now.steady_ns += ns;
    }

    fn send(&mut self) -> usize {
        self.pass(100 * MS);
        let probe = self.ledger.send(self.now, ErrorEstimate::of(Some(100)));
        self.probes.push(probe);
        self.ledger.judge(self.now);
        self.probes.len() - 1
    }

    /// The reflector gets a packet.
    fn reflect(&mut self, which: usize) -> Echo {
        let number = self.number;
        self.number += 1;
        let probe = self.probes[which];
        Echo {
            sequence: number,
            sent: stamp::to_ntp(self.now.wall_ns + 6 * MS),
            error: ErrorEstimate::of(Some(100)),
            session: 9,
            received: stamp::to_ntp(self.now.wall_ns + 5 * MS),
            probe,
            ttl: 64,
        }
    }

    fn arrive(&mut self, echo: &Echo) -> Result<(), Refusal> {
        let at = Instant {
            wall_ns: self.now.wall_ns + 11 * MS,
            steady_ns: self.now.steady_ns + 11 * MS,
        };
        self.ledger.arrive(echo, at)
    }

    fn end(&mut self) -> Counts {
        self.pass(TIMEOUT);
        self.ledger.judge(self.now);
        self.ledger.counts()
    }
}

#[test]
fn loss_is_told_by_its_way() {
    let mut line = Line::new(true);
    for step in 0..100 {
        let which = line.send();
        match step % 10 {
            3 => {}
            5 | 6 => {
                line.reflect(which);
            }
            _ => {
                let echo = line.reflect(which);
                line.arrive(&echo).unwrap();
            }
        }
    }
    let counts = line.end();
    assert_eq!((counts.sent, counts.answered, counts.lost), (100, 70, 30));
    assert_eq!((counts.lost_forward, counts.lost_backward), (10, 20));
    assert_eq!((counts.lost_somewhere, counts.duplicates), (0, 0));
    let summary = line.ledger.take();
    let spread = summary.round_trip.unwrap();
    assert_eq!((spread.min, spread.max), (10 * MS, 10 * MS));
    assert_eq!(summary.ways[0].delay.unwrap().median, 5 * MS);
}

#[test]
fn an_outage_is_counted_at_once_and_told_apart_when_it_ends() {
    let mut line = Line::new(true);
    let which = line.send();
    let echo = line.reflect(which);
    line.arrive(&echo).unwrap();
    for _ in 0..50 {
        line.send();
    }
    for _ in 0..25 {
        let which = line.send();
        line.reflect(which);
    }
    let during = line.end();
    assert_eq!(
        (during.lost, during.lost_forward, during.lost_backward),
        (75, 0, 0)
    );
    let which = line.send();
    let echo = line.reflect(which);
    line.arrive(&echo).unwrap();
    let after = line.end();
    assert_eq!(
        (after.lost, after.lost_forward, after.lost_backward),
        (75, 50, 25)
    );
}

#[test]
fn a_late_answer_stays_lost_and_a_second_one_is_a_duplicate() {
    let mut line = Line::new(true);
    let which = line.send();
    let echo = line.reflect(which);
    line.end();
    assert_eq!(line.arrive(&echo), Ok(()));
    assert_eq!(line.arrive(&echo), Err(Refusal::Replayed));
    let counts = line.ledger.counts();
    assert_eq!((counts.lost, counts.late, counts.duplicates), (1, 1, 1));
    let which = line.send();
    let echo = line.reflect(which);
    line.arrive(&echo).unwrap();
    assert_eq!(line.arrive(&echo), Err(Refusal::Replayed));
    let counts = line.end();
    assert_eq!((counts.answered, counts.late, counts.duplicates), (1, 1, 2));
}

#[test]
fn answers_to_nothing_are_refused() {
    let mut line = Line::new(true);
    let which = line.send();
    let echo = line.reflect(which);
    let mut future = echo;
    future.probe.sequence = 5;
    let mut altered = echo;
    altered.probe.sent += 1;
    let mut past = echo;
    past.probe.sequence = u32::MAX;
    let mut foreign = echo;
    foreign.session = 10;
    for wrong in [future, altered, past, foreign] {
        assert_eq!(line.arrive(&wrong), Err(Refusal::Unasked));
    }
    let mut nameless = echo;
    nameless.session = 0;
    assert_eq!(line.arrive(&nameless), Ok(()));
}

#[test]
fn what_was_lost_while_the_reflector_began_again_has_no_direction() {
    let mut line = Line::new(true);
    for _ in 0..20 {
        let which = line.send();
        let echo = line.reflect(which);
        line.arrive(&echo).unwrap();
    }
    line.send();
    line.send();
    line.number = 0;
    for step in 0..20 {
        let which = line.send();
        let echo = line.reflect(which);
        if step != 10 {
            line.arrive(&echo).unwrap();
        }
    }
    let counts = line.end();
    assert_eq!((counts.restarts, counts.lost), (1, 3));
    assert_eq!(
        (
            counts.lost_somewhere,
            counts.lost_backward,
            counts.lost_forward
        ),
        (2, 1, 0)
    );
    assert_eq!(
        (counts.reordered_forward, counts.reordered_backward),
        (0, 0)
    );
}

#[test]
fn a_reflector_that_does_not_count_tells_no_direction() {
    let mut line = Line::new(false);
    for step in 0..10 {
        let which = line.send();
        let mut echo = line.reflect(which);
        echo.sequence = echo.probe.sequence;
        if step != 4 {
            line.arrive(&echo).unwrap();
        }
    }
    let counts = line.end();
    assert_eq!((counts.lost, counts.lost_somewhere), (1, 1));
    assert_eq!(
        (counts.lost_forward, counts.lost_backward, counts.restarts),
        (0, 0, 0)
    );
}

#[test]
fn a_clock_that_is_set_here_or_there_changes_no_round_trip() {
    let mut line = Line::new(true);
    for step in 0..30 {
        if step == 10 {
            line.now.wall_ns -= 3_600_000 * MS;
        }
        let which = line.send();
        let mut echo = line.reflect(which);
        if step >= 20 {
            // The other end's clock.
            echo.received = echo.received.wrapping_add(77 << 32);
            echo.sent = echo.sent.wrapping_add(77 << 32);
        }
        if step == 25 {
            // It is set while the packet is there.
            echo.sent = echo.sent.wrapping_sub(1 << 32);
        }
        line.arrive(&echo).unwrap();
    }
    let counts = line.end();
    assert_eq!((counts.answered, counts.clock_steps), (30, 2));
    let summary = line.ledger.take();
    let spread = summary.round_trip.unwrap();
    assert_eq!((spread.min, spread.max), (10 * MS, 10 * MS));
    assert_eq!(summary.ways[0].ipdv_mean, Some(0));
    assert_eq!(summary.ways[0].pdv_p95, Some(0));
    assert_eq!(
        summary.ways[0].delay, None,
        "nobody knows which clock was right"
    );
}

#[test]
fn a_packet_that_could_not_be_sent_never_was() {
    let mut line = Line::new(true);
    line.send();
    line.ledger.take_back();
    let probe = line.ledger.send(line.now, ErrorEstimate::of(None));
    assert_eq!(probe.sequence, 0);
    assert_eq!(line.end().sent, 1);
}

/// What happens to a packet on one way.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost_there: bool,
    lost_back: bool,
    /// Packets sent later that overtake it on the way there, and on the way back.
    late_there: usize,
    late_back: usize,
    twice: bool,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0_u8..100, 0_u8..100, 0_u8..100, 0_u8..100, 0_u8..100).prop_map(|numbers| Fate {
        lost_there: numbers.0 < 10,
        lost_back: numbers.1 < 10,
        late_there: usize::from(numbers.2 < 10) * 2,
        late_back: usize::from(numbers.3 < 10) * 2,
        twice: numbers.4 < 10,
    });
    prop::collection::vec(fate, 1..300)
}

proptest! {
    /// Every packet is judged once, and where none overtakes another, each way's losses are exact.
    #[test]
    fn counts_are_those_of_the_line(fates in fates(), overtaking in any::<bool>()) {
        let mut line = Line::new(true);
        // What arrives when: by time, in steps of one packet.
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let (mut lost_there, mut lost_back, mut twice) = (0, 0, 0);
        // One after the last is never lost, so that every loss has a boundary behind it.
        for step in 0..fates.len() + 5 {
            let which = line.send();
            let fate = fates.get(which).copied();
            if fate.is_some_and(|fate| fate.lost_there) {
                lost_there += 1;
            } else {
                let late = fate.map_or(0, |fate| fate.late_there) * usize::from(overtaking);
                there.push((step + late, which));
            }
            let due: Vec<_> = there.extract_if(.., |(at, _)| *at <= step).collect();
            for (_, which) in due {
                let echo = line.reflect(which);
                let fate = fates.get(which).copied();
                if fate.is_some_and(|fate| fate.lost_back) {
                    lost_back += 1;
                } else {
                    let late = fate.map_or(0, |fate| fate.late_back) * usize::from(overtaking);
                    back.push((step + late, echo));
                    if fate.is_some_and(|fate| fate.twice) {
                        twice += 1;
                        back.push((step + late, echo));
                    }
                }
            }
            let due: Vec<_> = back.extract_if(.., |(at, _)| *at <= step).collect();
            for (_, echo) in due {
                line.arrive(&echo).ok();
            }
        }
        let counts = line.end();
        prop_assert_eq!(counts.sent, fates.len() as u64 + 5);
        prop_assert_eq!(counts.answered + counts.lost, counts.sent);
        prop_assert_eq!(counts.lost, lost_there + lost_back);
        prop_assert_eq!(counts.duplicates, twice);
        prop_assert_eq!(counts.lost_forward + counts.lost_backward + counts.lost_somewhere, counts.lost);
        prop_assert_eq!((counts.late, counts.clock_steps, counts.restarts), (0, 0, 0));
        if !overtaking {
            prop_assert_eq!((counts.lost_forward, counts.lost_backward), (lost_there, lost_back));
            prop_assert_eq!((counts.reordered_forward, counts.reordered_backward), (0, 0));
        }
    }
}
