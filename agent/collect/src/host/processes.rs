//! Processes by state, their threads and limits, and the programs that use most of the host.
//!
//! Source: `/proc/PID/stat` only (proc(5)): one read of 3–6 µs per process and minute. No process
//! is remembered; the programs are, by name and bounded (see [`top`]).

mod top;

use self::top::Top;
use super::{Cadence, Collector};
use crate::bytes::{number, words};
use crate::error::{CollectError, Problems};
use crate::files::{Base, Names};
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// States that are always reported, so that their series do not come and go.
const STEADY_STATES: [u8; 6] = *b"RSDZTI";

/// `PF_KTHREAD` of the kernel's `sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

#[derive(Default)]
pub(super) struct Processes {
    names: Names,
    top: Top,
}

/// What one line of `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Process<'a> {
    name: &'a [u8],
    state: u8,
    threads: u64,
    ticks: u64,
    resident_pages: u64,
}

impl Collector for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        match out.files.list(Base::Proc, &[""], &mut self.names) {
            Err(error) if self.names.len() == 0 => return Err(error),
            listed => _ = problems.check(listed),
        }
        let mut states = [0u32; 128];
        let (mut pids, mut threads) = (0u64, 0u64);
        self.top.start();
        for pid in self
            .names
            .iter()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            // A process may end between the listing and the read.
            let Some(line) = out.files.attribute(Base::Proc, &[pid, "/stat"]) else {
                continue;
            };
            let Some(process) = parse(line) else {
                problems.malformed("PID/stat", "a process's line lacks its fields");
                continue;
            };
            pids += 1;
            threads = threads.saturating_add(process.threads);
            if let Some(count) = states.get_mut(usize::from(process.state)) {
                *count += 1;
            }
            self.top
                .add(process.name, process.ticks, process.resident_pages);
        }
        out.samples.put("node_processes_pids", &[], pids as f64);
        out.samples
            .put("node_processes_threads", &[], threads as f64);
        report_states(&states, &mut out.samples);
        report_limits(out, &mut problems);
        self.top.report(&mut out.samples);
        problems.finish()
    }
}

fn report_states(states: &[u32; 128], samples: &mut Samples<'_>) {
    for (state, count) in (0u8..).zip(states) {
        if *count > 0 || STEADY_STATES.contains(&state) {
            let mut space = [0; 4];
            let label: &str = char::from(state).encode_utf8(&mut space);
            samples.put(
                "node_processes_state",
                &[("state", label)],
                f64::from(*count),
            );
        }
    }
}

fn report_limits(out: &mut Readings<'_>, problems: &mut Problems) {
    for (path, name) in [
        ("sys/kernel/threads-max", "node_processes_max_threads"),
        ("sys/kernel/pid_max", "node_processes_max_processes"),
    ] {
        let Some(content) = problems.check(out.files.read(Base::Proc, path)) else {
            continue;
        };
        match number(content.trim_ascii()) {
            Some(value) => out.samples.put(name, &[], value as f64),
            None => problems.malformed(path, "a number was expected"),
        }
    }
}

/// The name stands in parentheses and may itself hold any, so the last one ends it.
fn parse(line: &[u8]) -> Option<Process<'_>> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = words(line.get(close + 1..)?);
    let state = *fields.next()?.first()?;
    let flags = number(fields.nth(5)?)?;
    let user = number(fields.nth(4)?)?;
    let system = number(fields.next()?)?;
    let threads = number(fields.nth(4)?)?;
    let resident_pages = number(fields.nth(3)?)?;
    let name = if flags & KERNEL_THREAD == 0 {
        line.get(open + 1..close)?
    } else {
        b"[kernel]"
    };
    Some(Process {
        name,
        state,
        threads,
        ticks: user.saturating_add(system),
        resident_pages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &[u8] = b"S 1 5 5 0 -1 4194560 43683 141 0 7 132 462 26 12 20 0 13 0 24 528 5142 18446744073709551615 1 1";

    #[test]
    fn a_name_may_hold_blanks_and_parentheses() {
        let line = [b"7 (a) R (b) ", TAIL].concat();
        let process = parse(&line).unwrap();
        assert_eq!(process.name, b"a) R (b");
        assert_eq!(process.state, b'S');
        assert_eq!(
            (process.ticks, process.threads, process.resident_pages),
            (594, 13, 5142)
        );
    }

    #[test]
    fn kernel_threads_go_by_one_name() {
        let line = b"9 (kworker/0:1) I 2 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 4 0 0 1";
        assert_eq!(parse(line).unwrap().name, b"[kernel]");
    }

    #[test]
    fn truncated_lines_are_no_process() {
        let line = [b"7 (a) ", TAIL].concat();
        let needed = line.len() - b" 18446744073709551615 1 1".len();
        for end in 0..needed - 4 {
            assert_eq!(parse(&line[..end]), None, "{end}");
        }
    }
}
