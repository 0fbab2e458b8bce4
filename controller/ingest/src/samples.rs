//! Group commit of sample frames: one thread, one write and one synchronisation for all sessions.
//!
//! Frames wait at most one commit interval. While the store fails they stay here, nothing is
//! acknowledged, the byte budget runs out and sessions stop reading: the agents keep what is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info, warn};
use xiezhi_model::{Actor, AuditEntry};
use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_series::{Appended, Frame, SeriesError, SeriesStore};
use xiezhi_store::{Store, StoreError};

use crate::health::{Cause, SharedHealth};
use crate::lane::LaneKind;
use crate::mail::RefusedBatch;
use crate::metrics::Metrics;
use crate::options::Clock;
use crate::shared::SessionShared;
use crate::vital::Vital;

/// Waits between attempts while a store fails.
const RETRY: Duration = Duration::from_secs(1);

/// Times that one group may meet a conflict: the first opens an epoch, in which nothing is known.
const ROUNDS: usize = 4;

/// A decoded and checked frame on its way to the store.
#[derive(Debug)]
pub(crate) struct SampleFrame {
    pub(crate) session: Arc<SessionShared>,
    pub(crate) lane: LaneKind,
    pub(crate) batch: BatchInfo,
    pub(crate) key: bool,
    pub(crate) bytes: Box<[u8]>,
    /// Its share of the byte budget, given back when the frame is done with.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// Where sessions put frames.
#[derive(Debug)]
pub(crate) struct SampleSink {
    frames: Sender<Option<SampleFrame>>,
    stop: Arc<AtomicBool>,
}

impl SampleSink {
    /// Never blocks: the byte budget is the bound.
    pub(crate) fn put(&self, frame: SampleFrame) {
        frame.session.book().submitted();
        // The thread lives as long as this sender; after a stop nobody waits for the answer.
        drop(self.frames.send(Some(frame)));
    }

    /// Commits what is queued, gives up on a store that fails, and ends the thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        drop(self.frames.send(None));
    }
}

/// The thread's own state.
pub(crate) struct SampleCommitter {
    pub(crate) series: SeriesStore,
    pub(crate) store: Store,
    pub(crate) runtime: Handle,
    pub(crate) metrics: Metrics,
    pub(crate) health: SharedHealth,
    pub(crate) clock: Clock,
    pub(crate) interval: Duration,
    pub(crate) most: usize,
    pub(crate) stop: Arc<AtomicBool>,
}

impl SampleCommitter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(self) -> std::io::Result<(SampleSink, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let sink = SampleSink {
            frames: sender,
            stop: Arc::clone(&self.stop),
        };
        let name = "xz-commit".to_owned();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || self.run(&receiver))?;
        Ok((sink, thread))
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn run(&self, frames: &Receiver<Option<SampleFrame>>) {
        let _vital = Vital("the commit of samples");
        let mut group = Vec::new();
        let mut ended = false;
        while !ended {
            match frames.recv() {
                Ok(Some(frame)) => group.push(frame),
                Ok(None) | Err(_) => ended = true,
            }
            // One sleep instead of a wake-up per frame.
            if !ended && !self.stopping() {
                std::thread::sleep(self.interval);
            }
            loop {
                let room = self.most.saturating_sub(group.len());
                group.extend(frames.try_iter().take(room).flatten());
                if group.is_empty() {
                    break;
                }
                self.commit(&mut group);
            }
            ended |= self.stopping();
        }
    }

    /// Stores the group and tells each session. After [`ROUNDS`] conflicts what is left is turned
    /// down, to be sent again.
    fn commit(&self, group: &mut Vec<SampleFrame>) {
        let mut waiting = std::mem::take(group);
        for _ in 0..ROUNDS {
            waiting.retain(|frame| self.follows(frame));
            if waiting.is_empty() {
                return;
            }
            let Some(outcomes) = self.append(&mut waiting) else {
                return;
            };
            waiting = self.settle(waiting, &outcomes);
        }
        for frame in &waiting {
            turn_down(
                frame,
                true,
                "conflict: the batch could not be counted in any epoch",
            );
        }
    }

    /// Whether the frame continues what is stored of its chain; if not, it is turned down.
    fn follows(&self, frame: &SampleFrame) -> bool {
        let follows = frame.session.follows(frame.lane, frame.key);
        if !follows {
            self.metrics.refuse("chain");
            turn_down(frame, true, "chain: a new epoch began, start a new chain");
        }
        follows
    }

    /// Appends until the store takes the frames; `None` if it never did before the stop. A frame
    /// that is too large for the store is turned down and leaves `waiting`.
    fn append(&self, waiting: &mut Vec<SampleFrame>) -> Option<Vec<(u64, Appended)>> {
        loop {
            let epochs: Vec<u64> = waiting.iter().map(|frame| frame.session.epoch()).collect();
            match self.append_once(waiting, &epochs) {
                Ok(outcomes) => {
                    self.health.samples(self.clock.now_ms(), None);
                    self.metrics.commits.inc();
                    return Some(epochs.into_iter().zip(outcomes).collect());
                }
                Err(SeriesError::TooLarge { what: "frame", .. }) => {
                    waiting.retain(|frame| self.fits(frame));
                    if waiting.is_empty() {
                        return None;
                    }
                }
                Err(failure) => {
                    self.trouble(&failure);
                    if self.stopping() {
                        return None;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// One append, in halves if the store finds the group too large.
    fn append_once(
        &self,
        waiting: &[SampleFrame],
        epochs: &[u64],
    ) -> Result<Vec<Appended>, SeriesError> {
        let frames: Vec<Frame<'_>> = waiting
            .iter()
            .zip(epochs)
            .map(|(frame, &epoch)| Frame {
                host: frame.session.host().0,
                epoch,
                batch: frame.batch,
                key: frame.key,
                bytes: &frame.bytes,
            })
            .collect();
        match self.series.append(&frames) {
            Err(SeriesError::TooLarge { what: "append", .. }) if waiting.len() > 1 => {
                let middle = waiting.len() / 2;
                let (front, back) = waiting.split_at(middle);
                let (front_epochs, back_epochs) = epochs.split_at(middle);
                let mut outcomes = self.append_once(front, front_epochs)?;
                outcomes.append(&mut self.append_once(back, back_epochs)?);
                Ok(outcomes)
            }
            outcome => outcome,
        }
    }

    /// Whether the store can hold the frame at all; if not, it is turned down for good.
    fn fits(&self, frame: &SampleFrame) -> bool {
        let alone = self.append_once(std::slice::from_ref(frame), &[frame.session.epoch()]);
        if !matches!(alone, Err(SeriesError::TooLarge { .. })) {
            return true;
        }
        self.metrics.refuse("too_large");
        turn_down(
            frame,
            false,
            "too_large: the report is larger than the store can hold",
        );
        false
    }

    /// Acknowledges what is durable and returns what must be appended again in a new epoch.
    fn settle(&self, group: Vec<SampleFrame>, outcomes: &[(u64, Appended)]) -> Vec<SampleFrame> {
        let mut again = Vec::new();
        // Lanes that met a conflict in this group: what follows in them belongs to the new epoch.
        let mut moved: Vec<(Arc<SessionShared>, LaneKind)> = Vec::new();
        for (frame, &(epoch, outcome)) in group.into_iter().zip(outcomes) {
            let behind = moved
                .iter()
                .any(|(session, lane)| *lane == frame.lane && Arc::ptr_eq(session, &frame.session));
            match outcome {
                Appended::Replay => {
                    self.metrics.replays.inc();
                    frame
                        .session
                        .durable(Stream::Samples, frame.lane, epoch, frame.batch.seq);
                }
                Appended::Stored if !behind => {
                    frame
                        .session
                        .durable(Stream::Samples, frame.lane, epoch, frame.batch.seq);
                }
                // Stored behind a conflict: its predecessor in that epoch is another frame, so the
                // copy there cannot be decoded. It is stored again where its chain goes on.
                Appended::Stored => again.push(frame),
                Appended::Conflict => {
                    self.metrics.conflicts.inc();
                    if !behind {
                        self.open_epoch(&frame.session, epoch, frame.batch.seq);
                        moved.push((Arc::clone(&frame.session), frame.lane));
                    }
                    again.push(frame);
                }
            }
        }
        again
    }

    fn open_epoch(&self, session: &SessionShared, epoch: u64, seq: u64) {
        if session.epoch() > epoch {
            return;
        }
        let now_ms = self.clock.now_ms();
        let audit = conflict_audit(session, Stream::Samples, epoch, seq, now_ms);
        while !self.stopping() {
            let opened = self.store.open_epoch(session.host(), epoch, audit.clone());
            match self.runtime.block_on(opened) {
                Ok(opened) => {
                    session.entry.identity_conflict(now_ms);
                    session.move_to(opened);
                    return;
                }
                // Without a host there is no epoch; the frames are turned down.
                Err(StoreError::NotFound(_)) => return,
                Err(failure) => {
                    let error: &dyn std::error::Error = &failure;
                    error!(host = %session.host(), error, "cannot open a new epoch, trying again");
                    self.metrics
                        .commit_failures
                        .with_label_values(&["state"])
                        .inc();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn trouble(&self, failure: &SeriesError) {
        let reason = crate::health::chain(failure);
        self.metrics
            .commit_failures
            .with_label_values(&["series"])
            .inc();
        warn!(
            reason,
            "samples cannot be stored, trying again; agents keep theirs"
        );
        let why = (Cause::of_disk(failure.is_full()), reason);
        self.health.samples(self.clock.now_ms(), Some(why));
    }
}

/// The audit entry of a batch that came again with other content.
pub(crate) fn conflict_audit(
    session: &SessionShared,
    stream: Stream,
    epoch: u64,
    seq: u64,
    now_ms: i64,
) -> AuditEntry {
    let host = session.host();
    info!(%host, stream = stream.name(), epoch, seq, "batch came again with other content");
    AuditEntry::new(
        now_ms,
        Actor::Host(host),
        "host.rolled_back_or_cloned",
        format!("host:{host}"),
    )
    .with("stream", stream.name())
    .with("before", epoch.to_string())
    .with("seq", seq.to_string())
}

fn turn_down(frame: &SampleFrame, resend: bool, reason: &str) {
    frame.session.turn_down(RefusedBatch {
        stream: Stream::Samples,
        seq: frame.batch.seq,
        resend,
        reason: reason.to_owned(),
    });
}
