//! Connections that the firewall tracks, their limit, and what went wrong while tracking.
//!
//! Source: `/proc/sys/net/netfilter` and `/proc/net/stat/nf_conntrack` (hexadecimal, a line per
//! processor). Both are absent while connection tracking is not loaded.

use super::{Cadence, Collector};
use crate::bytes::{hexadecimal, lines, number, words};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Files};
use crate::readings::Readings;
use crate::root::HostRoot;

/// Column and series; the columns kept their places from kernel 4.x to 6.x.
const COLUMNS: [(usize, &str); 8] = [
    (2, "node_nf_conntrack_stat_found"),
    (4, "node_nf_conntrack_stat_invalid"),
    (5, "node_nf_conntrack_stat_ignore"),
    (8, "node_nf_conntrack_stat_insert"),
    (9, "node_nf_conntrack_stat_insert_failed"),
    (10, "node_nf_conntrack_stat_drop"),
    (11, "node_nf_conntrack_stat_early_drop"),
    (16, "node_nf_conntrack_stat_search_restart"),
];

pub(super) struct Conntrack;

impl Collector for Conntrack {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for (path, name) in [
            (
                "sys/net/netfilter/nf_conntrack_count",
                "node_nf_conntrack_entries",
            ),
            (
                "sys/net/netfilter/nf_conntrack_max",
                "node_nf_conntrack_entries_limit",
            ),
        ] {
            match single(out.files, path) {
                Ok(value) => out.samples.put(name, &[], value as f64),
                Err(error) if error.is_not_found() => {
                    return Err(CollectError::NoData("connection tracking is not loaded"));
                }
                Err(error) => problems.add(error),
            }
        }
        let content = problems.check(out.files.read(Base::Proc, "net/stat/nf_conntrack"));
        match content.map(sums) {
            Some(Some(sums)) => {
                for ((_, name), sum) in COLUMNS.iter().zip(sums) {
                    out.samples.put(name, &[], sum as f64);
                }
            }
            Some(None) => problems.malformed("net/stat/nf_conntrack", "a column is missing"),
            None => {}
        }
        problems.finish()
    }
}

fn single(files: &mut Files, path: &'static str) -> Result<u64, CollectError> {
    number(files.read(Base::Proc, path)?.trim_ascii()).ok_or(CollectError::Malformed {
        path,
        what: "a number was expected",
    })
}

/// The sums over all processors.
fn sums(content: &[u8]) -> Option<[u64; COLUMNS.len()]> {
    let mut sums = [0u64; COLUMNS.len()];
    let mut any = None;
    for line in lines(content).skip(1) {
        for ((column, _), sum) in COLUMNS.iter().zip(sums.iter_mut()) {
            let value = hexadecimal(words(line).nth(*column)?)?;
            *sum = sum.saturating_add(value);
        }
        any = Some(());
    }
    any.map(|()| sums)
}
