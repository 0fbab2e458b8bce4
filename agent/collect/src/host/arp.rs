//! Neighbours on each interface: how many addresses the host has resolved or tries to.
//!
//! Source: `/proc/net/arp` (arp(7)).

use super::netdev::MAX_INTERFACES;
use super::{Cadence, Collector};
use crate::bytes::{lines, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Arp;

impl Collector for Arp {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut counts: Vec<(String, u32)> = Vec::new();
        // A line of headings comes first.
        for line in lines(out.files.read(Base::Proc, "net/arp")?).skip(1) {
            let Some(device) = words(line).nth(5).map(text) else {
                problems.malformed("net/arp", "a line lacks its device");
                continue;
            };
            if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == device) {
                *count += 1;
            } else if counts.len() < MAX_INTERFACES {
                counts.push((device.into_owned(), 1));
            }
        }
        for (device, count) in &counts {
            out.samples
                .put("node_arp_entries", &[("device", device)], f64::from(*count));
        }
        problems.finish()
    }
}
