//! Kernel name, release and version, host and domain name, architecture.
//!
//! Source: uname(2).

use super::{Cadence, Collector};
use crate::error::CollectError;
use crate::kernel;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Uname;

impl Collector for Uname {
    fn name(&self) -> &'static str {
        "uname"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Slow
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let name = kernel::uname(host, out.files)?;
        let labels = [
            ("domainname", name.domain.as_str()),
            ("machine", &name.machine),
            ("nodename", &name.node),
            ("release", &name.release),
            ("sysname", &name.system),
            ("version", &name.version),
        ];
        out.samples.put("node_uname_info", &labels, 1.0);
        Ok(())
    }
}
