//! Address, speed, size limits and flags of each network interface.
//!
//! Source: `/sys/class/net/*` (kernel document ABI/testing/sysfs-class-net). Link state is in
//! `linkstate`. Constants of a driver that no dashboard shows are left out; see
//! `tests/node_exporter_differences.txt`.

use super::netdev::MAX_INTERFACES;
use super::{Cadence, Collector};
use crate::bytes::{hexadecimal, signed, text};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files, Names};
use crate::readings::Readings;
use crate::root::HostRoot;

/// File, series, and what its value is multiplied with.
const FIELDS: [(&str, &str, f64); 8] = [
    (
        "carrier_up_count",
        "node_network_carrier_up_changes_total",
        1.0,
    ),
    (
        "carrier_down_count",
        "node_network_carrier_down_changes_total",
        1.0,
    ),
    ("flags", "node_network_flags", 1.0),
    ("ifindex", "node_network_iface_id", 1.0),
    ("mtu", "node_network_mtu_bytes", 1.0),
    // The kernel says Mbit/s; -1 where the driver does not know.
    ("speed", "node_network_speed_bytes", 125_000.0),
    ("tx_queue_len", "node_network_transmit_queue_length", 1.0),
    ("type", "node_network_protocol_type", 1.0),
];

#[derive(Default)]
pub(super) struct Netclass {
    names: Names,
}

impl Collector for Netclass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        problems.check(out.files.list(Base::Sys, &["class/net"], &mut self.names));
        if self.names.len() > MAX_INTERFACES {
            let limit = MAX_INTERFACES;
            problems.add(CollectError::TooMany {
                what: "network interfaces",
                limit,
            });
        }
        for name in self.names.iter().take(MAX_INTERFACES) {
            if attribute(out.files, name, "ifindex").is_none() {
                // `bonding_masters` is a file among the interfaces.
                continue;
            }
            information(name, out);
            for (file, series, factor) in FIELDS {
                if let Some(value) = attribute(out.files, name, file).and_then(number) {
                    out.samples
                        .put(series, &[("device", name)], value as f64 * factor);
                }
            }
        }
        problems.finish()
    }
}

fn information(name: &str, out: &mut Readings<'_>) {
    let mut read = |file| {
        let value = attribute(out.files, name, file)
            .map(text)
            .unwrap_or_default();
        value.into_owned()
    };
    let [address, broadcast, duplex, ifalias, operstate] =
        ["address", "broadcast", "duplex", "ifalias", "operstate"].map(&mut read);
    let labels = [
        ("address", address.as_str()),
        ("broadcast", &broadcast),
        ("device", name),
        ("duplex", &duplex),
        ("ifalias", &ifalias),
        ("operstate", &operstate),
    ];
    out.samples.put("node_network_info", &labels, 1.0);
}

fn attribute<'a>(files: &'a mut Files, name: &str, file: &str) -> Option<&'a [u8]> {
    files.attribute(Base::Sys, &["class/net/", name, "/", file])
}

fn number(word: &[u8]) -> Option<i64> {
    if word.starts_with(b"0x") {
        return i64::try_from(hexadecimal(word)?).ok();
    }
    signed(word)
}
