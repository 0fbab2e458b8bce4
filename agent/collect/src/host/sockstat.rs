//! Sockets in use and the memory that they hold.
//!
//! Source: `/proc/net/sockstat` and `/proc/net/sockstat6` (proc(5)). `mem` counts pages.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, split_once, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::kernel;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

const FIELDS: [&[u8]; 6] = [b"inuse", b"orphan", b"tw", b"alloc", b"mem", b"memory"];

pub(super) struct Sockstat;

impl Collector for Sockstat {
    fn name(&self) -> &'static str {
        "sockstat"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut absent = 0;
        for path in ["net/sockstat", "net/sockstat6"] {
            let content = match out.files.read(Base::Proc, path) {
                // Absent where that version of IP is switched off.
                Err(error) if error.is_not_found() => {
                    absent += 1;
                    continue;
                }
                content => content,
            };
            for line in problems.check(content).into_iter().flat_map(lines) {
                if protocol(line, &mut out.samples).is_none() {
                    problems.malformed(path, "a line is not `protocol: name number …`");
                }
            }
        }
        if absent == 2 {
            problems.add(CollectError::NoData("the kernel has no IP networking"));
        }
        problems.finish()
    }
}

fn protocol(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let (protocol, rest) = split_once(line, b':')?;
    let mut fields = words(rest);
    while let Some(field) = fields.next() {
        let value = number(fields.next()?)?;
        if protocol == b"sockets" {
            samples.put("node_sockstat_sockets_used", &[], value as f64);
            continue;
        }
        if !FIELDS.contains(&field) {
            continue;
        }
        let parts = ["node_sockstat_", &text(protocol), "_", &text(field)];
        samples.put_parts(&parts, &[], value as f64);
        if field == b"mem" {
            let parts = ["node_sockstat_", &text(protocol), "_mem_bytes"];
            samples.put_parts(&parts, &[], value as f64 * kernel::page_bytes() as f64);
        }
    }
    Some(())
}
