//! The three load averages.
//!
//! Source: `/proc/loadavg` (proc(5)).

use super::{Cadence, Collector};
use crate::bytes::{fraction, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct LoadAverage;

impl Collector for LoadAverage {
    fn name(&self) -> &'static str {
        "loadavg"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut fields = words(out.files.read(Base::Proc, "loadavg")?);
        for name in ["node_load1", "node_load5", "node_load15"] {
            match fields.next().and_then(fraction) {
                Some(value) => out.samples.put(name, &[], value),
                None => problems.malformed("loadavg", "three numbers were expected"),
            }
        }
        problems.finish()
    }
}
