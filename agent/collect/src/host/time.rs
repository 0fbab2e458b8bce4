//! The host's own clock, in Unix seconds, to the millisecond.
//!
//! Together with the report's time it shows how long the collection took; together with the
//! controller's clock it shows the skew.

use super::{Cadence, Collector};
use crate::error::CollectError;
use crate::kernel;
use crate::readings::Readings;
use crate::root::HostRoot;

pub(super) struct Time;

impl Collector for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let now_ms = kernel::now_ms(host, out.files)?;
        out.samples
            .put("node_time_seconds", &[], now_ms as f64 / 1000.0);
        Ok(())
    }
}
