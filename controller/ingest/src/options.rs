//! Bounds of the agent port. Each default says where it comes from.

use std::sync::Arc;
use std::time::Duration;

/// How the agent port behaves.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Version that agents are told.
    pub version: String,
    /// TLS handshakes begun per second. One costs about 0.6 ms of CPU, so 500 take a third of a
    /// core and 20,000 agents are back within 40 s. One source address begins a quarter of them.
    pub handshakes_per_second: f64,
    /// Handshakes under way at one time; more connections wait in the kernel's queue. One source
    /// address may take half of them, so that one idler cannot keep all others out.
    pub handshakes_in_flight: usize,
    /// Longest handshake.
    pub handshake_timeout: Duration,
    /// Longest life of a connection that may only enrol or renew.
    pub unauthenticated_lifetime: Duration,
    /// Received and not yet durable bytes of all sessions together; beyond it nothing is read.
    pub queued_bytes: usize,
    /// How long frames are gathered before one commit.
    pub commit_interval: Duration,
    /// Most frames in one commit.
    pub commit_frames: usize,
    /// Longest time for which a durable live batch stays unacknowledged.
    pub ack_interval: Duration,
    /// How often holes in the numbers of event batches are looked for. Longer than the interval of
    /// agents' status, which says what they still have to send.
    pub hole_interval: Duration,
    /// Series that one host may have.
    pub series_per_host: usize,
    /// Batches dated further than this in the future of the controller are refused.
    pub future_limit: Duration,
    /// Enrolment requests per second and source address, after a burst of ten times as many. An
    /// IPv6 network of 64 bits counts as one address; a token may be used four times as fast.
    pub enrolments_per_second: f64,
    /// The clock.
    pub clock: Clock,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            handshakes_per_second: 500.0,
            handshakes_in_flight: 2048,
            handshake_timeout: Duration::from_secs(10),
            unauthenticated_lifetime: Duration::from_secs(30),
            queued_bytes: 64 << 20,
            commit_interval: Duration::from_millis(200),
            commit_frames: 4096,
            ack_interval: Duration::from_secs(60),
            hole_interval: Duration::from_secs(600),
            series_per_host: 10_000,
            future_limit: Duration::from_secs(24 * 3600),
            enrolments_per_second: 5.0,
            clock: Clock::system(),
        }
    }
}

/// Where Unix time comes from; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(|| {
            let since = std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// A clock of one's own: Unix milliseconds.
    pub fn from_fn(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}
