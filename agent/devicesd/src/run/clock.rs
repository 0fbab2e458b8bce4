//! The clocks of this host.

use std::sync::OnceLock;

use rustix::time::{ClockId, Timespec, clock_gettime};
use xiezhi_devices::memory::Row;
use xiezhi_devices::moment::Moment;

/// Now, by the wall clock and by the clock that nobody sets.
pub(crate) fn now() -> Moment {
    let ms = |time: Timespec| time.tv_sec.saturating_mul(1000) + time.tv_nsec / 1_000_000;
    Moment {
        unix_ms: ms(clock_gettime(ClockId::Realtime)),
        boot_ms: u64::try_from(ms(clock_gettime(ClockId::Boottime))).unwrap_or_default(),
        boot: boot(),
    }
}

/// Which start of this host this is.
fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Row::of("boot", [id.trim()]).0
    })
}
