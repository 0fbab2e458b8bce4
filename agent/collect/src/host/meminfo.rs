//! Memory, in bytes; page counts of huge pages as they are.
//!
//! Source: `/proc/meminfo` (proc(5)). The fields are those that the kernel lists: an older one
//! lists fewer.

use super::{Cadence, Collector};
use crate::bytes::{lines, number, split_once, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

pub(super) struct Meminfo;

impl Collector for Meminfo {
    fn name(&self) -> &'static str {
        "meminfo"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut found = 0;
        for line in lines(out.files.read(Base::Proc, "meminfo")?) {
            match field(line, &mut out.samples) {
                Some(()) => found += 1,
                None => problems.malformed("meminfo", "a line is not `name: number [kB]`"),
            }
        }
        if found == 0 {
            problems.malformed("meminfo", "no field is listed");
        }
        problems.finish()
    }
}

fn field(line: &[u8], samples: &mut Samples<'_>) -> Option<()> {
    let (name, rest) = split_once(line, b':')?;
    let mut fields = words(rest);
    let value = number(fields.next()?)? as f64;
    let (scale, unit) = if fields.next() == Some(b"kB") {
        (1024.0, "_bytes")
    } else {
        (1.0, "")
    };
    let name = text(name);
    // `Active(anon)` is named `Active_anon`.
    let (name, part) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
        Some((name, part)) => (name, part),
        None => (name.as_ref(), ""),
    };
    let joint = if part.is_empty() { "" } else { "_" };
    samples.put_parts(
        &["node_memory_", name, joint, part, unit],
        &[],
        value * scale,
    );
    Some(())
}
