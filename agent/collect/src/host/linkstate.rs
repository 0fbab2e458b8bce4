//! Whether each interface's link is up, and how often it changed.
//!
//! Source: `/sys/class/net/*` (kernel document ABI/testing/sysfs-class-net). Separate from
//! `netclass` because a pulled cable should be seen in the next report, not in the next minute.

use super::netdev::MAX_INTERFACES;
use super::{Cadence, Collector};
use crate::bytes::signed;
use crate::error::{CollectError, Problems};
use crate::files::{Base, Names};
use crate::readings::Readings;
use crate::root::HostRoot;

#[derive(Default)]
pub(super) struct Linkstate {
    names: Names,
}

impl Collector for Linkstate {
    fn name(&self) -> &'static str {
        "linkstate"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        problems.check(out.files.list(Base::Sys, &["class/net"], &mut self.names));
        for name in self.names.iter().take(MAX_INTERFACES) {
            let Readings { files, samples } = out;
            let labels = [("device", name)];
            let path = |file| ["class/net/", name, "/", file];
            if let Some(state) = files.attribute(Base::Sys, &path("operstate")) {
                let up = if state == b"up" { 1.0 } else { 0.0 };
                samples.put("node_network_up", &labels, up);
            }
            for (file, series) in [
                ("carrier", "node_network_carrier"),
                ("carrier_changes", "node_network_carrier_changes_total"),
            ] {
                // `carrier` of an interface that is switched off answers "invalid argument".
                if let Some(value) = files.attribute(Base::Sys, &path(file)).and_then(signed) {
                    samples.put(series, &labels, value as f64);
                }
            }
        }
        problems.finish()
    }
}
