//! Packets that each processor took from the network cards, dropped, or had to leave for later.
//!
//! Source: `/proc/net/softnet_stat`, hexadecimal columns. Since kernel 5.10 the thirteenth column
//! numbers the processor; before that it is the line's position.

use super::{Cadence, Collector};
use crate::bytes::{hexadecimal, lines, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

pub(super) struct Softnet;

impl Collector for Softnet {
    fn name(&self) -> &'static str {
        "softnet"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for (position, line) in (0u64..).zip(lines(out.files.read(Base::Proc, "net/softnet_stat")?))
        {
            if processor(position, line, &mut out.samples).is_none() {
                problems.malformed("net/softnet_stat", "a line lacks its hexadecimal columns");
            }
        }
        problems.finish()
    }
}

fn processor(position: u64, line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut fields = words(line);
    let processed = hexadecimal(fields.next()?)?;
    let dropped = hexadecimal(fields.next()?)?;
    let squeezed = hexadecimal(fields.next()?)?;
    let processor = match fields.nth(9) {
        Some(word) => hexadecimal(word)?,
        None => position,
    };
    for (name, value) in [
        ("node_softnet_processed_total", processed),
        ("node_softnet_dropped_total", dropped),
        ("node_softnet_times_squeezed_total", squeezed),
    ] {
        samples.put_numbered(name, "cpu", processor, value as f64);
    }
    Some(())
}
