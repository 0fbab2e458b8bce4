//! The time at which certificates are judged.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

/// When this program was built, Unix seconds: it cannot be earlier now.
fn build_time_s() -> i64 {
    env!("XIEZHI_BUILD_TIME_S").parse().unwrap_or_default()
}

/// The later of build time and the last time that a controller told, carried on by the monotonic
/// clock. A lower bound of the real time whatever the local clock says: 1970 and two years ahead
/// are both harmless.
pub(crate) struct TrustedTime {
    file: PathBuf,
    /// Trusted time at `started`, Unix milliseconds.
    base_ms: AtomicI64,
    started: Instant,
    /// What the file holds, Unix milliseconds.
    kept_ms: AtomicI64,
    /// Whether the chain that was verified last would hold at a time, Unix seconds.
    plausible: Mutex<Option<Plausible>>,
}

/// Judges a time that a controller tells by the certificates with which it told it.
pub(crate) type Plausible = Box<dyn Fn(i64) -> bool + Send + Sync>;

/// The file is written at most this often: it is a lower bound, and an hour does not weaken it.
const KEEP_EVERY_MS: i64 = 3_600_000;

impl TrustedTime {
    /// Reads the last controller time from `file`; absent or damaged means that none is known.
    pub(crate) fn open(file: PathBuf) -> Self {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let last: i64 = text.trim().parse().unwrap_or_default();
        let base = last.max(build_time_s().saturating_mul(1000));
        let started = Instant::now();
        Self {
            file,
            base_ms: AtomicI64::new(base),
            started,
            kept_ms: AtomicI64::new(last),
            plausible: Mutex::new(None),
        }
    }

    /// The earliest that it can be now, Unix seconds.
    pub(crate) fn now_s(&self) -> i64 {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or_default();
        self.base_ms.load(Ordering::Relaxed).saturating_add(passed) / 1000
    }

    /// A chain was verified; `plausible` tells whether it would also hold at a later time.
    pub(crate) fn verified(&self, plausible: Plausible) {
        *self
            .plausible
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(plausible);
    }

    /// A controller whose certificate was verified says that it is `time_ms`. Only moves forward.
    pub(crate) fn learn(&self, time_ms: i64) -> Result<()> {
        let plausible = self
            .plausible
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if plausible
            .as_ref()
            .is_some_and(|plausible| !plausible(time_ms / 1000))
        {
            // Learnt, it would make that very certificate, and all like it, look ended for ever.
            tracing::warn!(
                time_ms,
                "the controller's clock is beyond the end of its own certificate; not learnt"
            );
            return Ok(());
        }
        drop(plausible);
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or_default();
        self.base_ms
            .fetch_max(time_ms.saturating_sub(passed), Ordering::Relaxed);
        if time_ms
            < self
                .kept_ms
                .load(Ordering::Relaxed)
                .saturating_add(KEEP_EVERY_MS)
        {
            return Ok(());
        }
        self.kept_ms.store(time_ms, Ordering::Relaxed);
        super::files::write(&self.file, time_ms.to_string().as_bytes())
            .context("keeping the controller's time")
    }
}

impl std::fmt::Debug for TrustedTime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TrustedTime")
            .field("now_s", &self.now_s())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_only_moves_forward_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("time");
        let time = TrustedTime::open(file.clone());
        assert!(time.now_s() >= build_time_s());
        let later = (build_time_s() + 86_400) * 1000;
        time.learn(later).unwrap();
        time.learn(0).unwrap();
        assert!(time.now_s() >= later / 1000);
        assert!(TrustedTime::open(file).now_s() >= later / 1000);
    }
}
