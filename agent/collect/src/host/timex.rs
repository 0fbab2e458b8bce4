//! How the kernel disciplines its clock: whether it is synchronised, and how far it may be off.
//!
//! Source: adjtimex(2), asked to change nothing. A container may forbid the call; skew is still
//! measured by the controller then.

use super::{Cadence, Collector};
use crate::error::CollectError;
use crate::kernel::{self, Clock};
use crate::readings::{Readings, Samples};
use crate::root::HostRoot;

/// adjtimex(2): the clock is not synchronised.
const TIME_ERROR: i64 = 5;
/// adjtimex(2): offsets are in nanoseconds instead of microseconds.
const STA_NANO: i64 = 0x2000;
/// Frequencies are parts per million with a 16-bit fraction.
const SCALED_PPM: f64 = 1_000_000.0 * 65_536.0;

pub(super) struct Timex;

impl Collector for Timex {
    fn name(&self) -> &'static str {
        "timex"
    }

    fn cadence(&self) -> Cadence {
        Cadence::Every
    }

    fn collect(&mut self, host: &HostRoot, out: &mut Readings<'_>) -> Result<(), CollectError> {
        let clock = kernel::clock(host, out.files)?;
        report(&clock, &mut out.samples);
        Ok(())
    }
}

fn report(clock: &Clock, samples: &mut Samples<'_>) {
    let fine = if clock.status & STA_NANO != 0 {
        1e9
    } else {
        1e6
    };
    let synchronised = if clock.state == TIME_ERROR { 0.0 } else { 1.0 };
    for (name, value) in [
        ("sync_status", synchronised),
        ("offset_seconds", clock.offset as f64 / fine),
        (
            "frequency_adjustment_ratio",
            1.0 + clock.frequency as f64 / SCALED_PPM,
        ),
        ("maxerror_seconds", clock.maxerror as f64 / 1e6),
        ("estimated_error_seconds", clock.esterror as f64 / 1e6),
        ("status", clock.status as f64),
        ("loop_time_constant", clock.constant as f64),
        ("tick_seconds", clock.tick as f64 / 1e6),
        (
            "pps_frequency_hertz",
            clock.pps_frequency as f64 / SCALED_PPM,
        ),
        ("pps_jitter_seconds", clock.jitter as f64 / fine),
        ("pps_shift_seconds", clock.shift as f64),
        ("pps_stability_hertz", clock.stability as f64 / SCALED_PPM),
        ("pps_jitter_total", clock.jitter_count as f64),
        ("pps_calibration_total", clock.calibration_count as f64),
        ("pps_error_total", clock.error_count as f64),
        ("pps_stability_exceeded_total", clock.stability_count as f64),
        ("tai_offset_seconds", clock.tai as f64),
    ] {
        samples.put_parts(&["node_timex_", name], &[], value);
    }
}
