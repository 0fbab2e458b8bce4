//! What the agent port counts about itself. Labels come from closed sets only.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges, registered once per registry.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) frames: IntCounter,
    pub(crate) samples: IntCounter,
    pub(crate) events: IntCounter,
    pub(crate) polls: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) replays: IntCounter,
    pub(crate) conflicts: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) signatures: IntCounterVec,
    pub(crate) sessions: IntGauge,
    pub(crate) sessions_opened: IntCounter,
    pub(crate) handshakes: IntCounter,
    pub(crate) handshakes_failed: IntCounterVec,
    pub(crate) series_texts: IntGauge,
    pub(crate) commits: IntCounter,
    pub(crate) commit_failures: IntCounterVec,
    pub(crate) queued_bytes: IntGauge,
}

impl Metrics {
    /// # Errors
    /// Another ingest is registered there already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let labelled = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            frames: counter(
                "xiezhi_ingest_frames_total",
                "Sample frames received and decoded.",
            )?,
            samples: counter("xiezhi_ingest_samples_total", "Samples in decoded frames.")?,
            events: counter("xiezhi_ingest_events_total", "Events in decoded batches.")?,
            polls: counter(
                "xiezhi_ingest_polls_total",
                "Polls of devices whose samples were stored.",
            )?,
            bytes: counter(
                "xiezhi_ingest_bytes_total",
                "Payload bytes received in sessions.",
            )?,
            replays: counter(
                "xiezhi_ingest_replays_total",
                "Batches that were known already.",
            )?,
            conflicts: counter(
                "xiezhi_ingest_conflicts_total",
                "Batches whose number was known with other content: a new epoch each.",
            )?,
            refused: labelled(
                "xiezhi_ingest_refused_total",
                "Batches, requests and connections that were refused.",
                "reason",
            )?,
            signatures: labelled(
                "xiezhi_ingest_signatures_total",
                "Batches of security events, by what their signature was found to be.",
                "signature",
            )?,
            sessions: gauge("xiezhi_ingest_sessions", "Open sessions.")?,
            sessions_opened: counter("xiezhi_ingest_sessions_total", "Sessions opened.")?,
            handshakes: counter("xiezhi_ingest_handshakes_total", "Finished TLS handshakes.")?,
            handshakes_failed: labelled(
                "xiezhi_ingest_handshakes_failed_total",
                "TLS handshakes that did not finish.",
                "reason",
            )?,
            series_texts: gauge(
                "xiezhi_ingest_series_texts",
                "Distinct series texts in memory.",
            )?,
            commits: counter(
                "xiezhi_ingest_commits_total",
                "Group commits of sample frames.",
            )?,
            commit_failures: labelled(
                "xiezhi_ingest_commit_failures_total",
                "Commits that a store refused; they are tried again.",
                "store",
            )?,
            queued_bytes: gauge(
                "xiezhi_ingest_queued_bytes",
                "Received and not yet durable.",
            )?,
        })
    }

    /// Counts one refusal. `reason` must be a word of a closed set.
    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}
