//! Seconds that each processor spent in each mode.
//!
//! Source: the `cpuN` lines of `/proc/stat` (proc(5)), in ticks of 1/100 s. Kernels before 2.6.33
//! and some containers leave the last columns out; a mode that has no column has no sample.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::kernel;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();

/// A step back of idle time by at least this many ticks means that the processor was taken out and
/// put in again; anything smaller is the kernel's known wobble of idle and iowait.
const HOTPLUG_TICKS: u64 = 300;

/// Keeps the highest ticks seen per processor: `rate()` would take a wobble for a counter reset.
#[derive(Default)]
pub(super) struct Cpu {
    highest: Vec<(u64, [u64; COLUMNS])>,
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut seen = 0;
        for line in lines(out.files.read(Base::Proc, "stat")?) {
            let Some(rest) = line.strip_prefix(b"cpu") else {
                break;
            };
            if rest.first().is_some_and(u8::is_ascii_digit) {
                seen += 1;
                if self.processor(rest, &mut out.samples).is_none() {
                    problems.malformed(
                        "stat",
                        "a processor's line holds something else than numbers",
                    );
                }
            }
        }
        if seen == 0 {
            problems.malformed("stat", "no processor is listed");
        }
        problems.finish()
    }
}

impl Cpu {
    fn processor(&mut self, line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
        let mut fields = words(line);
        let label = fields.next()?;
        let mut ticks = [0; COLUMNS];
        let mut columns = 0;
        for (slot, word) in ticks.iter_mut().zip(fields) {
            *slot = number(word)?;
            columns += 1;
        }
        let ticks = self.monotonic(number(label)?, ticks);
        let label = text(label);
        for (column, value) in ticks.iter().enumerate().take(columns) {
            let seconds = *value as f64 / kernel::ticks_per_second();
            let (name, mode) = series_of(column)?;
            samples.put(name, &[("cpu", &label), ("mode", mode)], seconds);
        }
        (columns > 0).then_some(())
    }

    fn monotonic(&mut self, processor: u64, ticks: [u64; COLUMNS]) -> [u64; COLUMNS] {
        let known = self
            .highest
            .iter_mut()
            .find(|(number, _)| *number == processor);
        let Some((_, highest)) = known else {
            self.highest.push((processor, ticks));
            return ticks;
        };
        let idle = |ticks: &[u64; COLUMNS]| ticks.get(3).copied().unwrap_or(0);
        if idle(highest).saturating_sub(idle(&ticks)) >= HOTPLUG_TICKS {
            *highest = ticks;
        }
        for (high, now) in highest.iter_mut().zip(ticks) {
            *high = now.max(*high);
        }
        *highest
    }
}

fn series_of(column: usize) -> Option<(&'static str, &'static str)> {
    if let Some(mode) = MODES.get(column) {
        return Some(("node_cpu_seconds_total", mode));
    }
    let mode = GUEST_MODES.get(column.checked_sub(MODES.len())?)?;
    Some(("node_cpu_guest_seconds_total", mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_held_and_a_large_one_is_a_new_start() {
        let mut cpu = Cpu::default();
        let with_idle = |idle| [5, 0, 0, idle, 7, 0, 0, 0, 0, 0];
        cpu.monotonic(0, with_idle(1000));
        assert_eq!(cpu.monotonic(0, with_idle(999)), with_idle(1000));
        assert_eq!(cpu.monotonic(0, with_idle(10)), with_idle(10));
        assert_eq!(cpu.monotonic(1, with_idle(3)), with_idle(3));
    }
}
