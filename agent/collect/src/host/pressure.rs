//! Seconds that work waited for, or was stalled by, processors, storage and memory.
//!
//! Source: `/proc/pressure/*` (kernel document accounting/psi), from kernel 4.20. Older kernels
//! and those started with `psi=0` do not offer it; run-queue length and iowait remain.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// Resource, file, series of `some` and of `full`.
const RESOURCES: [(&str, &str, Option<&str>); 3] = [
    (
        "pressure/cpu",
        "node_pressure_cpu_waiting_seconds_total",
        None,
    ),
    (
        "pressure/io",
        "node_pressure_io_waiting_seconds_total",
        Some("node_pressure_io_stalled_seconds_total"),
    ),
    (
        "pressure/memory",
        "node_pressure_memory_waiting_seconds_total",
        Some("node_pressure_memory_stalled_seconds_total"),
    ),
];

pub(super) struct Pressure;

impl Collector for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for (path, some, full) in RESOURCES {
            let read = match out.files.read(Base::Proc, path) {
                Err(error) if is_not_offered(&error) => return Err(NOT_OFFERED),
                read => read,
            };
            let Some(content) = problems.check(read) else {
                continue;
            };
            if resource(content, some, full, &mut out.samples).is_none() {
                problems.malformed(path, "no line `some … total=microseconds`");
            }
        }
        problems.finish()
    }
}

const NOT_OFFERED: CollectError = CollectError::NoData(
    "pressure stall information needs kernel 4.20 with PSI switched on; load and iowait remain",
);

/// With `psi=0` the files exist but every read answers "operation not supported".
fn is_not_offered(error: &CollectError) -> bool {
    let unsupported = |source: &std::io::Error| {
        source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
    };
    error.is_not_found()
        || matches!(error, CollectError::Read { source, .. } if unsupported(source))
}

fn resource(
    content: &[u8],
    some: &str,
    full: Option<&str>,
    samples: &mut Samples<'_>,
) -> Option<()> {
    let mut found = None;
    for line in lines(content) {
        let mut fields = words(line);
        let series = match fields.next()? {
            b"some" => Some(some),
            b"full" => full,
            _ => None,
        };
        let total = fields
            .find_map(|word| word.strip_prefix(b"total="))
            .and_then(number)?;
        if let Some(series) = series {
            samples.put(series, &[], total as f64 / 1e6);
            found = Some(());
        }
    }
    found
}
