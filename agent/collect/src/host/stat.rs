//! Interrupts, context switches, forks, boot time, and processes running or blocked.
//!
//! Source: `/proc/stat` (proc(5)).

use super::{Cadence, Collector};
use crate::bytes::{lines, number, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

const SERIES: [(&[u8], &str); 6] = [
    (b"intr", "node_intr_total"),
    (b"ctxt", "node_context_switches_total"),
    (b"btime", "node_boot_time_seconds"),
    (b"processes", "node_forks_total"),
    (b"procs_running", "node_procs_running"),
    (b"procs_blocked", "node_procs_blocked"),
];

pub(super) struct Stat;

impl Collector for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut found = 0;
        for line in lines(out.files.read(Base::Proc, "stat")?) {
            let mut fields = words(line);
            let key = fields.next().unwrap_or_default();
            let Some((_, name)) = SERIES.iter().find(|(known, _)| *known == key) else {
                continue;
            };
            match fields.next().and_then(number) {
                Some(value) => out.samples.put(name, &[], value as f64),
                None => problems.malformed("stat", "a counter is not a number"),
            }
            found += 1;
        }
        if found < SERIES.len() {
            problems.malformed("stat", "a counter is missing");
        }
        problems.finish()
    }
}
