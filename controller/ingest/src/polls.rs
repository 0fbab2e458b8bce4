//! Polls of devices: checked in the session's task, gathered, and committed by one task for all sessions.
//!
//! A poll becomes samples of its device, which is a source in the series engine as foreign senders are, and a
//! note in the state database: how the device answered and what it says of itself. Both are written once for
//! all polls of about a second. It has no ledger: samples are known by device, series and time, so a poll
//! that comes twice changes nothing. It is acknowledged when its samples are durable.

mod book;
mod samples;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{error, warn};
use xiezhi_model::DeviceId;
use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_protocol::poll::{Poll, PollError, peek_poll, read_poll};
use xiezhi_series::{SeriesError, SeriesStore};
use xiezhi_store::{DevicePoll, Store, StoreError};

use self::book::Book;
use self::samples::Sources;
use crate::health::{Cause, SharedHealth, chain};
use crate::lane::{FrameRefusal, LaneKind};
use crate::mail::RefusedBatch;
use crate::metrics::Metrics;
use crate::options::Clock;
use crate::shared::SessionShared;
use crate::vital::Vital;

/// Most polls of one commit: 3,000 devices that are polled each minute make 50 a second.
const GROUP: usize = 256;

/// Waits between attempts while a store fails.
const RETRY: Duration = Duration::from_secs(1);

/// A checked poll on its way to the stores.
#[derive(Debug)]
pub(crate) struct HeldPoll {
    pub(crate) session: Arc<SessionShared>,
    pub(crate) batch: BatchInfo,
    pub(crate) poll: Box<Poll>,
    /// Its share of the byte budget, given back when the poll is done with.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Where sessions put polls.
#[derive(Debug)]
pub(crate) struct PollSink {
    polls: mpsc::UnboundedSender<HeldPoll>,
    stop: Arc<AtomicBool>,
}

impl PollSink {
    /// Never waits: the byte budget is the bound.
    pub(crate) fn put(&self, poll: HeldPoll) {
        poll.session.book().submitted();
        // The task lives as long as this sender; after a stop nobody waits for the answer.
        drop(self.polls.send(poll));
    }

    /// Gives up on stores that fail.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// When a poll may have been, Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollTimes {
    pub(crate) now_ms: i64,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
}

/// Decodes and checks a poll.
pub(crate) fn accept(bytes: &[u8], times: PollTimes) -> Result<(BatchInfo, Poll), FrameRefusal> {
    let (batch, poll) = read_poll(bytes).map_err(|error| explain(bytes, &error))?;
    let refuse = |word: &'static str, detail: String| FrameRefusal {
        word,
        detail: format!("{word}: {detail}"),
        seq: Some(batch.seq),
        resend: false,
    };
    if batch.time_ms > times.newest_ms {
        let ahead_s = batch.time_ms.saturating_sub(times.now_ms) / 1000;
        let detail = format!("the poll is dated {ahead_s} s ahead of the controller");
        return Err(refuse("clock", detail));
    }
    if batch.time_ms < times.oldest_ms {
        let detail = "the poll is older than samples are kept".to_owned();
        return Err(refuse("too_old", detail));
    }
    Ok((batch, poll))
}

/// A damaged poll is given up: the agent has no better copy of it.
fn explain(bytes: &[u8], error: &PollError) -> FrameRefusal {
    let word = match error {
        PollError::Malformed
        | PollError::About(_)
        | PollError::Device(_)
        | PollError::Name(_)
        | PollError::Shape
        | PollError::NotFinite(_) => "malformed",
        PollError::Version(_) => "version",
        PollError::TooLarge(_) => "too_large",
        PollError::Checksum => "checksum",
        PollError::Compression(_) => "compression",
    };
    FrameRefusal {
        word,
        detail: format!("{word}: {error}"),
        seq: peek_poll(bytes).ok().map(|info| info.seq),
        resend: false,
    }
}

/// The task that commits.
pub(crate) struct PollCommitter {
    pub(crate) store: Store,
    pub(crate) series: SeriesStore,
    pub(crate) metrics: Metrics,
    pub(crate) health: SharedHealth,
    pub(crate) clock: Clock,
    /// How long polls are gathered before one commit.
    pub(crate) interval: Duration,
}

/// A poll whose device has its number.
struct Numbered {
    held: HeldPoll,
    device: DeviceId,
}

impl PollCommitter {
    /// Starts the task; it ends with the sink.
    ///
    /// # Errors
    /// The known devices cannot be read.
    pub(crate) async fn start(self) -> Result<PollSink, StoreError> {
        let book = Book::new(self.store.device_names().await?);
        let (polls, receiver) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        tokio::spawn(self.run(book, receiver, Arc::clone(&stop)));
        Ok(PollSink { polls, stop })
    }

    async fn run(
        self,
        mut book: Book,
        mut polls: mpsc::UnboundedReceiver<HeldPoll>,
        stop: Arc<AtomicBool>,
    ) {
        let _vital = Vital("the commit of polls");
        let mut group = Vec::new();
        while polls.recv_many(&mut group, GROUP).await > 0 {
            // One sleep instead of a write per poll.
            if group.len() < GROUP && !stop.load(Ordering::Acquire) {
                tokio::time::sleep(self.interval).await;
                while group.len() < GROUP
                    && let Ok(poll) = polls.try_recv()
                {
                    group.push(poll);
                }
            }
            let taken = std::mem::take(&mut group);
            if let Some(numbered) = self.note(taken, &mut book, &stop).await {
                self.append(numbered, &stop).await;
            }
        }
    }

    /// Notes how the devices answered and yields the polls with their devices' numbers; `None` if the
    /// store did not take it before the stop.
    async fn note(
        &self,
        group: Vec<HeldPoll>,
        book: &mut Book,
        stop: &AtomicBool,
    ) -> Option<Vec<Numbered>> {
        let mut held = Vec::with_capacity(group.len());
        for poll in group {
            if book.has_room(poll.session.host(), &poll.poll.device) {
                held.push(poll);
            } else {
                let most = book::DEVICES_PER_HOST;
                let reason = format!("device_limit: a host may poll {most} devices");
                self.turn_down(&poll, "device_limit", reason);
            }
        }
        loop {
            let notes: Vec<DevicePoll> = held
                .iter()
                .map(|one| book.note(one.session.host(), &one.poll))
                .collect();
            match self.store.note_polls(&notes).await {
                Ok(ids) => {
                    self.health.events(self.clock.now_ms(), None);
                    for (note, id) in notes.iter().zip(&ids) {
                        book.noted(note, *id);
                    }
                    let numbered = held.into_iter().zip(ids);
                    let numbered = numbered.map(|(held, device)| Numbered { held, device });
                    return Some(numbered.collect());
                }
                Err(StoreError::NotFound(_)) => held = self.without_strangers(held).await,
                Err(error) => self.database_trouble(&error),
            }
            if stop.load(Ordering::Acquire) {
                return None;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Leaves out polls of hosts that are gone.
    async fn without_strangers(&self, held: Vec<HeldPoll>) -> Vec<HeldPoll> {
        let mut kept = Vec::with_capacity(held.len());
        for one in held {
            match self.store.host(one.session.host()).await {
                Ok(None) => {
                    let reason = "unstorable: the host is not known".to_owned();
                    self.turn_down(&one, "unstorable", reason);
                }
                _ => kept.push(one),
            }
        }
        kept
    }

    /// Appends the samples of all polls with one write and acknowledges what is durable.
    async fn append(&self, group: Vec<Numbered>, stop: &AtomicBool) {
        let mut sources = Sources::default();
        for one in &group {
            sources.add(one.device, &one.held.poll);
        }
        self.count_refused("value", sources.refused);
        let sources = Arc::new(sources);
        let reports = loop {
            let (series, samples) = (self.series.clone(), Arc::clone(&sources));
            let appended = tokio::task::spawn_blocking(move || samples.append(&series)).await;
            match appended {
                Ok(Ok(reports)) => break reports,
                Ok(Err(error)) => self.series_trouble(&error),
                Err(error) => error!(%error, "polls could not be stored, trying again"),
            }
            if stop.load(Ordering::Acquire) {
                return;
            }
            tokio::time::sleep(RETRY).await;
        };
        for (device, report) in &reports {
            for (_, refusal) in &report.refused {
                self.count_refused(refusal.reason(), 1);
            }
            if let Some((_, refusal)) = report.refused.first() {
                let left_out = report.refused.len();
                warn!(device, left_out, %refusal, "series of a device are left out");
            }
        }
        for Numbered { held, device } in group {
            self.metrics.polls.inc();
            let report = reports.iter().find(|(known, _)| *known == device.0);
            if report.is_some_and(|(_, report)| report.postponed > 0) {
                // What was looked up is remembered, so it comes further when it comes again.
                held.session.turn_down(RefusedBatch {
                    stream: Stream::Polls,
                    seq: held.batch.seq,
                    resend: true,
                    reason: "busy: too much would be read to judge the samples".to_owned(),
                });
                continue;
            }
            let (session, epoch) = (&held.session, held.session.epoch());
            session.durable(Stream::Polls, LaneKind::Backlog, epoch, held.batch.seq);
            drop(held.permit);
        }
    }

    fn count_refused(&self, reason: &'static str, count: u64) {
        let counter = self.metrics.refused.with_label_values(&[reason]);
        counter.inc_by(count);
    }

    fn turn_down(&self, held: &HeldPoll, word: &'static str, reason: String) {
        self.metrics.refuse(word);
        held.session.turn_down(RefusedBatch {
            stream: Stream::Polls,
            seq: held.batch.seq,
            resend: false,
            reason,
        });
    }

    fn database_trouble(&self, error: &StoreError) {
        let reason = chain(error);
        self.count_failure("state");
        warn!(
            reason,
            "devices cannot be noted, trying again; agents keep theirs"
        );
        let why = (Cause::of(error), reason);
        self.health.events(self.clock.now_ms(), Some(why));
    }

    fn series_trouble(&self, error: &SeriesError) {
        let reason = chain(error);
        self.count_failure("series");
        warn!(
            reason,
            "polls cannot be stored, trying again; agents keep theirs"
        );
        let why = (Cause::of_disk(error.is_full()), reason);
        self.health.samples(self.clock.now_ms(), Some(why));
    }

    fn count_failure(&self, store: &str) {
        self.metrics
            .commit_failures
            .with_label_values(&[store])
            .inc();
    }
}
