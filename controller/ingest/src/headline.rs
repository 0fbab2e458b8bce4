//! The few numbers of a host that a fleet list shows, read off its live frames.
//!
//! Which columns hold them is worked out once per chain; a frame then costs a few dozen additions.
//! Nothing here is stored: charts come from the series store.

use xiezhi_protocol::codec::Column;

/// Numbers of one host at one time; `None` where the host does not report what they need.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Headline {
    /// Time of the frame, Unix milliseconds by the host's clock.
    pub time_ms: i64,
    /// Share of CPU time that was not idle since the frame before, 0–100.
    pub cpu_busy_percent: Option<f64>,
    /// Memory that is not available to programs, 0–100.
    pub memory_used_percent: Option<f64>,
    /// The fullest writable filesystem, 0–100.
    pub filesystem_used_percent: Option<f64>,
    /// Load average over one minute.
    pub load1: Option<f64>,
    /// Seconds since boot.
    pub uptime_s: Option<f64>,
}

/// Where a chain keeps what [`Headline`] needs.
#[derive(Debug, Default)]
pub(crate) struct HeadlineReader {
    scanned: usize,
    idle: Vec<u32>,
    memory_total: Option<u32>,
    memory_available: Option<u32>,
    load1: Option<u32>,
    boot_time: Option<u32>,
    /// Pairs of available and size.
    filesystems: Vec<(u32, u32)>,
    sought: usize,
    idle_before: Option<(i64, f64)>,
}

/// Filesystems that are full by nature or live in memory.
const NOT_A_DISK: [&str; 6] = ["squashfs", "iso9660", "erofs", "udf", "tmpfs", "ramfs"];

/// Filesystems looked at. Each costs a search of all columns.
const MAX_FILESYSTEMS: usize = 64;

impl HeadlineReader {
    /// Reads the frame that `columns` now hold. `key` tells that a new chain began.
    pub(crate) fn read(&mut self, time_ms: i64, key: bool, columns: &[Column]) -> Headline {
        if key {
            let idle_before = self.idle_before;
            *self = Self {
                idle_before,
                ..Self::default()
            };
        }
        if self.scanned < columns.len() {
            self.scan(columns);
        }
        let value = |index: Option<u32>| columns.get(index? as usize)?.value();
        Headline {
            time_ms,
            cpu_busy_percent: self.cpu(time_ms, columns),
            memory_used_percent: used(value(self.memory_available), value(self.memory_total)),
            filesystem_used_percent: self
                .filesystems
                .iter()
                .filter_map(|&(available, size)| used(value(Some(available)), value(Some(size))))
                .reduce(f64::max),
            load1: value(self.load1),
            uptime_s: value(self.boot_time).map(|boot| (time_ms as f64 / 1000.0 - boot).max(0.0)),
        }
    }

    fn scan(&mut self, columns: &[Column]) {
        let from = self.scanned;
        self.scanned = columns.len();
        for (index, column) in columns.iter().enumerate().skip(from) {
            let Ok(at) = u32::try_from(index) else { return };
            let name = &*column.name;
            if let Some(labels) = name.strip_prefix("node_cpu_seconds_total{") {
                if labels.contains("mode=\"idle\"") {
                    self.idle.push(at);
                }
            } else if let Some(labels) = name.strip_prefix("node_filesystem_avail_bytes") {
                self.pair_filesystem(at, labels, columns);
            } else {
                match name {
                    "node_memory_MemTotal_bytes" => self.memory_total = Some(at),
                    "node_memory_MemAvailable_bytes" => self.memory_available = Some(at),
                    "node_load1" => self.load1 = Some(at),
                    "node_boot_time_seconds" => self.boot_time = Some(at),
                    _ => {}
                }
            }
        }
    }

    fn pair_filesystem(&mut self, available: u32, labels: &str, columns: &[Column]) {
        let by_nature = NOT_A_DISK.iter().any(|kind| {
            labels.split_once("fstype=\"").is_some_and(|(_, rest)| {
                rest.strip_prefix(kind)
                    .is_some_and(|rest| rest.starts_with('"'))
            })
        });
        if by_nature || self.sought == MAX_FILESYSTEMS {
            return;
        }
        self.sought += 1;
        let size = columns.iter().position(|column| {
            column.name.strip_prefix("node_filesystem_size_bytes") == Some(labels)
        });
        if let Some(size) = size.and_then(|size| u32::try_from(size).ok()) {
            self.filesystems.push((available, size));
        }
    }

    fn cpu(&mut self, time_ms: i64, columns: &[Column]) -> Option<f64> {
        if self.idle.is_empty() {
            return None;
        }
        let idle: f64 = self
            .idle
            .iter()
            .filter_map(|&index| columns.get(index as usize)?.value())
            .sum();
        let (before_ms, before) = self.idle_before.replace((time_ms, idle))?;
        let passed_s = time_ms.saturating_sub(before_ms) as f64 / 1000.0;
        // After a reboot the counters start again; after a gap the mean would hide the present.
        if passed_s <= 0.0 || passed_s > 600.0 || idle < before {
            return None;
        }
        let share = (idle - before) / (passed_s * self.idle.len() as f64);
        Some((100.0 * (1.0 - share)).clamp(0.0, 100.0))
    }
}

fn used(available: Option<f64>, total: Option<f64>) -> Option<f64> {
    let (available, total) = (available?, total?);
    (total > 0.0).then(|| (100.0 * (1.0 - available / total)).clamp(0.0, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::codec::{Decoder, Encoder};
    use xiezhi_protocol::report::Report;

    fn report(time_ms: i64, idle: f64) -> Report {
        let mut report = Report::new();
        report.start(time_ms);
        for cpu in ["0", "1"] {
            report
                .push(
                    "node_cpu_seconds_total",
                    &[("cpu", cpu), ("mode", "idle")],
                    idle,
                )
                .unwrap();
            report
                .push(
                    "node_cpu_seconds_total",
                    &[("cpu", cpu), ("mode", "user")],
                    9.0,
                )
                .unwrap();
        }
        let disks = [
            ("/", "ext4", 25.0),
            ("/data", "xfs", 10.0),
            ("/snap", "squashfs", 0.0),
        ];
        for (mount, kind, free) in disks {
            let labels = [("device", "d"), ("fstype", kind), ("mountpoint", mount)];
            report
                .push("node_filesystem_avail_bytes", &labels, free)
                .unwrap();
            report
                .push("node_filesystem_size_bytes", &labels, 100.0)
                .unwrap();
        }
        report
            .push("node_memory_MemTotal_bytes", &[], 1000.0)
            .unwrap();
        report
            .push("node_memory_MemAvailable_bytes", &[], 400.0)
            .unwrap();
        report.push("node_load1", &[], 0.5).unwrap();
        report.push("node_boot_time_seconds", &[], 100.0).unwrap();
        report
    }

    #[test]
    fn the_numbers_of_a_host_are_read_off_two_frames() {
        let (mut encoder, mut decoder) = (Encoder::new(15_000), Decoder::new());
        let mut reader = HeadlineReader::default();
        let mut seen = Headline::default();
        for (seq, time_ms, idle) in [(1, 1_000_000, 50.0), (2, 1_015_000, 59.0)] {
            let mut frame = Vec::new();
            encoder.encode(seq, &report(time_ms, idle), &mut frame);
            let info = decoder.decode(&frame, &mut |name| name.into()).unwrap();
            seen = reader.read(time_ms, info.key, decoder.columns());
        }
        assert_eq!(seen.time_ms, 1_015_000);
        assert!((seen.cpu_busy_percent.unwrap() - 40.0).abs() < 1e-9);
        assert!((seen.memory_used_percent.unwrap() - 60.0).abs() < 1e-9);
        assert!((seen.filesystem_used_percent.unwrap() - 90.0).abs() < 1e-9);
        assert_eq!((seen.load1, seen.uptime_s), (Some(0.5), Some(915.0)));
    }

    #[test]
    fn a_host_that_reports_nothing_of_it_has_no_numbers() {
        assert_eq!(
            HeadlineReader::default().read(5, true, &[]),
            Headline {
                time_ms: 5,
                ..Headline::default()
            }
        );
    }
}
