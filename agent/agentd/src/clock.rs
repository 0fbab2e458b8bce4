//! The local wall clock, as Unix milliseconds. Whoever needs the time is given it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now by the local clock, which may be wrong; negative before 1970.
pub(crate) fn now_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}
