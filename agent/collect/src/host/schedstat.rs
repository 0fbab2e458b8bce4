//! Seconds that each processor ran tasks, that tasks waited for it, and time slices.
//!
//! Source: `/proc/schedstat` (kernel document scheduler/sched-stats), where the kernel was built
//! with it. Nanoseconds are rounded down to milliseconds: the digits below are noise that would
//! cost seven bytes per series and report on the line.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

pub(super) struct Schedstat;

impl Collector for Schedstat {
    fn name(&self) -> &'static str {
        "schedstat"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let content = match out.files.read(Base::Proc, "schedstat") {
            Err(error) if error.is_not_found() => {
                return Err(CollectError::NoData(
                    "the kernel keeps no scheduler statistics; processor seconds per mode remain",
                ));
            }
            content => content?,
        };
        for line in lines(content) {
            let Some(rest) = line.strip_prefix(b"cpu") else {
                continue;
            };
            if processor(rest, &mut out.samples).is_none() {
                problems.malformed("schedstat", "a processor's line lacks its nine numbers");
            }
        }
        problems.finish()
    }
}

fn processor(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut fields = words(line);
    let label = text(fields.next()?);
    let mut fields = fields.skip(6);
    let running = number(fields.next()?)?;
    let waiting = number(fields.next()?)?;
    let slices = number(fields.next()?)?;
    let seconds = |nanoseconds: u64| (nanoseconds / 1_000_000) as f64 / 1e3;
    let labels = [("cpu", label.as_ref())];
    samples.put(
        "node_schedstat_running_seconds_total",
        &labels,
        seconds(running),
    );
    samples.put(
        "node_schedstat_waiting_seconds_total",
        &labels,
        seconds(waiting),
    );
    samples.put("node_schedstat_timeslices_total", &labels, slices as f64);
    Some(())
}
