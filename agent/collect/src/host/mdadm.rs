//! State, members and progress of each software RAID array.
//!
//! Source: `/proc/mdstat` (md(4)); absent while no RAID driver is loaded.

use super::{Cadence, Collector};
use crate::bytes::{contains, lines, number, split_once, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

const STATES: [&str; 5] = ["active", "check", "inactive", "recovering", "resync"];

pub(super) struct Mdadm;

/// What the lines of one array say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Array<'a> {
    name: &'a [u8],
    state: &'a str,
    active: u64,
    required: u64,
    failed: u64,
    spare: u64,
    blocks: u64,
    synced: u64,
}

impl Collector for Mdadm {
    fn name(&self) -> &'static str {
        "mdadm"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let content = match out.files.read(Base::Proc, "mdstat") {
            Err(error) if error.is_not_found() => {
                return Err(CollectError::NoData("no software RAID driver is loaded"));
            }
            content => content?,
        };
        let mut all = lines(content).filter(|line| !is_general(line)).peekable();
        while let Some(head) = all.next() {
            let mut array = parse_head(head);
            while let Some(line) = all.next_if(|line| is_indented(line)) {
                array = array.and_then(|array| detail(array, head, line));
            }
            match array {
                Some(array) => array.report(&mut out.samples),
                None => {
                    problems.malformed("mdstat", "an array's lines are not as md(4) shows them")
                }
            }
        }
        problems.finish()
    }
}

fn is_general(line: &[u8]) -> bool {
    line.starts_with(b"Personalities")
        || line.starts_with(b"unused")
        || line.trim_ascii().is_empty()
}

fn is_indented(line: &[u8]) -> bool {
    line.first().is_some_and(u8::is_ascii_whitespace)
}

/// `md0 : active raid1 sdb1[1] sda1[0](F)`
fn parse_head(line: &[u8]) -> Option<Array<'_>> {
    if is_indented(line) {
        return None;
    }
    let mut fields = words(line);
    let name = fields.next()?;
    fields.next().filter(|colon| *colon == b":")?;
    let state = match fields.next()? {
        b"active" => "active",
        b"inactive" => "inactive",
        _ => return None,
    };
    let marked = |mark: &[u8]| words(line).filter(|word| word.ends_with(mark)).count() as u64;
    Some(Array {
        name,
        state,
        failed: marked(b"(F)"),
        spare: marked(b"(S)"),
        ..Array::default()
    })
}

/// `1000 blocks … [2/1] [U_]`, or `[==>…]  recovery = 8.5% (90/1000) finish=…`.
fn detail<'a>(mut array: Array<'a>, head: &[u8], line: &[u8]) -> Option<Array<'a>> {
    let mut fields = words(line);
    let first = fields.next()?;
    if fields.next() == Some(b"blocks") {
        array.blocks = number(first)?;
        array.synced = array.blocks;
        (array.required, array.active) = members(&array, head, line)?;
        return Some(array);
    }
    for (word, state) in [
        ("recovery", "recovering"),
        ("resync", "resync"),
        ("check", "check"),
    ] {
        if contains(line, word.as_bytes()) {
            array.state = state;
            let is_waiting = contains(line, b"PENDING") || contains(line, b"DELAYED");
            array.synced = if is_waiting { 0 } else { progress(line)? };
            break;
        }
    }
    Some(array)
}

/// Members that the array needs, and that it has: `[2/1]`. Arrays without redundancy do not say.
fn members(array: &Array<'_>, head: &[u8], line: &[u8]) -> Option<(u64, u64)> {
    let bracketed = |word: &[u8]| -> Option<(u64, u64)> {
        let inner = word.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let (required, active) = split_once(inner, b'/')?;
        Some((number(required)?, number(active)?))
    };
    if contains(head, b"raid0") || contains(head, b"linear") {
        let devices = head.iter().filter(|byte| **byte == b'[').count() as u64;
        return Some((devices, devices));
    }
    if array.state == "inactive" {
        return Some((0, 0));
    }
    words(line).find_map(bracketed)
}

/// `(90/1000)` is 90.
fn progress(line: &[u8]) -> Option<u64> {
    words(line).find_map(|word| {
        let inner = word.strip_prefix(b"(")?.strip_suffix(b")")?;
        number(split_once(inner, b'/')?.0)
    })
}

impl Array<'_> {
    fn report(&self, samples: &mut Samples<'_>) {
        let device = text(self.name);
        let device = device.as_ref();
        for state in STATES {
            let value = if state == self.state { 1.0 } else { 0.0 };
            samples.put(
                "node_md_state",
                &[("device", device), ("state", state)],
                value,
            );
        }
        for (state, count) in [
            ("active", self.active),
            ("failed", self.failed),
            ("spare", self.spare),
        ] {
            samples.put(
                "node_md_disks",
                &[("device", device), ("state", state)],
                count as f64,
            );
        }
        let labels = [("device", device)];
        samples.put("node_md_disks_required", &labels, self.required as f64);
        samples.put("node_md_blocks", &labels, self.blocks as f64);
        samples.put("node_md_blocks_synced", &labels, self.synced as f64);
    }
}
