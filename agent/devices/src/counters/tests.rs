//! Counters, case by case, and against a model of a port: what Prometheus's `increase` would see is never
//! more than what the port could carry.

use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Octets of a port of 1 Gbit/s.
const GIGABIT: Limit = Limit {
    told: Some(125_000_000),
    ceiling: 200_000_000_000,
    seldom: false,
};

fn told(raw: u64, narrow: bool, limit: Option<Limit>) -> Told {
    Told {
        raw,
        narrow,
        limit,
        elapsed: MINUTE,
        now_ms: 60_000,
        restarted: false,
        discontinued: false,
        forgotten: false,
    }
}

fn before(raw: u64, correction: u64) -> Counter {
    Counter {
        raw,
        correction,
        seen_ms: 0,
        doubts: 0,
    }
}

/// The sample and the gap after `raw` was told following `before`.
fn judged(before: Counter, told: Told) -> Result<u64, Gap> {
    match told.judge(Some(&before)) {
        (counter, None) => Ok(counter.sample()),
        (counter, Some(gap)) => {
            assert_eq!(counter.sample(), 0, "the next one counts from zero");
            Err(gap)
        }
    }
}

#[test]
fn a_counter_that_goes_on_keeps_its_correction() {
    assert_eq!(judged(before(100, 5), told(250, false, None)), Ok(255));
    let most = 125_000_000 * 61 * 11 / 10;
    assert_eq!(
        judged(before(0, 0), told(most, false, Some(GIGABIT))),
        Ok(most)
    );
    assert_eq!(
        judged(before(0, 0), told(most + 1, false, Some(GIGABIT))),
        Err(Gap::TooFast)
    );
}

#[test]
fn a_32_bit_counter_wraps_and_goes_on() {
    let near = NARROW - 1000;
    for limit in [None, Some(GIGABIT)] {
        assert_eq!(
            judged(before(near, 0), told(500, true, limit)),
            Ok(NARROW + 500)
        );
        assert_eq!(
            judged(before(near, NARROW), told(500, true, limit)),
            Ok(2 * NARROW + 500)
        );
    }
    // Somebody cleared the counters: nobody can know what passed.
    assert_eq!(
        judged(before(1000, 0), told(0, true, None)),
        Err(Gap::Decreased)
    );
    // At 10 Mbit/s no 4 GB pass in a minute.
    let slow = Limit {
        told: Some(1_250_000),
        ..GIGABIT
    };
    assert_eq!(
        judged(before(1_000_000, 0), told(0, true, Some(slow))),
        Err(Gap::Decreased)
    );
    // Errors that were cleared on a port so fast that as many packets could have passed.
    let errors = Limit {
        told: Some(195_000_000),
        seldom: true,
        ..GIGABIT
    };
    assert_eq!(
        judged(before(1000, 0), told(0, true, Some(errors))),
        Err(Gap::Decreased)
    );
}

#[test]
fn a_64_bit_counter_that_goes_back_leaves_a_gap_and_counts_from_zero() {
    let (reset, gap) = told(40, false, Some(GIGABIT)).judge(Some(&before(1000, 0)));
    assert_eq!(gap, Some(Gap::Decreased));
    assert_eq!(judged(reset, told(100, false, Some(GIGABIT))), Ok(60));
}

#[test]
fn a_restart_is_a_reset_without_a_gap_if_the_counter_began_again() {
    let restarted = |raw| Told {
        restarted: true,
        ..told(raw, false, Some(GIGABIT))
    };
    assert_eq!(judged(before(9_000_000, 77), restarted(50)), Ok(50));
    // Only the SNMP service restarted: the port's counter went on, and so does its sample.
    assert_eq!(judged(before(100, 77), restarted(150)), Ok(227));
    // More than passed since it started: it did not begin at zero.
    assert_eq!(
        judged(before(u64::MAX / 2, 0), restarted(u64::MAX / 4)),
        Err(Gap::TooFast)
    );
}

#[test]
fn counters_that_the_device_says_broke_off_leave_a_gap() {
    let broken = Told {
        discontinued: true,
        ..told(200, false, None)
    };
    assert_eq!(judged(before(100, 0), broken), Err(Gap::Discontinuity));
}

#[test]
fn a_speed_that_is_wrong_is_found_out() {
    let lie = Limit {
        told: Some(1_250_000),
        ..GIGABIT
    };
    let mut counter = before(0, 0);
    let mut gaps = 0;
    for poll in 1..10_u64 {
        let (next, gap) = told(poll * 3_000_000_000, false, Some(lie)).judge(Some(&counter));
        gaps += usize::from(gap.is_some());
        counter = next;
    }
    assert_eq!(gaps, 3);
    assert_eq!(counter.sample(), 6 * 3_000_000_000);
}

#[test]
fn a_lost_memory_begins_at_zero_and_a_new_counter_at_what_it_tells() {
    assert_eq!(told(500, false, None).judge(None).0.sample(), 500);
    let lost = Told {
        forgotten: true,
        ..told(500, false, None)
    };
    assert_eq!(lost.judge(None).0.sample(), 0);
}

/// What happens to a port between two polls.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Nothing,
    /// The device starts again, at this part of the time.
    Restart,
    /// As that, but nobody can tell.
    HiddenRestart,
    /// Its SNMP service alone starts again.
    ServiceRestart,
    /// Somebody clears the counters.
    Cleared,
    /// The counters break off, and the device says so.
    BrokeOff,
    /// The memory is lost.
    Forgotten,
    /// The device tells a number that is none.
    Glitch(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => Just(Happens::Nothing),
        1 => Just(Happens::Restart),
        1 => Just(Happens::HiddenRestart),
        1 => Just(Happens::ServiceRestart),
        1 => Just(Happens::Cleared),
        1 => Just(Happens::BrokeOff),
        1 => Just(Happens::Forgotten),
        1 => any::<u64>().prop_map(Happens::Glitch),
    ]
}

/// A port with its true traffic, and the increase that Prometheus would see.
struct Port {
    speed: u64,
    narrow: bool,
    limit: Limit,
    true_count: u64,
    memory: Option<Counter>,
    last_sample: Option<u64>,
    seen: u64,
    could_carry: u128,
    carried: u64,
    glitches: u8,
}

impl Port {
    fn new(speed: u64, narrow: bool, start: u64) -> Self {
        Self {
            speed,
            narrow,
            limit: Limit {
                told: Some(speed),
                ceiling: speed.max(200_000_000_000),
                seldom: false,
            },
            true_count: if narrow { start % NARROW } else { start >> 1 },
            memory: None,
            last_sample: None,
            seen: 0,
            could_carry: 0,
            carried: 0,
            glitches: 0,
        }
    }

    fn poll(&mut self, seconds: u64, load: f64, happens: Happens) {
        let traffic = (self.speed as f64 * seconds as f64 * load) as u64;
        let elapsed = Duration::from_secs(seconds);
        self.could_carry += u128::from(self.speed) * (elapsed.as_millis() + 1000) * 11 / 10_000;
        self.carried += traffic;
        self.true_count = match happens {
            Happens::Restart | Happens::HiddenRestart | Happens::Cleared | Happens::BrokeOff => {
                traffic / 2
            }
            _ => self.true_count.wrapping_add(traffic),
        };
        let forgotten = matches!(happens, Happens::Forgotten);
        if forgotten {
            self.memory = None;
        }
        let raw = match happens {
            Happens::Glitch(raw) => raw,
            _ => self.true_count,
        };
        let told = Told {
            raw: if self.narrow { raw % NARROW } else { raw },
            narrow: self.narrow,
            limit: Some(self.limit),
            elapsed,
            now_ms: 0,
            restarted: matches!(happens, Happens::Restart | Happens::ServiceRestart),
            discontinued: matches!(happens, Happens::BrokeOff),
            forgotten,
        };
        let (counter, gap) = told.judge(self.memory.as_ref());
        self.glitches = counter.doubts.max(self.glitches);
        self.memory = Some(counter);
        if gap.is_some() {
            return;
        }
        let sample = counter.sample();
        self.seen += match self.last_sample {
            None => 0,
            Some(last) if sample < last => sample,
            Some(last) => sample - last,
        };
        self.last_sample = Some(sample);
    }
}

proptest! {
    #[test]
    fn there_is_never_a_spike(
        speed in 125_000_u64..12_500_000_000, narrow in any::<bool>(), start in any::<u64>(),
        polls in prop::collection::vec((5_u64..600, 0.0_f64..1.0, happens()), 2..60)
    ) {
        let mut port = Port::new(speed, narrow, start);
        port.poll(60, 0.5, Happens::Nothing);
        for (seconds, load, happens) in polls {
            port.poll(seconds, load, happens);
            // A speed that three glitches in a row made doubtful is no bound any more.
            if port.glitches >= DOUBTS {
                return Ok(());
            }
            prop_assert!(u128::from(port.seen) <= port.could_carry, "{happens:?}");
        }
    }

    #[test]
    fn without_a_fault_nothing_is_lost(
        speed in 125_000_u64..12_500_000_000, narrow in any::<bool>(), start in any::<u64>(),
        polls in prop::collection::vec((5_u64..120, 0.0_f64..1.0), 2..60)
    ) {
        let mut port = Port::new(speed, narrow, start);
        port.poll(60, 0.5, Happens::Nothing);
        let first = port.carried;
        for (seconds, load) in polls {
            // What passes twice round a 32-bit counter between two polls is seen by nobody.
            let load = if narrow { load.min(3e9 / (speed as f64 * seconds as f64)) } else { load };
            port.poll(seconds, load, Happens::Nothing);
        }
        prop_assert_eq!(port.seen, port.carried - first);
    }
}
