//! What one process used between two moments.

use std::time::{Duration, Instant};

/// Clock ticks per second in `/proc/PID/stat`; fixed at 100 for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The beginning of a measured span.
pub(super) struct Span {
    id: u32,
    start: Instant,
    user_s: f64,
    system_s: f64,
}

/// CPU time of all threads of a process within a span.
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) user_s: f64,
    pub(super) system_s: f64,
}

impl Span {
    /// Begins now.
    pub(super) fn begin(id: u32) -> Self {
        let (user_s, system_s) = cpu(id);
        Self {
            id,
            start: Instant::now(),
            user_s,
            system_s,
        }
    }

    /// What was used until now.
    pub(super) fn end(&self) -> Spent {
        let (user_s, system_s) = cpu(self.id);
        Spent {
            seconds: self.start.elapsed().as_secs_f64(),
            user_s: user_s - self.user_s,
            system_s: system_s - self.system_s,
        }
    }
}

impl Spent {
    /// CPU time.
    pub(super) fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// Share of one core.
    pub(super) fn cores(&self) -> f64 {
        self.cpu_s() / self.seconds
    }
}

fn cpu(id: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = rest
        .split_ascii_whitespace()
        .skip(11)
        .map(|column| column.parse().unwrap_or(f64::NAN));
    let mut next = || ticks.next().unwrap_or(f64::NAN) / TICKS_PER_SECOND;
    (next(), next())
}

/// Resident memory, MiB: now, and the most that it ever was.
pub(super) fn resident_mib(id: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let read = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        word.and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
            / 1024.0
    };
    (read("VmRSS:"), read("VmHWM:"))
}

/// The machine's load, because others' work slows what is measured here.
pub(super) fn machine_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Descriptors that this process, and what it starts, may open.
pub(super) fn descriptors() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok())
        .unwrap_or(1024)
}

/// Lets time pass.
pub(super) fn pause(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}
