//! An open session: records up, acknowledgements and directives down.
//!
//! Driven by its connection's task through [`Session::poll`] and [`Session::handle`]; it never
//! waits by itself. When the byte budget is used up it holds one batch, reads nothing more and goes
//! on as soon as there is room; the connection stays alive meanwhile.

mod downlink;
mod records;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::message::{Dropped, Refused};
use xiezhi_protocol::record::{Kind, RecordError};
use xiezhi_store::EventBatch;

use crate::context::Context;
use crate::events::Events;
use crate::headline::HeadlineReader;
use crate::inbox::Inbox;
use crate::lane::{Lane, LaneKind};
use crate::mail::{CloseReason, Mail};
use crate::polls::HeldPoll;
use crate::samples::SampleFrame;
use crate::shared::SessionShared;
use downlink::Downlink;

/// A session on which nothing comes for so long is over: its host's line is cut, or it is gone.
/// Agents send a status every few minutes and reports far more often.
const SILENT_AFTER: Duration = Duration::from_secs(11 * 60);

/// What can happen to a session.
#[derive(Debug)]
pub(crate) enum Input {
    Uplink(Option<Result<Bytes, h2::Error>>),
    Outcomes(Option<Result<Bytes, h2::Error>>),
    Mail(Mail),
    Room(OwnedSemaphorePermit),
    Tick,
}

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent closed its side, or the connection broke.
    Gone,
    /// The controller closes it.
    Closed(CloseReason),
    /// What the agent sends is no stream of records.
    Unreadable(RecordError),
    /// The agent breaks the protocol.
    Protocol(&'static str),
}

impl From<RecordError> for End {
    fn from(error: RecordError) -> Self {
        Self::Unreadable(error)
    }
}

/// A batch that waits for room.
enum Held {
    Frame {
        lane: LaneKind,
        batch: BatchInfo,
        key: bool,
        bytes: Box<[u8]>,
    },
    Events(EventBatch),
    Poll(BatchInfo, Box<xiezhi_protocol::poll::Poll>),
}

type RoomFuture = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// The session's own state; one task owns it.
pub(crate) struct Session {
    context: Arc<Context>,
    shared: Arc<SessionShared>,
    uplink: RecvStream,
    inbox: Inbox,
    down: Downlink,
    mail: mpsc::UnboundedReceiver<Mail>,
    live: Lane,
    backlog: Lane,
    headline: HeadlineReader,
    held: Option<(Held, RoomFuture)>,
    timer: Interval,
    heard: Instant,
    /// Something waited to be acknowledged at the tick before.
    waited: bool,
    backlog_rests: bool,
    confirmed: bool,
    series_refused: usize,
    /// Reasons for which something of this session was given up, once each.
    given_up: BTreeSet<&'static str>,
    dropped: Vec<Dropped>,
}

impl Session {
    pub(crate) fn new(
        context: Arc<Context>,
        shared: Arc<SessionShared>,
        uplink: RecvStream,
        inbox: Inbox,
        down: SendStream<Bytes>,
        mail: mpsc::UnboundedReceiver<Mail>,
    ) -> Self {
        // A batch that waits at one tick and still at the next is at most an interval old.
        let half = (context.options.ack_interval / 2).max(Duration::from_millis(10));
        let mut timer = tokio::time::interval_at(Instant::now() + half, half);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        context.sessions.fetch_add(1, Ordering::AcqRel);
        context.metrics.sessions.inc();
        context.metrics.sessions_opened.inc();
        Self {
            context,
            shared,
            uplink,
            inbox,
            down: Downlink::new(down),
            mail,
            live: Lane::default(),
            backlog: Lane::default(),
            headline: HeadlineReader::default(),
            held: None,
            timer,
            heard: Instant::now(),
            waited: false,
            backlog_rests: true,
            confirmed: false,
            series_refused: 0,
            given_up: BTreeSet::new(),
            dropped: Vec::new(),
        }
    }

    /// Gives the session its directive stream; one that was there before is replaced.
    pub(crate) fn attach(&mut self, outcomes: RecvStream, directives: SendStream<Bytes>) {
        self.down.attach(outcomes, directives);
    }

    /// What happened next. Letters come first, so that a revocation is never behind data.
    pub(crate) fn poll(&mut self, task: &mut Task<'_>) -> Poll<Input> {
        if let Poll::Ready(Some(mail)) = self.mail.poll_recv(task) {
            return Poll::Ready(Input::Mail(mail));
        }
        if self.timer.poll_tick(task).is_ready() {
            return Poll::Ready(Input::Tick);
        }
        if let Poll::Ready(outcome) = self.down.poll_outcomes(task) {
            return Poll::Ready(Input::Outcomes(outcome));
        }
        if let Some((_, room)) = &mut self.held {
            return match ready!(room.as_mut().poll(task)) {
                Some(permit) => Poll::Ready(Input::Room(permit)),
                None => Poll::Pending,
            };
        }
        self.uplink.poll_data(task).map(Input::Uplink)
    }

    /// Deals with it.
    ///
    /// # Errors
    /// The session is over, for this reason.
    pub(crate) fn handle(&mut self, input: Input) -> Result<(), End> {
        match input {
            Input::Uplink(Some(Ok(chunk))) => self.uplink(&chunk),
            Input::Uplink(_) => Err(End::Gone),
            Input::Outcomes(outcome) => self.down.outcomes(outcome),
            Input::Mail(mail) => self.letter(mail),
            Input::Room(permit) => self.room(permit),
            Input::Tick => self.tick(),
        }
    }

    /// Says why, as far as the agent can be told, and ends the stream.
    pub(crate) fn finish(&mut self, end: &End) {
        let reason = match end {
            End::Gone => return,
            End::Closed(reason) => reason.text().to_owned(),
            End::Unreadable(error) => format!("malformed: {error}"),
            End::Protocol(what) => format!("protocol: {what}"),
        };
        if matches!(end, End::Unreadable(_) | End::Protocol(_)) {
            self.context.metrics.refuse("session");
            tracing::warn!(host = %self.shared.host(), reason, "session ended");
        }
        self.down.finish(&whole_session(reason));
    }

    fn uplink(&mut self, chunk: &Bytes) -> Result<(), End> {
        self.heard = Instant::now();
        self.context.metrics.bytes.inc_by(chunk.len() as u64);
        self.read(chunk)?;
        // Fails only on a stream that is over; the next read says so.
        drop(self.uplink.flow_control().release_capacity(chunk.len()));
        Ok(())
    }

    /// Reads records out of what waits and `chunk`.
    pub(crate) fn read(&mut self, chunk: &[u8]) -> Result<(), End> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let outcome = inbox.take(chunk, |kind, payload| self.record(kind, payload));
        self.inbox = inbox;
        outcome
    }

    fn room(&mut self, permit: OwnedSemaphorePermit) -> Result<(), End> {
        if let Some((held, _)) = self.held.take() {
            self.put(held, permit);
        }
        self.read(&[])
    }

    /// Hands a batch on, or holds it until there is room; tells whether reading may go on.
    fn submit(&mut self, held: Held, bytes: usize) -> bool {
        // Bookkeeping counts too; a batch larger than the whole budget takes all of it.
        let bytes = (bytes + 256).min(self.context.options.queued_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.context.budget);
        match Arc::clone(&budget).try_acquire_many_owned(permits) {
            Ok(permit) => {
                self.put(held, permit);
                true
            }
            Err(_) => {
                let room = async move { budget.acquire_many_owned(permits).await.ok() };
                self.held = Some((held, Box::pin(room)));
                false
            }
        }
    }

    fn put(&mut self, held: Held, permit: OwnedSemaphorePermit) {
        let session = Arc::clone(&self.shared);
        match held {
            Held::Frame {
                lane,
                batch,
                key,
                bytes,
            } => {
                let frame = SampleFrame {
                    session,
                    lane,
                    batch,
                    key,
                    bytes,
                    _permit: permit,
                };
                self.context.samples.put(frame);
            }
            Held::Events(batch) => self.context.events.put(Events {
                session,
                batch,
                permit,
            }),
            Held::Poll(batch, poll) => self.context.polls.put(HeldPoll {
                session,
                batch,
                poll,
                permit,
            }),
        }
        if !self.confirmed {
            self.confirmed = true;
            let proof = (self.shared.host(), self.shared.id.clone());
            self.context.confirmed.push(proof);
        }
    }

    fn letter(&mut self, mail: Mail) -> Result<(), End> {
        match mail {
            Mail::AckDue => self.acknowledge(),
            Mail::Close(reason) => Err(End::Closed(reason)),
            Mail::Directive(pending) => self.down.direct(*pending),
            Mail::Refuse(refused) => self.refuse(&Refused {
                stream: refused.stream,
                seq: Some(refused.seq),
                resend: refused.resend,
                reason: refused.reason,
            }),
        }
    }

    fn acknowledge(&mut self) -> Result<(), End> {
        if self.shared.has_unwritten_gaps() {
            // A letter comes when they are written.
            return Ok(());
        }
        let acks = self.shared.book().take();
        self.waited = false;
        acks.iter().try_for_each(|ack| self.down.acknowledge(ack))
    }

    fn refuse(&mut self, refused: &Refused) -> Result<(), End> {
        self.down.json(Kind::Refused, refused)
    }

    fn tick(&mut self) -> Result<(), End> {
        let silent = self.heard.elapsed() > SILENT_AFTER && self.held.is_none();
        if silent {
            return Err(End::Gone);
        }
        // A backlog that is through needs its decoder no more.
        if self.backlog_rests {
            self.backlog.rest();
        }
        self.backlog_rests = true;
        if self.waited {
            self.acknowledge()?;
        }
        self.waited = self.shared.book().has_any();
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.entry.close(&self.shared.id);
        self.context.metrics.sessions.dec();
        self.context.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A refusal that is about no batch in particular.
fn whole_session(reason: String) -> Refused {
    let stream = xiezhi_protocol::batch::Stream::Samples;
    Refused {
        stream,
        seq: None,
        resend: false,
        reason,
    }
}
