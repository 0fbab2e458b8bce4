//! The numbers of a busy host: 150 series under node_exporter's names, of which about half change
//! from one report to the next.

use xiezhi_protocol::report::Report;

/// A made-up host. The same seed gives the same host.
#[derive(Debug, Clone)]
pub struct Machine {
    random: Random,
    /// How busy it is, 0 to 1; drifts slowly.
    load: f64,
    started_s: f64,
    ticks: u64,
    cpu: [[f64; 8]; CPUS],
    disk: [[f64; 11]; 2],
    network: [[f64; 8]; 2],
    counters: [f64; COUNTERS.len()],
    memory_used: f64,
    filesystem_used: [f64; 3],
}

const CPUS: usize = 4;
const MODES: [&str; 8] = [
    "idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user",
];
const CPU_NAMES: [&str; CPUS] = ["0", "1", "2", "3"];
const DISKS: [&str; 2] = ["sda", "sdb"];
const DISK_METRICS: [&str; 11] = [
    "node_disk_io_now",
    "node_disk_io_time_seconds_total",
    "node_disk_io_time_weighted_seconds_total",
    "node_disk_read_bytes_total",
    "node_disk_read_time_seconds_total",
    "node_disk_reads_completed_total",
    "node_disk_reads_merged_total",
    "node_disk_write_time_seconds_total",
    "node_disk_writes_completed_total",
    "node_disk_writes_merged_total",
    "node_disk_written_bytes_total",
];
const INTERFACES: [&str; 2] = ["eth0", "lo"];
const NETWORK_METRICS: [&str; 8] = [
    "node_network_receive_bytes_total",
    "node_network_receive_drop_total",
    "node_network_receive_errs_total",
    "node_network_receive_packets_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_packets_total",
];
/// Name and usual increase per report.
const COUNTERS: [(&str, f64); 14] = [
    ("node_context_switches_total", 30_000.0),
    ("node_forks_total", 40.0),
    ("node_intr_total", 20_000.0),
    ("node_vmstat_pgfault", 9_000.0),
    ("node_vmstat_pgmajfault", 0.0),
    ("node_vmstat_pgpgin", 300.0),
    ("node_vmstat_pgpgout", 4_000.0),
    ("node_vmstat_oom_kill", 0.0),
    ("node_netstat_Tcp_ActiveOpens", 12.0),
    ("node_netstat_Tcp_PassiveOpens", 9.0),
    ("node_netstat_Tcp_RetransSegs", 0.4),
    ("node_netstat_Tcp_InSegs", 2_000.0),
    ("node_netstat_Tcp_OutSegs", 2_100.0),
    ("node_netstat_Udp_InErrors", 0.0),
];
/// Parts of memory, as shares of the total of the used part; 0 means constant.
const MEMORY: [(&str, f64); 30] = [
    ("Active", 0.55),
    ("Active_anon", 0.35),
    ("Active_file", 0.2),
    ("AnonHugePages", 0.05),
    ("AnonPages", 0.36),
    ("Bounce", 0.0),
    ("Buffers", 0.02),
    ("CommitLimit", 0.0),
    ("Committed_AS", 0.9),
    ("DirectMap2M", 0.0),
    ("DirectMap4k", 0.0),
    ("Dirty", 0.001),
    ("HardwareCorrupted", 0.0),
    ("HugePages_Free", 0.0),
    ("HugePages_Total", 0.0),
    ("Inactive", 0.3),
    ("Inactive_anon", 0.05),
    ("Inactive_file", 0.25),
    ("KernelStack", 0.004),
    ("Mapped", 0.1),
    ("Mlocked", 0.0),
    ("PageTables", 0.006),
    ("SReclaimable", 0.04),
    ("SUnreclaim", 0.02),
    ("Shmem", 0.01),
    ("Slab", 0.06),
    ("SwapCached", 0.0),
    ("SwapTotal", 0.0),
    ("Unevictable", 0.0),
    ("Writeback", 0.0),
];
const MOUNTS: [(&str, &str, f64); 3] = [
    ("/dev/sda1", "/", 100e9),
    ("/dev/sda2", "/var", 400e9),
    ("/dev/sdb1", "/data", 2e12),
];
const MEMORY_TOTAL: f64 = 16.0 * 1024.0 * 1024.0 * 1024.0;
const PAGE: f64 = 4096.0;

impl Machine {
    /// A host that was started some days before `now_ms`.
    #[must_use]
    pub fn new(seed: u64, now_ms: i64) -> Self {
        let mut random = Random::new(seed);
        let up_s = 86_400.0 * (1.0 + 30.0 * random.unit());
        let ticks = (up_s / 15.0) as u64;
        let load = 0.05 + 0.4 * random.unit();
        let scale = ticks as f64;
        let mut machine = Self {
            load,
            started_s: (now_ms / 1000) as f64 - up_s.round(),
            ticks,
            cpu: [[0.0; 8]; CPUS],
            disk: [[0.0; 11]; 2],
            network: [[0.0; 8]; 2],
            counters: COUNTERS.map(|(_, usual)| (usual * scale).round()),
            memory_used: MEMORY_TOTAL * (0.3 + 0.4 * random.unit()),
            filesystem_used: MOUNTS.map(|(_, _, size)| size * (0.2 + 0.6 * random.unit())),
            random,
        };
        for cpu in &mut machine.cpu {
            *cpu = [0.86, 0.01, 0.0, 0.0, 0.003, 0.0, 0.037, 0.09]
                .map(|share: f64| hundredths(share * up_s));
        }
        machine
    }

    /// Lets one interval pass and writes the report of `time_ms`.
    pub fn report(&mut self, time_ms: i64, interval_s: f64, report: &mut Report) {
        self.step(interval_s);
        report.start(time_ms);
        let mut push = |name: &str, labels: &[(&str, &str)], value: f64| {
            report.push(name, labels, value).is_ok()
        };
        let mut whole = true;
        for (cpu, name) in self.cpu.iter().zip(CPU_NAMES) {
            for (value, mode) in cpu.iter().zip(MODES) {
                whole &= push(
                    "node_cpu_seconds_total",
                    &[("cpu", name), ("mode", mode)],
                    *value,
                );
            }
        }
        for (disk, device) in self.disk.iter().zip(DISKS) {
            for (value, metric) in disk.iter().zip(DISK_METRICS) {
                whole &= push(metric, &[("device", device)], *value);
            }
        }
        for (network, device) in self.network.iter().zip(INTERFACES) {
            for (value, metric) in network.iter().zip(NETWORK_METRICS) {
                whole &= push(metric, &[("device", device)], *value);
            }
        }
        for (value, (metric, _)) in self.counters.iter().zip(COUNTERS) {
            whole &= push(metric, &[], *value);
        }
        for (metric, value) in self.memory() {
            whole &= push(&metric, &[], value);
        }
        for ((device, mount, size), used) in MOUNTS.iter().zip(self.filesystem_used) {
            let labels = [
                ("device", *device),
                ("fstype", "ext4"),
                ("mountpoint", *mount),
            ];
            let free = pages(size - used);
            whole &= push("node_filesystem_avail_bytes", &labels, pages(free * 0.95));
            whole &= push("node_filesystem_files", &labels, 6_553_600.0);
            whole &= push(
                "node_filesystem_files_free",
                &labels,
                6_100_000.0 - (used / 1e5).round(),
            );
            whole &= push("node_filesystem_free_bytes", &labels, free);
            whole &= push("node_filesystem_size_bytes", &labels, pages(*size));
        }
        let load = self.load * CPUS as f64;
        for (metric, value) in [
            ("node_load1", load),
            ("node_load15", load * 0.8),
            ("node_load5", load * 0.9),
        ] {
            whole &= push(metric, &[], hundredths(value));
        }
        for (metric, value) in [
            ("node_boot_time_seconds", self.started_s),
            ("node_entropy_available_bits", 256.0),
            ("node_filefd_maximum", 1_048_576.0),
            ("node_nf_conntrack_entries_limit", 262_144.0),
            (
                "node_filefd_allocated",
                (2_000.0 + 100.0 * self.load).round(),
            ),
            (
                "node_nf_conntrack_entries",
                (60.0 + 400.0 * self.load).round(),
            ),
            ("node_procs_blocked", 0.0),
            ("node_procs_running", (1.0 + 4.0 * self.load).round()),
            (
                "node_sockstat_TCP_alloc",
                (120.0 + 60.0 * self.load).round(),
            ),
            ("node_sockstat_TCP_inuse", (60.0 + 40.0 * self.load).round()),
            ("node_sockstat_TCP_tw", (30.0 * self.load).round()),
            ("node_sockstat_UDP_inuse", 12.0),
            ("node_time_seconds", time_ms as f64 / 1000.0),
            (
                "node_timex_offset_seconds",
                (self.random.unit() * 1e3).round() / 1e6,
            ),
            ("node_timex_sync_status", 1.0),
        ] {
            whole &= push(metric, &[], value);
        }
        debug_assert!(whole, "a made-up report fits");
    }

    fn step(&mut self, interval_s: f64) {
        self.ticks += 1;
        let random = &mut self.random;
        self.load = (self.load + 0.08 * (random.unit() - 0.5)).clamp(0.01, 0.95);
        for cpu in &mut self.cpu {
            let busy = (self.load * (0.6 + 0.8 * random.unit())).min(1.0);
            let shares = [
                1.0 - busy,
                0.02 * busy,
                0.0,
                0.0,
                0.03 * busy,
                0.0,
                0.25 * busy,
                0.7 * busy,
            ];
            for (value, share) in cpu.iter_mut().zip(shares) {
                *value = hundredths(*value + share * interval_s);
            }
        }
        let rate = self.load * interval_s;
        let [first, _] = &mut self.disk;
        let steps = [
            0.0, 0.02, 0.03, 90e3, 0.004, 6.0, 1.0, 0.02, 25.0, 12.0, 700e3,
        ];
        for (value, step) in first.iter_mut().zip(steps) {
            let grown = *value + step * rate * random.unit() * 2.0;
            *value = if step < 1.0 {
                (grown * 1000.0).round() / 1000.0
            } else {
                grown.round()
            };
        }
        for network in &mut self.network {
            let steps = [40e3, 0.0, 0.0, 60.0, 25e3, 0.0, 0.0, 50.0];
            for (value, step) in network.iter_mut().zip(steps) {
                *value = (*value + step * rate * random.unit() * 2.0).round();
            }
        }
        for (value, (_, usual)) in self.counters.iter_mut().zip(COUNTERS) {
            *value = (*value + usual * (0.5 + random.unit())).round();
        }
        let drift = (random.unit() - 0.5) * 0.01 * MEMORY_TOTAL;
        self.memory_used =
            (self.memory_used + drift).clamp(0.1 * MEMORY_TOTAL, 0.95 * MEMORY_TOTAL);
        for (used, (_, _, size)) in self.filesystem_used.iter_mut().zip(MOUNTS).take(2) {
            *used = (*used + 2e5 * random.unit()).min(size * 0.98);
        }
    }

    fn memory(&self) -> impl Iterator<Item = (String, f64)> {
        let free = pages(MEMORY_TOTAL - self.memory_used);
        let parts = MEMORY.iter().map(move |(name, share)| {
            let value = if *share == 0.0 {
                0.0
            } else {
                pages(self.memory_used * share)
            };
            (format!("node_memory_{name}_bytes"), value)
        });
        let whole = [
            ("MemAvailable", pages(free * 1.1)),
            ("MemFree", free),
            ("MemTotal", MEMORY_TOTAL),
        ];
        parts.chain(whole.map(|(name, value)| (format!("node_memory_{name}_bytes"), value)))
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn pages(bytes: f64) -> f64 {
    (bytes / PAGE).floor() * PAGE
}

/// A small generator (xorshift64*): the same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::codec::Encoder;

    #[test]
    fn a_report_has_about_150_series_and_half_of_them_change() {
        let mut machine = Machine::new(7, 1_700_000_000_000);
        let mut encoder = Encoder::new(15_000);
        let (mut report, mut bytes) = (Report::new(), 0);
        let mut before: Vec<f64> = Vec::new();
        let mut changed = 0;
        for seq in 1..=100u64 {
            machine.report(1_700_000_000_000 + 15_000 * seq as i64, 15.0, &mut report);
            let values: Vec<f64> = report.iter().map(|(_, value)| value).collect();
            changed += values.iter().zip(&before).filter(|(a, b)| a != b).count();
            before = values;
            let mut frame = Vec::new();
            encoder.encode(seq, &report, &mut frame);
            if seq > 1 {
                bytes += frame.len();
            }
        }
        let (series, changed, size) = (report.len(), changed / 99, bytes / 99);
        println!("{series} series, {changed} change, {size} B a frame");
        assert!((145..=155).contains(&series), "{series}");
        assert!((65..=90).contains(&changed), "{changed}");
        assert!(size < 260, "{size}");
    }
}
