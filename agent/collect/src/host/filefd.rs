//! Open file handles and their limit.
//!
//! Source: `/proc/sys/fs/file-nr` (proc(5)): allocated, unused, maximum.

use super::{Cadence, Collector};
use crate::bytes::{number, words};
use crate::error::{CollectError, Problems};
use crate::files::Base;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Filefd;

impl Collector for Filefd {
    fn name(&self) -> &'static str {
        "filefd"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, _: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let mut problems = Problems::new();
        let mut fields = words(out.files.read(Base::Proc, "sys/fs/file-nr")?.trim_ascii());
        for (name, skipped) in [("node_filefd_allocated", 0), ("node_filefd_maximum", 1)] {
            match fields.nth(skipped).and_then(number) {
                Some(value) => out.samples.put(name, &[], value as f64),
                None => problems.malformed("sys/fs/file-nr", "three numbers were expected"),
            }
        }
        problems.finish()
    }
}
