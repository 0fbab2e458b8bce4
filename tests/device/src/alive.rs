//! Traffic: what a recording says stands still, so counters and clocks are moved on by the time since
//! the device was started. Each counter has a pace of its own, which rises and falls.

use std::time::Duration;

use xiezhi_profiles::{Oid, Value};

use crate::ber::{Message, Told};

/// `ifTable` and `ifXTable`; what else counts, counts slowly.
const PORTS: [&[u32]; 2] = [
    &[1, 3, 6, 1, 2, 1, 2, 2, 1],
    &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1],
];
/// `sysUpTime` and `snmpEngineTime`.
const UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
const ENGINE_TIME: &[u32] = &[1, 3, 6, 1, 6, 3, 10, 2, 1, 3, 0];

/// Moves an answer's counters and clocks on.
pub(crate) fn grow(answer: &mut Message, since: Duration) {
    let seconds = since.as_secs_f64();
    for (name, told) in &mut answer.bindings {
        let Told::Value(value) = told else { continue };
        match value {
            Value::Counter32(count) => *count = count.wrapping_add(grown(name, seconds) as u32),
            Value::Counter64(count) => *count = count.wrapping_add(grown(name, seconds)),
            Value::Ticks(ticks) if name.arcs() == UPTIME => {
                *ticks = ticks.wrapping_add((seconds * 100.0) as u32);
            }
            Value::Integer(time) if name.arcs() == ENGINE_TIME => {
                *time = time.wrapping_add(i32::try_from(since.as_secs()).unwrap_or(0));
            }
            _ => {}
        }
    }
}

/// How much a counter has grown.
fn grown(name: &Oid, seconds: f64) -> u64 {
    let (table, rest) = name.arcs().split_at(name.arcs().len().min(9));
    let (column, row) = match PORTS.iter().position(|&port| table == port) {
        Some(0) => rest.split_first().map_or((0, 0), |(c, r)| (*c, number(r))),
        // The wide columns in the narrow ones' numbers, so that both tell of the same traffic.
        _ => match name.arcs() {
            [1, 3, 6, 1, 2, 1, 31, 1, 1, 1, column, row @ ..] => {
                let narrow = [(6, 10), (7, 11), (10, 16), (11, 17)];
                let same = narrow.iter().find(|(wide, _)| wide == column);
                (same.map_or(*column, |(_, narrow)| *narrow), number(row))
            }
            _ => return (seconds / 60.0) as u64,
        },
    };
    // Bytes a second of this port and direction, from 10 kB to 1.2 MB.
    let spread = (row.wrapping_mul(2_654_435_761) >> 16) % 100;
    let bytes = 10_000.0 * (1.0 + f64::from(spread) * 1.2);
    let pace = match column {
        10 => bytes,
        16 => bytes / 3.0,
        11 => bytes / 900.0,
        17 => bytes / 1_800.0,
        // Errors and what was thrown away.
        13 | 14 | 19 | 20 => 0.002,
        _ => 0.5,
    };
    // Ten minutes up and down, and never backwards.
    let wave = 600.0 / std::f64::consts::TAU;
    let moved = seconds + 0.6 * wave * (seconds / wave + f64::from(spread)).sin()
        - 0.6 * wave * f64::from(spread).sin();
    (pace * moved.max(0.0)) as u64
}

fn number(row: &[u32]) -> u32 {
    row.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_never_goes_back() {
        let name = Oid::new(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6, 7]);
        let mut last = 0;
        for second in 0..4_000 {
            let now = grown(&name, f64::from(second));
            assert!(now >= last, "{second}");
            last = now;
        }
        assert!(last > 10_000_000, "{last}");
    }

    #[test]
    fn the_wide_and_the_narrow_counter_tell_of_the_same_traffic() {
        let narrow = Oid::new(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 10, 3]);
        let wide = Oid::new(&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6, 3]);
        assert_eq!(grown(&narrow, 100.0), grown(&wide, 100.0));
    }
}
