//! Paging, swapping, page faults and out-of-memory kills.
//!
//! Source: `/proc/vmstat` (proc(5)), the fields that node_exporter takes by default:
//! `^(oom_kill|pgpg|pswp|pg.*fault).*`. Kernels before 4.13 do not count `oom_kill`.

use super::{Cadence, Collector};
use crate::bytes::{contains, lines, signed, text, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Vmstat;

impl Collector for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut found = 0;
        for line in lines(out.files.read(Base::Proc, "vmstat")?) {
            if !is_wanted(line) {
                continue;
            }
            let mut fields = words(line);
            let name = fields.next().unwrap_or_default();
            match fields.next().and_then(signed) {
                Some(value) => {
                    out.samples
                        .put_parts(&["node_vmstat_", &text(name)], &[], value as f64);
                }
                None => problems.malformed("vmstat", "a line is not `name number`"),
            }
            found += 1;
        }
        if found == 0 {
            problems.malformed("vmstat", "none of the wanted fields is listed");
        }
        problems.finish()
    }
}

fn is_wanted(line: &[u8]) -> bool {
    let Some(name) = words(line).next() else {
        return false;
    };
    let is_fault = || {
        name.strip_prefix(b"pg")
            .is_some_and(|rest| contains(rest, b"fault"))
    };
    name.starts_with(b"oom_kill")
        || name.starts_with(b"pgpg")
        || name.starts_with(b"pswp")
        || is_fault()
}
