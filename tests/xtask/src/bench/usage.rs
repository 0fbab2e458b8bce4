//! Memory and CPU time of a program and all processes below it.

use std::collections::BTreeMap;
use std::fs;

/// Clock ticks per second in `/proc/PID/stat`; fixed at 100 for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and everything that it started and that still runs.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let mut parents: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(parent) = columns(id).and_then(|columns| columns.get(1)?.parse().ok()) {
            parents.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(id) = found.get(next).copied() {
        found.extend(parents.remove(&id).unwrap_or_default());
        next += 1;
    }
    found
}

/// Proportional set size of all of them, MiB. Source: `smaps_rollup` (proc(5)).
pub(super) fn pss_mib(root: u32) -> f64 {
    let kilobytes = |id: u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    tree(root).into_iter().filter_map(kilobytes).sum::<f64>() / 1024.0
}

/// CPU time of all of them and of those that they have waited for, seconds.
pub(super) fn cpu_s(root: u32) -> f64 {
    let ticks = |id: u32| -> Option<f64> {
        columns(id)?
            .iter()
            .skip(11)
            .take(4)
            .map(|column| column.parse::<f64>().ok())
            .sum()
    };
    tree(root).into_iter().filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// CPU time of the programs that this one started and waited for, seconds.
pub(super) fn waited_cpu_s() -> f64 {
    let columns = columns(std::process::id()).unwrap_or_default();
    let waited = columns.iter().skip(13).take(2);
    let ticks: f64 = waited.filter_map(|column| column.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// The columns of `/proc/PID/stat` after the command's closing bracket: state, parent, …
fn columns(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}
