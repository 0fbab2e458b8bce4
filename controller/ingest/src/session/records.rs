//! What each record of the upload stream does.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use xiezhi_model::{Actor, AuditEntry, EventStream, Gap};
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Goodbye, Refused, SpoolStatus, Status};
use xiezhi_protocol::record::Kind;

use super::{End, Held, Session, whole_session};
use crate::events;
use crate::fleet::{Footprint, StatusUpdate};
use crate::inbox::Next;
use crate::lane::{Accepted, FrameRefusal, LaneKind, LaneRules};
use crate::polls::{self, PollTimes};

/// Gaps that one status may report.
const MAX_DROPPED: usize = 1000;

/// A decoded event takes about this much more memory than its share of the deflated batch; the batch
/// itself is kept beside it.
const EVENT_EXPANSION: usize = 9;

/// The same of a poll: its label values are texts of their own, and its integers are small on the wire.
const POLL_EXPANSION: usize = 12;

impl Session {
    pub(super) fn record(&mut self, kind: u8, payload: &[u8]) -> Result<Next, End> {
        let going_on = match Kind::from_number(kind) {
            Some(Kind::LiveSamples) => self.samples(LaneKind::Live, payload)?,
            Some(Kind::BacklogSamples) => self.samples(LaneKind::Backlog, payload)?,
            Some(Kind::Events) => self.events(EventStream::Events, payload)?,
            Some(Kind::Security) => self.events(EventStream::Security, payload)?,
            Some(Kind::Polls) => self.poll_of_device(payload)?,
            Some(Kind::Status) => self.status(payload)?,
            Some(Kind::Goodbye) => self.goodbye(payload),
            Some(Kind::Flush) => self.flush()?,
            Some(Kind::Hello) => return Err(End::Protocol("a second hello")),
            // What a newer agent sends beyond this protocol is skipped.
            _ => true,
        };
        Ok(if going_on { Next::Read } else { Next::Wait })
    }

    fn samples(&mut self, kind: LaneKind, frame: &[u8]) -> Result<bool, End> {
        let context = Arc::clone(&self.context);
        let rules = LaneRules {
            interner: &context.interner,
            series_per_host: context.options.series_per_host,
            future_limit: context.options.future_limit,
            now_ms: context.now_ms(),
        };
        let lane = match kind {
            LaneKind::Live => &mut self.live,
            LaneKind::Backlog => &mut self.backlog,
        };
        match lane.accept(frame, rules) {
            Ok(accepted) => self.accepted(kind, accepted, rules.now_ms),
            Err(refusal) => self.refused(Stream::Samples, refusal),
        }
    }

    fn accepted(&mut self, lane: LaneKind, frame: Accepted, now_ms: i64) -> Result<bool, End> {
        let metrics = &self.context.metrics;
        metrics.frames.inc();
        metrics.samples.inc_by(frame.samples as u64);
        if frame.values_refused > 0 {
            metrics
                .refused
                .with_label_values(&["value"])
                .inc_by(frame.values_refused as u64);
        }
        match lane {
            LaneKind::Live => {
                let columns = self.live.columns();
                let headline = self
                    .headline
                    .read(frame.batch.time_ms, frame.key_sent, columns);
                self.shared.entry.reported(now_ms, headline, columns.len());
            }
            LaneKind::Backlog => self.backlog_rests = false,
        }
        self.bound_series(frame.series_refused)?;
        let bytes = frame.bytes.len();
        let held = Held::Frame {
            lane,
            batch: frame.batch,
            key: frame.key,
            bytes: frame.bytes,
        };
        Ok(self.submit(held, bytes))
    }

    /// Tells once, when it begins, that a host has more series than it may.
    fn bound_series(&mut self, refused: usize) -> Result<(), End> {
        if refused > 0 {
            let counter = self
                .context
                .metrics
                .refused
                .with_label_values(&["series_limit"]);
            counter.inc_by(refused as u64);
        }
        let before = std::mem::replace(&mut self.series_refused, refused);
        if before == refused {
            return Ok(());
        }
        self.shared.entry.series_refused(refused);
        if before > 0 {
            return Ok(());
        }
        let most = self.context.options.series_per_host;
        let reason = format!("series_limit: a host may have {most} series, {refused} are left out");
        tracing::warn!(host = %self.shared.host(), reason, "series left out");
        self.refuse(&whole_session(reason))
    }

    fn events(&mut self, stream: EventStream, payload: &[u8]) -> Result<bool, End> {
        match events::accept(&self.shared, stream, payload) {
            Ok((batch, refused)) => {
                let metrics = &self.context.metrics;
                metrics.events.inc_by(batch.events.len() as u64);
                if let Some(proof) = &batch.proof {
                    let word = proof.signature.word();
                    metrics.signatures.with_label_values(&[word]).inc();
                }
                if refused > 0 {
                    metrics
                        .refused
                        .with_label_values(&["event"])
                        .inc_by(refused as u64);
                }
                Ok(self.submit(Held::Events(batch), payload.len() * EVENT_EXPANSION))
            }
            Err(refusal) => {
                let stream = match stream {
                    EventStream::Events => Stream::Events,
                    EventStream::Security => Stream::Security,
                };
                self.refused(stream, refusal)
            }
        }
    }

    fn poll_of_device(&mut self, payload: &[u8]) -> Result<bool, End> {
        let context = Arc::clone(&self.context);
        let now_ms = context.now_ms();
        let limit_ms = |limit: Duration| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let kept_ms = limit_ms(context.series.retention());
        let kept_since_ms = context.series.kept_since_ms().saturating_add(1);
        let times = PollTimes {
            now_ms,
            oldest_ms: now_ms.saturating_sub(kept_ms).max(kept_since_ms),
            newest_ms: now_ms.saturating_add(limit_ms(context.options.future_limit)),
        };
        match polls::accept(payload, times) {
            Ok((batch, poll)) => {
                let held = Held::Poll(batch, Box::new(poll));
                Ok(self.submit(held, payload.len() * POLL_EXPANSION))
            }
            Err(refusal) => self.refused(Stream::Polls, refusal),
        }
    }

    fn refused(&mut self, stream: Stream, refusal: FrameRefusal) -> Result<bool, End> {
        self.context.metrics.refuse(refusal.word);
        let FrameRefusal {
            seq,
            resend,
            detail,
            word,
        } = refusal;
        if !resend && self.given_up.insert(word) {
            self.audit_refusal(stream, word, &detail);
        }
        tracing::debug!(host = %self.shared.host(), stream = stream.name(), seq, detail, "refused");
        self.refuse(&Refused {
            stream,
            seq,
            resend,
            reason: detail,
        })?;
        Ok(true)
    }

    /// What is refused for good is lost, and somebody should know: once a session for each reason,
    /// and at most one entry an hour, however often the host reconnects.
    fn audit_refusal(&self, stream: Stream, reason: &'static str, detail: &str) {
        let context = Arc::clone(&self.context);
        let subject = format!("host:{}", self.shared.host());
        let entry = AuditEntry::new(
            context.now_ms(),
            Actor::System,
            "host.batch_refused",
            subject,
        )
        .with("stream", stream.name())
        .with("reason", reason)
        .with("detail", detail);
        tokio::spawn(async move {
            if let Err(error) = context.store.append_repeated_audit(&entry).await {
                tracing::warn!(error = %error, "a refusal cannot be audited");
            }
        });
    }

    fn status(&mut self, payload: &[u8]) -> Result<bool, End> {
        if let Some(status) = self.parse::<Status>(payload) {
            let footprint = Footprint {
                memory_bytes: status.memory_bytes,
                cpu_ms: status.cpu_ms,
            };
            self.report_gaps(&status.spool)?;
            self.shared.entry.status(StatusUpdate {
                skew_ms: status.clock_ms.saturating_sub(self.context.now_ms()),
                spool: status.spool,
                footprint: Some(footprint),
                certificate_expires_s: status.certificate_expires_s,
            });
        }
        Ok(true)
    }

    fn goodbye(&mut self, payload: &[u8]) -> bool {
        if let Some(goodbye) = self.parse::<Goodbye>(payload) {
            self.shared
                .entry
                .goodbye(goodbye.reason, self.context.now_ms());
        }
        true
    }

    fn flush(&mut self) -> Result<bool, End> {
        if self.shared.book().flush() {
            self.acknowledge()?;
        }
        Ok(true)
    }

    /// A control record that cannot be read costs itself only.
    fn parse<T: DeserializeOwned>(&self, payload: &[u8]) -> Option<T> {
        let parsed = serde_json::from_slice(payload).ok();
        if parsed.is_none() {
            self.context.metrics.refuse("control");
        }
        parsed
    }

    /// Queues what the spool gave up since it last said so. Until it is durable nothing is
    /// acknowledged.
    pub(crate) fn report_gaps(&mut self, spool: &SpoolStatus) -> Result<(), End> {
        if spool.dropped == self.dropped {
            return Ok(());
        }
        let known = std::mem::replace(&mut self.dropped, spool.dropped.clone());
        self.dropped.truncate(MAX_DROPPED);
        for dropped in self
            .dropped
            .iter()
            .filter(|dropped| !known.contains(dropped))
        {
            let gap = Gap {
                host: self.shared.host(),
                epoch: self.shared.epoch(),
                stream: dropped.stream.name().to_owned(),
                first: dropped.first,
                last: dropped.last,
                from_ms: dropped.from_ms,
                to_ms: dropped.to_ms,
                reason: dropped.reason.chars().take(32).collect(),
            };
            self.shared.gap_waits();
            let note = (gap, Arc::clone(&self.shared));
            if !self.context.gaps.push(note) {
                return Err(End::Protocol(
                    "gaps cannot be noted now, connect again later",
                ));
            }
        }
        Ok(())
    }
}
