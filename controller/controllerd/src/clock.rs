//! The controller's wall clock, by which every host is judged.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, Unix milliseconds; 0 before 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Now, Unix seconds.
pub(crate) fn now_s() -> i64 {
    now_ms() / 1000
}
