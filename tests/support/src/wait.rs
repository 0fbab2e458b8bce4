//! Waiting for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longest wait unless a test says otherwise: long enough for a loaded machine with two cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `check` yields a value; its last error or refusal is the failure's reason.
///
/// # Errors
/// The condition did not hold within a minute.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    eventually_within(PATIENCE, what, check).await
}

/// As [`eventually`], with a limit of its own.
///
/// # Errors
/// The condition did not hold within `limit`.
pub async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match check().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}; last: {last}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
