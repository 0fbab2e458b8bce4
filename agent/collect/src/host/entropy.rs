//! Bits of entropy that the kernel holds, of how many it can.
//!
//! Source: `/proc/sys/kernel/random` (random(4)).

use super::{Cadence, Collector};
use crate::bytes::number;
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Entropy;

impl Collector for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for (path, name) in [
            (
                "sys/kernel/random/entropy_avail",
                "node_entropy_available_bits",
            ),
            ("sys/kernel/random/poolsize", "node_entropy_pool_size_bits"),
        ] {
            let Some(content) = problems.check(out.files.read(Base::Proc, path)) else {
                continue;
            };
            match number(content.trim_ascii()) {
                Some(value) => out.samples.put(name, &[], value as f64),
                None => problems.malformed(path, "a number was expected"),
            }
        }
        problems.finish()
    }
}
