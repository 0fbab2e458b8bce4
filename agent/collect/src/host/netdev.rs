//! What each network interface received and sent; the loopback interface is left out, as
//! node_exporter does.
//!
//! Source: `/proc/net/dev` (proc(5)).

use super::{Cadence, Collector};
use crate::bytes::{lines, number, text, trimmed, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// Most interfaces that are reported; a container host may have thousands.
pub(super) const MAX_INTERFACES: usize = 256;

const COLUMNS: [&str; 16] = [
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_receive_errs_total",
    "node_network_receive_drop_total",
    "node_network_receive_fifo_total",
    "node_network_receive_frame_total",
    "node_network_receive_compressed_total",
    "node_network_receive_multicast_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_fifo_total",
    "node_network_transmit_colls_total",
    "node_network_transmit_carrier_total",
    "node_network_transmit_compressed_total",
];

pub(super) struct Netdev;

impl Collector for Netdev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let content = out.files.read(Base::Proc, "net/dev")?;
        // Two lines of headings come first.
        for (index, line) in lines(content).skip(2).enumerate() {
            if index > MAX_INTERFACES {
                let limit = MAX_INTERFACES;
                problems.add(CollectError::TooMany {
                    what: "network interfaces",
                    limit,
                });
                break;
            }
            if interface(line, &mut out.samples).is_none() {
                problems.malformed("net/dev", "an interface's line lacks its sixteen numbers");
            }
        }
        problems.finish()
    }
}

fn interface(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    // The last colon: the name of an alias interface may hold one.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let name = text(trimmed(line.get(..colon)?));
    let mut fields = words(line.get(colon + 1..)?);
    if name == "lo" {
        return Some(());
    }
    for series in COLUMNS {
        samples.put(series, &[("device", &name)], number(fields.next()?)? as f64);
    }
    Some(())
}
