//! What each disk read, wrote, discarded and flushed, and how long that took.
//!
//! Source: `/proc/diskstats` (kernel document admin-guide/iostats). Kernels before 4.18 print 14
//! columns, before 5.5 they print 18: what has no column has no sample. Partitions and loop, ram
//! and floppy devices are left out, as node_exporter does.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// Series per column, with the number that a column's value is divided by and multiplied with.
const COLUMNS: [(&str, f64, f64); 17] = [
    ("node_disk_reads_completed_total", 1.0, 1.0),
    ("node_disk_reads_merged_total", 1.0, 1.0),
    ("node_disk_read_bytes_total", 1.0, SECTOR_BYTES),
    ("node_disk_read_time_seconds_total", 1000.0, 1.0),
    ("node_disk_writes_completed_total", 1.0, 1.0),
    ("node_disk_writes_merged_total", 1.0, 1.0),
    ("node_disk_written_bytes_total", 1.0, SECTOR_BYTES),
    ("node_disk_write_time_seconds_total", 1000.0, 1.0),
    ("node_disk_io_now", 1.0, 1.0),
    ("node_disk_io_time_seconds_total", 1000.0, 1.0),
    ("node_disk_io_time_weighted_seconds_total", 1000.0, 1.0),
    ("node_disk_discards_completed_total", 1.0, 1.0),
    ("node_disk_discards_merged_total", 1.0, 1.0),
    ("node_disk_discarded_sectors_total", 1.0, 1.0),
    ("node_disk_discard_time_seconds_total", 1000.0, 1.0),
    ("node_disk_flush_requests_total", 1.0, 1.0),
    ("node_disk_flush_requests_time_seconds_total", 1000.0, 1.0),
];

/// The kernel counts sectors of 512 bytes, whatever the disk's own block is.
const SECTOR_BYTES: f64 = 512.0;

pub(super) struct Diskstats;

impl Collector for Diskstats {
    fn name(&self) -> &'static str {
        "diskstats"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        for line in lines(out.files.read(Base::Proc, "diskstats")?) {
            if disk(line, &mut out.samples).is_none() {
                problems.malformed("diskstats", "a disk's line lacks its name or its numbers");
            }
        }
        problems.finish()
    }
}

fn disk(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let mut fields = words(line);
    number(fields.next()?)?;
    number(fields.next()?)?;
    let device = text(fields.next()?);
    if is_ignored(&device) {
        return Some(());
    }
    let mut columns = 0;
    for ((name, divisor, factor), word) in COLUMNS.iter().zip(fields) {
        let value = number(word)? as f64 / divisor * factor;
        samples.put(name, &[("device", &device)], value);
        columns += 1;
    }
    (columns >= 11).then_some(())
}

/// node_exporter's `^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
pub(super) fn is_ignored(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    matches!(stem, "ram" | "loop" | "fd") || is_disk_letter(stem) || is_nvme_partition(stem)
}

/// `sda`, `hdb`, `vdc`, `xvdd`: what stands before a partition's number.
fn is_disk_letter(stem: &str) -> bool {
    ["hd", "sd", "vd", "xvd"]
        .iter()
        .filter_map(|prefix| stem.strip_prefix(prefix))
        .any(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// `nvme0n1p`: what stands before a partition's number.
fn is_nvme_partition(stem: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stem.strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .and_then(|rest| rest.split_once('n'))
        .is_some_and(|(controller, namespace)| is_number(controller) && is_number(namespace))
}

#[cfg(test)]
mod tests {
    use super::is_ignored;

    #[test]
    fn partitions_and_memory_devices_are_ignored_and_disks_are_not() {
        for device in [
            "ram0",
            "loop12",
            "fd0",
            "sda1",
            "hdb2",
            "vdc10",
            "xvda1",
            "nvme0n1p3",
        ] {
            assert!(is_ignored(device), "{device}");
        }
        for device in [
            "sda",
            "sdaa",
            "sdaa1",
            "vda",
            "nvme0n1",
            "dm-0",
            "md127",
            "zram0",
            "mmcblk0p1",
            "nvmep1",
            "",
        ] {
            assert!(!is_ignored(device), "{device}");
        }
    }
}
