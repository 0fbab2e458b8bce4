//! What the agent itself uses: memory and CPU time of all its processes.
//!
//! Source: `/proc/PID/smaps_rollup` (PSS; resident memory where an old kernel lacks it) and
//! `/proc/PID/stat`, columns 14–17 (proc(5)).

use std::fs;

/// Memory and CPU time of the worker, its warden and its helpers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SelfUse {
    /// Bytes: the worker's proportional set size and the warden's own pages. The program's pages that
    /// the two share are counted with the worker only, whose share of them the kernel tells.
    pub(crate) memory_bytes: u64,
    /// User and system time since each process's start, children included, milliseconds.
    pub(crate) cpu_ms: u64,
}

/// Clock ticks per second that `/proc` counts in; fixed at 100 for programs on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Reads the use of this process and, if `with_parent`, of the warden that started it.
pub(crate) fn read(with_parent: bool) -> SelfUse {
    let own = kilobytes_of("/proc/self/smaps_rollup", "Pss:")
        .or_else(|| kilobytes_of("/proc/self/status", "VmRSS:"));
    let mut sum = SelfUse {
        memory_bytes: own.unwrap_or_default() * 1024,
        cpu_ms: cpu_ms_of("self"),
    };
    if with_parent {
        let parent = std::os::unix::process::parent_id().to_string();
        let anonymous = kilobytes_of(&format!("/proc/{parent}/status"), "RssAnon:");
        sum.memory_bytes += anonymous.unwrap_or_default() * 1024;
        // The parent's time includes that of helpers which it has waited for.
        sum.cpu_ms += cpu_ms_of(&parent);
    }
    sum
}

fn cpu_ms_of(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    cpu_ticks(&stat).unwrap_or_default() * 1000 / TICKS_PER_SECOND
}

fn kilobytes_of(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// utime, stime, cutime and cstime: columns 14–17, counted after the command's closing bracket,
/// because the command may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let columns = after.split_ascii_whitespace().skip(11).take(4);
    columns.map(|column| column.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_use_is_read_and_plausible() {
        let own = read(false);
        assert!(own.memory_bytes > 100_000, "{own:?}");
    }

    #[test]
    fn a_command_with_blanks_and_brackets_does_not_shift_the_columns() {
        let stat = "1 (a) b (c) S 0 1 1 0 -1 4 5 6 7 8 10 20 30 40 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(100));
    }
}
