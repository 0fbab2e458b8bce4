//! How sending stands: numbers for dashboards, words for people.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

/// What pages and health show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// Age of the oldest stored sample that the cluster does not have yet, in milliseconds; 0 while
    /// it has them all.
    pub lag_ms: i64,
    /// Since when nothing is taken, Unix milliseconds, and why.
    pub trouble: Option<(i64, String)>,
    /// Samples acknowledged since the start.
    pub sent: u64,
    /// Samples that the cluster refused for good.
    pub dropped: u64,
    /// The trouble before, unless there is some now.
    pub ended: Option<Ended>,
    /// The newest refusals that follow each other within an hour.
    pub refusals: Option<Refusals>,
    /// Frames that went before they were sent, since the start.
    pub unsent: u64,
}

/// Samples that the cluster refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    /// The first, Unix milliseconds.
    pub since_ms: i64,
    /// The last, Unix milliseconds.
    pub last_ms: i64,
    /// How many.
    pub samples: u64,
}

impl Refusals {
    /// Refusals further apart than this have nothing to do with each other, and what is older needs
    /// nobody's attention, milliseconds.
    pub const TOGETHER_MS: i64 = 3_600_000;
}

/// Trouble that is over, or only seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Since when it was, Unix milliseconds.
    pub since_ms: i64,
    /// When the cluster took something again, Unix milliseconds.
    pub ended_ms: i64,
    /// What it was.
    pub reason: String,
}

impl Ended {
    /// For so long a cluster takes samples before it is well, milliseconds.
    pub const SETTLED_MS: i64 = 30_000;

    /// Whether it ended so lately that it may come back.
    #[must_use]
    pub fn is_near(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.ended_ms) < Self::SETTLED_MS
    }
}

/// How sending stands. Clones share it.
#[derive(Debug, Clone)]
pub struct Status {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    standing: Mutex<Standing>,
    pub(super) sent: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) requests: IntCounter,
    pub(super) retries: IntCounter,
    pub(super) dropped: IntCounter,
    pub(super) unjudged: IntCounter,
    pub(super) refused_again: IntCounter,
    pub(super) returns: IntCounter,
    pub(super) undecodable: IntCounter,
    unsent: IntGauge,
    held_bytes: IntGauge,
    lag: Gauge,
    connected: IntGauge,
}

macro_rules! registered {
    ($registry:expr, $kind:ident, $name:literal, $help:literal) => {{
        let metric = $kind::new($name, $help)?;
        $registry.register(Box::new(metric.clone()))?;
        metric
    }};
}

impl Status {
    /// Registers the numbers.
    ///
    /// # Errors
    /// If there are such numbers already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let inner = Inner {
            standing: Mutex::default(),
            sent: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_sent_samples_total",
                "Samples that the cluster acknowledged, repetitions included."
            ),
            bytes: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_sent_bytes_total",
                "Compressed bytes of bodies sent to the cluster."
            ),
            requests: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_requests_total",
                "Requests sent to the cluster."
            ),
            retries: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_retries_total",
                "Times that sending to the cluster had to be tried again."
            ),
            dropped: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_dropped_samples_total",
                "Samples that the cluster refused; they are in the local store only."
            ),
            unjudged: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_unjudged_samples_total",
                "Dropped samples that were refused together only, because the cluster refused \
                 everything for long."
            ),
            refused_again: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_refused_repetitions_total",
                "Samples sent again and refused, because the cluster has them."
            ),
            returns: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_returns_total",
                "Lost connections after which the last minute was sent again."
            ),
            undecodable: registered!(
                registry,
                IntCounter,
                "xiezhi_cluster_undecodable_frames_total",
                "Frames that could not be decoded and were not sent."
            ),
            unsent: registered!(
                registry,
                IntGauge,
                "xiezhi_cluster_unsent_frames",
                "Frames that were removed before they were sent, since the start."
            ),
            held_bytes: registered!(
                registry,
                IntGauge,
                "xiezhi_cluster_held_bytes",
                "Size of logs kept because they are not sent yet."
            ),
            lag: registered!(
                registry,
                Gauge,
                "xiezhi_cluster_lag_seconds",
                "Age of the oldest sample that the cluster does not have yet."
            ),
            connected: registered!(
                registry,
                IntGauge,
                "xiezhi_cluster_up",
                "1 while the cluster takes samples."
            ),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.inner
            .standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands now.
    #[must_use]
    pub fn now(&self) -> Standing {
        self.standing().clone()
    }

    pub(super) fn note_sent(&self, samples: usize, bytes: usize) {
        self.inner.sent.inc_by(samples as u64);
        self.inner.bytes.inc_by(bytes as u64);
        self.inner.requests.inc();
        self.standing().sent += samples as u64;
    }

    pub(super) fn note_dropped(&self, samples: usize, now_ms: i64) {
        let samples = samples as u64;
        self.inner.dropped.inc_by(samples);
        let mut standing = self.standing();
        standing.dropped += samples;
        let before = standing.refusals.take();
        let is_near = |one: &Refusals| now_ms.saturating_sub(one.last_ms) < Refusals::TOGETHER_MS;
        let before = before.filter(is_near);
        standing.refusals = Some(Refusals {
            since_ms: before.map_or(now_ms, |one| one.since_ms),
            last_ms: now_ms,
            samples: before.map_or(0, |one| one.samples) + samples,
        });
    }

    pub(super) fn note_unjudged(&self, samples: usize) {
        self.inner.unjudged.inc_by(samples as u64);
    }

    pub(super) fn note_refused_again(&self, samples: usize) {
        self.inner.refused_again.inc_by(samples as u64);
    }

    pub(super) fn note_return(&self) {
        self.inner.returns.inc();
    }

    pub(super) fn note_undecodable(&self, frames: u64) {
        self.inner.undecodable.inc_by(frames);
    }

    /// The cluster took something.
    pub(super) fn well(&self, now_ms: i64) {
        self.inner.connected.set(1);
        let mut standing = self.standing();
        if let Some((since_ms, reason)) = standing.trouble.take() {
            tracing::info!(since_ms, reason, "the cluster takes samples again");
            standing.ended = Some(Ended {
                since_ms,
                ended_ms: now_ms,
                reason,
            });
        }
    }

    /// It did not.
    pub(super) fn unwell(&self, now_ms: i64, reason: String) {
        self.inner.retries.inc();
        self.inner.connected.set(0);
        let mut standing = self.standing();
        // What comes back at once was never over.
        let ended = standing.ended.take().filter(|ended| ended.is_near(now_ms));
        let since_ms = ended.map_or(now_ms, |ended| ended.since_ms);
        let since_ms = standing
            .trouble
            .as_ref()
            .map_or(since_ms, |before| before.0);
        if standing.trouble.is_none() {
            tracing::warn!(
                reason,
                "the cluster does not take samples; they wait in the log"
            );
        }
        standing.trouble = Some((since_ms, reason));
    }

    pub(super) fn note_lag(&self, lag_ms: i64, held_bytes: u64, unsent: u64) {
        self.inner.lag.set(lag_ms as f64 / 1000.0);
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.inner.held_bytes.set(signed(held_bytes));
        self.inner.unsent.set(signed(unsent));
        let mut standing = self.standing();
        (standing.lag_ms, standing.unsent) = (lag_ms, unsent);
    }
}
