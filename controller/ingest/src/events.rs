//! Event batches: checked in the session's task, committed by one task for all sessions.
//!
//! While one transaction is written the next batches gather, so the pace of the disk sets the size
//! of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{error, warn};
use xiezhi_evidence::judge;
use xiezhi_model::EventStream;
use xiezhi_protocol::batch::{BatchError, Stream, peek_events, read_events};
use xiezhi_store::{BatchOutcome, BatchProof, EventBatch, KeptEvents, Store, StoreError};

use crate::health::{Cause, SharedHealth, chain};
use crate::lane::{FrameRefusal, LaneKind};
use crate::mail::RefusedBatch;
use crate::metrics::Metrics;
use crate::options::Clock;
use crate::samples::conflict_audit;
use crate::shared::SessionShared;
use crate::vital::Vital;

/// Most batches in one transaction.
const GROUP: usize = 256;

/// Times that one group may meet a conflict: the first opens an epoch, in which nothing is known.
const ROUNDS: usize = 4;

/// Waits between attempts while the store fails.
const RETRY: Duration = Duration::from_secs(1);

/// A checked batch on its way to the store; its epoch is the session's at the time of the commit.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) session: Arc<SessionShared>,
    pub(crate) batch: EventBatch,
    /// Its share of the byte budget, given back when the batch is done with.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Where sessions put batches.
#[derive(Debug)]
pub(crate) struct EventSink {
    batches: mpsc::UnboundedSender<Events>,
    stop: Arc<AtomicBool>,
}

impl EventSink {
    /// Never waits: the byte budget is the bound.
    pub(crate) fn put(&self, events: Events) {
        events.session.book().submitted();
        // The task lives as long as this sender; after a stop nobody waits for the answer.
        drop(self.batches.send(events));
    }

    /// Gives up on a store that fails.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Decodes a batch and leaves out events that no agent of ours writes; tells how many. Whether its
/// signature is the host's decides nothing but how it is marked.
pub(crate) fn accept(
    session: &SessionShared,
    stream: EventStream,
    bytes: &[u8],
) -> Result<(EventBatch, usize), FrameRefusal> {
    let read = read_events(bytes).map_err(|error| explain(bytes, &error))?;
    let proof = match stream {
        EventStream::Events => None,
        EventStream::Security => Some(BatchProof {
            signature: judge(session.entry.evidence_key(), Stream::Security, &read),
            batch: bytes.to_vec(),
        }),
    };
    let kept = KeptEvents::of(read.events);
    let batch = EventBatch {
        host: session.host(),
        epoch: session.epoch(),
        stream,
        seq: read.info.seq,
        checksum: read.info.checksum,
        events: kept.events,
        facts: kept.facts,
        proof,
    };
    Ok((batch, kept.refused))
}

/// A damaged batch is given up: the agent has no better copy of it.
fn explain(bytes: &[u8], error: &BatchError) -> FrameRefusal {
    let word = match error {
        BatchError::Malformed | BatchError::Body(_) => "malformed",
        BatchError::Version(_) => "version",
        BatchError::TooLarge => "too_large",
        BatchError::Checksum => "checksum",
        BatchError::Compression(_) => "compression",
    };
    let seq = peek_events(bytes).ok().map(|info| info.seq);
    FrameRefusal {
        word,
        detail: format!("{word}: {error}"),
        seq,
        resend: false,
    }
}

/// The task that commits.
pub(crate) struct EventCommitter {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) health: SharedHealth,
    pub(crate) clock: Clock,
}

impl EventCommitter {
    /// Starts the task; it ends with the sink.
    pub(crate) fn start(self) -> EventSink {
        let (batches, receiver) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.run(receiver, Arc::clone(&stop)));
        EventSink { batches, stop }
    }

    async fn run(self, mut batches: mpsc::UnboundedReceiver<Events>, stop: Arc<AtomicBool>) {
        let _vital = Vital("the commit of events");
        let mut group = Vec::new();
        while batches.recv_many(&mut group, GROUP).await > 0 {
            for _ in 0..ROUNDS {
                group = self.commit(group, &stop).await;
                if group.is_empty() {
                    break;
                }
            }
            for events in group.drain(..) {
                let resend = "conflict: the batch could not be counted in any epoch";
                turn_down(&events.session, &events.batch, true, resend);
            }
        }
    }

    /// Stores the group, tells each session, and returns what met a conflict.
    async fn commit(&self, mut group: Vec<Events>, stop: &AtomicBool) -> Vec<Events> {
        for events in &mut group {
            events.batch.epoch = events.session.epoch();
        }
        let (batches, rest): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|events| (events.batch, (events.session, events.permit)))
            .unzip();
        let Some(outcomes) = self.insert(&batches, stop).await else {
            return Vec::new();
        };
        let mut again = Vec::new();
        for ((batch, (session, permit)), outcome) in batches.into_iter().zip(rest).zip(outcomes) {
            let stream = stream_of(batch.stream);
            match outcome {
                Some(BatchOutcome::Conflict) => {
                    self.metrics.conflicts.inc();
                    self.open_epoch(&session, &batch, stop).await;
                    again.push(Events {
                        session,
                        batch,
                        permit,
                    });
                }
                Some(outcome) => {
                    if outcome == BatchOutcome::Replay {
                        self.metrics.replays.inc();
                    }
                    session.durable(stream, LaneKind::Live, batch.epoch, batch.seq);
                }
                None => {
                    turn_down(
                        &session,
                        &batch,
                        false,
                        "unstorable: the batch cannot be stored",
                    );
                }
            }
        }
        again
    }

    /// Inserts until the store takes the batches; an outcome is `None` where one batch alone is at
    /// fault. `None` altogether if the store never did before the stop.
    async fn insert(
        &self,
        batches: &[EventBatch],
        stop: &AtomicBool,
    ) -> Option<Vec<Option<BatchOutcome>>> {
        loop {
            let now_ms = self.clock.now_ms();
            match self.store.insert_batches(batches, now_ms).await {
                Ok(outcomes) => {
                    self.health.events(now_ms, None);
                    return Some(outcomes.into_iter().map(Some).collect());
                }
                Err(error) if is_about_one_batch(&error) => {
                    return Some(self.insert_one_by_one(batches).await);
                }
                Err(error) => self.trouble(&error),
            }
            if stop.load(Ordering::Acquire) {
                return None;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn insert_one_by_one(&self, batches: &[EventBatch]) -> Vec<Option<BatchOutcome>> {
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            let one = self
                .store
                .insert_batches(std::slice::from_ref(batch), self.clock.now_ms());
            let outcome = match one.await {
                Ok(outcome) => outcome.first().copied(),
                Err(failure) => {
                    let error: &dyn std::error::Error = &failure;
                    error!(host = %batch.host, seq = batch.seq, error, "event batch is lost");
                    self.metrics.refuse("unstorable");
                    None
                }
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn open_epoch(&self, session: &SessionShared, batch: &EventBatch, stop: &AtomicBool) {
        let (now_ms, stream) = (self.clock.now_ms(), stream_of(batch.stream));
        if session.epoch() > batch.epoch {
            return;
        }
        let audit = conflict_audit(session, stream, batch.epoch, batch.seq, now_ms);
        while !stop.load(Ordering::Acquire) {
            match self
                .store
                .open_epoch(batch.host, batch.epoch, audit.clone())
                .await
            {
                Ok(epoch) => {
                    session.entry.identity_conflict(now_ms);
                    session.move_to(epoch);
                    return;
                }
                // Without a host there is no epoch; the batch is turned down.
                Err(StoreError::NotFound(_)) => return,
                Err(error) => self.trouble(&error),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn trouble(&self, error: &StoreError) {
        let reason = chain(error);
        self.metrics
            .commit_failures
            .with_label_values(&["state"])
            .inc();
        warn!(
            reason,
            "events cannot be stored, trying again; agents keep theirs"
        );
        self.health
            .events(self.clock.now_ms(), Some((Cause::of(error), reason)));
    }
}

fn turn_down(session: &SessionShared, batch: &EventBatch, resend: bool, reason: &str) {
    session.turn_down(RefusedBatch {
        stream: stream_of(batch.stream),
        seq: batch.seq,
        resend,
        reason: reason.to_owned(),
    });
}

/// Whether the error would stay however long one waits.
const fn is_about_one_batch(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotFound(_) | StoreError::Exists(_) | StoreError::Impossible(_)
    )
}

const fn stream_of(stream: EventStream) -> Stream {
    match stream {
        EventStream::Events => Stream::Events,
        EventStream::Security => Stream::Security,
    }
}
