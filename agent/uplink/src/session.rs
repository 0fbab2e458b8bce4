//! One session, from the welcome to its end.
//!
//! One loop: whatever is live goes up at once and in one piece, then as much backlog as connection
//! and budget take, then the task waits for the next thing to happen.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{Ping, PingPong, RecvStream, SendStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use xiezhi_protocol::DIRECTIVES_PATH;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{
    Ack, Directive, DirectiveMessage, DirectiveOutcome, Dropped, Goodbye, GoodbyeReason, Refused,
};
use xiezhi_protocol::record::{self, Kind};

use crate::budget::{Budget, Permission};
use crate::connect::{self, Connected, Driver, Refusal, lock};
use crate::handle::Command;
use crate::lanes::Lanes;
use crate::runner::Runner;

/// Free room on the connection below which backlog waits.
const ROOM_BYTES: usize = 4 * 1024;
/// Room that backlog asks for.
const WANTED_BYTES: usize = 16 * 1024;
/// How long the last word before a reconnect may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// A batch that is refused more often than this is given up.
const MAX_REFUSALS: u32 = 3;
/// Refused batches that are remembered.
const MAX_REMEMBERED: usize = 64;

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Connect again after a wait.
    Lost(String),
    /// Connect again at once.
    Reconnect,
    /// The agent stops.
    Stopped,
}

/// The downward half of the directive stream.
enum Directives {
    Opening(ResponseFuture),
    Open(RecvStream),
}

/// What happened while the session waited.
enum Happened {
    Command(Option<Command>),
    Live,
    Down(Option<Result<Bytes, h2::Error>>),
    DirectivesOpen(Result<RecvStream, String>),
    Directives(Option<Result<Bytes, h2::Error>>),
    Room(bool),
    Pong(bool),
    Closed(String),
    Time,
}

/// A goodbye under way.
struct Leaving {
    reason: GoodbyeReason,
    /// Until then acknowledgements are waited for.
    word_at: Instant,
    until: Instant,
    said: bool,
}

pub(crate) struct Session<'a> {
    runner: &'a mut Runner,
    driver: Driver,
    ping: Option<PingPong>,
    up: SendStream<Bytes>,
    down: RecvStream,
    inbox: BytesMut,
    directives: Directives,
    outcomes: SendStream<Bytes>,
    directives_inbox: BytesMut,
    lanes: Lanes,
    budget: Budget,
    /// Drops that were reported, and from which number on an acknowledgement proves it was read.
    reported: Vec<Dropped>,
    marks: [u64; 3],
    last_status: Instant,
    trouble_sent: String,
    received: Instant,
    pinged: Option<Instant>,
    /// Since when something waits for its acknowledgement without any coming.
    waiting_since: Option<Instant>,
    flushed: bool,
    /// Backlog was sent of which the end was not flushed yet.
    backlog_unflushed: bool,
    /// When backlog may go on, if the budget holds it back.
    backlog_at: Option<Instant>,
    wants_room: bool,
    refusals: Vec<(Stream, u64, u32)>,
    leaving: Option<Leaving>,
    /// What the controller said last about the whole session.
    farewell: Option<String>,
}

impl<'a> Session<'a> {
    /// Adopts what the welcome says and opens the directive stream.
    pub(crate) fn begin(runner: &'a mut Runner, connected: Connected) -> Result<Self, Refusal> {
        let Connected {
            driver,
            mut requests,
            ping,
            up,
            down,
            inbox,
            welcome,
            reported,
        } = connected;
        let lanes = {
            let mut spool = lock(&runner.spool);
            // Durable before anything else is sent.
            spool
                .set_session(&welcome.session)
                .map_err(|error| Refusal::because(error.to_string()))?;
            spool
                .set_epoch(welcome.epoch)
                .map_err(|error| Refusal::because(error.to_string()))?;
            Lanes::new(&spool)
        };
        runner.shared.restart_chain();
        if let Some(bandwidth) = welcome.bandwidth {
            runner.bandwidth = bandwidth;
        }
        let (response, outcomes) = requests
            .send_request(connect::post(DIRECTIVES_PATH)?, false)
            .map_err(|error| Refusal::because(error.to_string()))?;
        let clock_ms = runner.connector.now_ms();
        runner.connector.welcomed(welcome.time_ms);
        {
            let mut state = runner.shared.state();
            state.sessions += 1;
            state.connected_since_ms = Some(clock_ms);
            state.skew_ms = Some(welcome.time_ms.saturating_sub(clock_ms));
            state.trouble.clear();
        }
        tracing::info!(
            session = welcome.session,
            epoch = welcome.epoch,
            "uplink is up"
        );
        let now = Instant::now();
        let mut budget = Budget::new(now.into_std());
        budget.set(runner.bandwidth.clone());
        Ok(Self {
            driver,
            ping,
            up,
            down,
            inbox,
            directives: Directives::Opening(response),
            outcomes,
            directives_inbox: BytesMut::new(),
            marks: lanes.marks(),
            lanes,
            budget,
            reported,
            last_status: now,
            trouble_sent: String::new(),
            received: now,
            pinged: None,
            waiting_since: None,
            flushed: false,
            backlog_unflushed: false,
            backlog_at: None,
            wants_room: false,
            refusals: Vec::new(),
            leaving: None,
            farewell: None,
            runner,
        })
    }

    /// Runs until something ends it.
    pub(crate) async fn run(mut self) -> End {
        // A welcome may have brought more with it.
        let mut outcome = self.read_inbox();
        loop {
            outcome = outcome.and_then(|()| self.send_due());
            match outcome {
                Err(End::Lost(reason)) => return End::Lost(self.farewell.take().unwrap_or(reason)),
                Err(end) => return end,
                Ok(()) => {}
            }
            let happened = self.wait().await;
            outcome = self.handle(happened);
        }
    }

    /// Sends what is live, what is due and what backlog there is room for.
    fn send_due(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let mut out = Vec::new();
        let live = self
            .lanes
            .take_live(&mut lock(&self.runner.spool), &mut out);
        if live.broken {
            self.runner.shared.restart_chain();
        }
        self.runner.shared.state().sent_live += live.batches;
        self.add_status(now, &mut out);
        self.check_waiting(now, &mut out)?;
        self.send(out)?;
        self.send_backlog(now)?;
        self.check_line(now)?;
        self.leave(now)
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.budget.spend(bytes.len());
        self.runner.shared.state().bytes_up += bytes.len() as u64;
        self.up
            .send_data(bytes.into(), false)
            .map_err(|error| lost(&error))
    }

    fn send_backlog(&mut self, now: Instant) -> Result<(), End> {
        self.backlog_at = None;
        self.wants_room = false;
        loop {
            if let Permission::After(wait) = self.ask_budget(now) {
                self.backlog_at = Some(now + wait);
                return Ok(());
            }
            if self.up.capacity() < ROOM_BYTES {
                self.up.reserve_capacity(WANTED_BYTES);
                self.wants_room = self.up.capacity() < ROOM_BYTES;
                if self.wants_room {
                    return Ok(());
                }
            }
            let mut out = Vec::new();
            let batches = self
                .lanes
                .take_backlog(&mut lock(&self.runner.spool), &mut out);
            self.runner.shared.state().sent_backlog += batches;
            self.backlog_unflushed |= batches > 0;
            if batches == 0 {
                self.up.reserve_capacity(0);
                if std::mem::take(&mut self.backlog_unflushed) {
                    record::write(&mut out, Kind::Flush, &[]);
                    self.send(out)?;
                }
                return Ok(());
            }
            self.send(out)?;
        }
    }

    fn ask_budget(&mut self, now: Instant) -> Permission {
        let clock_ms = self.runner.connector.now_ms();
        self.budget.ask(now.into_std(), clock_ms)
    }

    /// A status record if one is due; it travels with what is live.
    fn add_status(&mut self, now: Instant, out: &mut Vec<u8>) {
        let spool = lock(&self.runner.spool).status();
        let news = spool.dropped != self.reported || spool.trouble != self.trouble_sent;
        if !news && now.duration_since(self.last_status) < self.runner.config.status_every {
            return;
        }
        let mut status = self.runner.connector.status();
        status.clock_ms = self.runner.connector.now_ms();
        self.reported.clone_from(&spool.dropped);
        self.trouble_sent.clone_from(&spool.trouble);
        status.spool = spool;
        record::write(
            out,
            Kind::Status,
            &serde_json::to_vec(&status).unwrap_or_default(),
        );
        self.last_status = now;
        self.marks = self.lanes.marks();
    }

    /// Asks for, and in the end insists on, acknowledgements.
    fn check_waiting(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), End> {
        if !self.lanes.is_waiting(&lock(&self.runner.spool)) {
            self.waiting_since = None;
            self.flushed = false;
            return Ok(());
        }
        let waited = now.duration_since(*self.waiting_since.get_or_insert(now));
        if waited >= self.runner.config.ack_timeout {
            return Err(End::Lost("the controller does not acknowledge".to_owned()));
        }
        if waited >= self.runner.config.ack_timeout / 2 && !self.flushed {
            self.flushed = true;
            record::write(out, Kind::Flush, &[]);
        }
        Ok(())
    }

    /// Pings a silent line.
    fn check_line(&mut self, now: Instant) -> Result<(), End> {
        if let Some(pinged) = self.pinged {
            if now.duration_since(pinged) >= self.runner.config.ping_timeout {
                return Err(End::Lost(
                    "the controller does not answer a ping".to_owned(),
                ));
            }
        } else if now.duration_since(self.received) >= self.runner.config.ping_after
            && let Some(ping) = &mut self.ping
        {
            ping.send_ping(Ping::opaque())
                .map_err(|error| lost(&error))?;
            self.pinged = Some(now);
        }
        Ok(())
    }

    /// Says goodbye once all is acknowledged or the time is up.
    fn leave(&mut self, now: Instant) -> Result<(), End> {
        let waiting = self.waiting_since.is_some();
        let Some(leaving) = &mut self.leaving else {
            return Ok(());
        };
        if now >= leaving.until {
            return Err(self.left());
        }
        if leaving.said || (waiting && now < leaving.word_at) {
            return Ok(());
        }
        leaving.said = true;
        let goodbye = Goodbye {
            reason: leaving.reason,
        };
        let mut out = Vec::new();
        record::write(
            &mut out,
            Kind::Goodbye,
            &serde_json::to_vec(&goodbye).unwrap_or_default(),
        );
        let said = self.up.send_data(out.into(), true);
        let said = said.and_then(|()| self.outcomes.send_data(Bytes::new(), true));
        said.map_err(|_| self.left())
    }

    fn has_said_goodbye(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.said)
    }

    /// What follows the goodbye.
    fn left(&self) -> End {
        match &self.leaving {
            Some(Leaving {
                reason: GoodbyeReason::Reconnect,
                ..
            }) => End::Reconnect,
            _ => End::Stopped,
        }
    }

    /// The next moment at which something is due without anything happening.
    fn deadline(&self) -> Instant {
        let config = &self.runner.config;
        let line = match self.pinged {
            Some(pinged) => pinged + config.ping_timeout,
            None => self.received + config.ping_after,
        };
        let half = config.ack_timeout / if self.flushed { 1 } else { 2 };
        let acks = self.waiting_since.map(|since| since + half);
        let leaving = self.leaving.as_ref().map(|leaving| {
            if leaving.said {
                leaving.until
            } else {
                leaving.word_at.min(leaving.until)
            }
        });
        // A status is not worth a wake-up of its own: it goes with the next live batch.
        [acks, self.backlog_at, leaving]
            .into_iter()
            .flatten()
            .fold(line, Instant::min)
    }

    async fn wait(&mut self) -> Happened {
        let deadline = self.deadline();
        let Self {
            runner,
            driver,
            ping,
            up,
            down,
            directives,
            pinged,
            wants_room,
            ..
        } = self;
        let pong = poll_fn(|context| match ping {
            Some(ping) => ping.poll_pong(context),
            None => std::task::Poll::Pending,
        });
        tokio::select! {
            biased;
            command = runner.commands.recv() => Happened::Command(command),
            () = runner.shared.live.notified() => Happened::Live,
            data = down.data() => Happened::Down(data),
            happened = next_directive(directives) => happened,
            pong = pong, if pinged.is_some() => Happened::Pong(pong.is_ok()),
            room = poll_fn(|context| up.poll_capacity(context)), if *wants_room => {
                Happened::Room(matches!(room, Some(Ok(_))))
            }
            ended = &mut driver.0 => Happened::Closed(match ended {
                Ok(Ok(())) => "the controller closed the connection".to_owned(),
                Ok(Err(error)) => format!("connection lost: {error}"),
                Err(error) => format!("connection task failed: {error}"),
            }),
            () = tokio::time::sleep_until(deadline) => Happened::Time,
        }
    }

    fn handle(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::Live | Happened::Time | Happened::Room(true) => Ok(()),
            Happened::Command(command) => self.obey(command),
            Happened::Down(Some(Ok(chunk))) => {
                self.note_received(&chunk);
                connect::receive(&mut self.down, &mut self.inbox, &chunk);
                self.read_inbox()
            }
            Happened::DirectivesOpen(Ok(stream)) => {
                self.directives = Directives::Open(stream);
                Ok(())
            }
            Happened::Directives(Some(Ok(chunk))) => {
                self.note_received(&chunk);
                if let Directives::Open(stream) = &mut self.directives {
                    connect::receive(stream, &mut self.directives_inbox, &chunk);
                }
                self.read_directives()
            }
            Happened::Pong(true) => {
                self.received = Instant::now();
                self.pinged = None;
                Ok(())
            }
            _ if self.has_said_goodbye() => Err(self.left()),
            Happened::Down(Some(Err(error))) | Happened::Directives(Some(Err(error))) => {
                Err(lost(&error))
            }
            Happened::Down(None) => Err(End::Lost("the controller ended the session".to_owned())),
            Happened::Directives(None) => Err(End::Lost(
                "the controller ended the directive stream".to_owned(),
            )),
            Happened::DirectivesOpen(Err(reason)) | Happened::Closed(reason) => {
                Err(End::Lost(reason))
            }
            Happened::Room(false) | Happened::Pong(false) => {
                Err(End::Lost("connection lost".to_owned()))
            }
        }
    }

    fn note_received(&mut self, chunk: &Bytes) {
        self.received = Instant::now();
        self.pinged = None;
        self.runner.shared.state().bytes_down += chunk.len() as u64;
    }

    fn obey(&mut self, command: Option<Command>) -> Result<(), End> {
        match command {
            None => return Err(End::Stopped),
            // Behind the last word there is nothing to say.
            Some(Command::Flush | Command::Outcome(_)) if self.has_said_goodbye() => {}
            Some(Command::Flush) => {
                let mut out = Vec::new();
                record::write(&mut out, Kind::Flush, &[]);
                self.send(out)?;
            }
            Some(Command::Reconnect) if self.leaving.is_some() => {}
            Some(Command::Reconnect) => {
                let now = Instant::now();
                let reason = GoodbyeReason::Reconnect;
                let until = now + FAREWELL;
                self.leaving = Some(Leaving {
                    reason,
                    word_at: now,
                    until,
                    said: false,
                });
            }
            Some(Command::Bandwidth(bandwidth)) => {
                self.runner.bandwidth = bandwidth;
                self.budget.set(self.runner.bandwidth.clone());
            }
            Some(Command::Outcome(outcome)) => self.send_outcome(&outcome)?,
            Some(Command::Goodbye {
                reason,
                limit,
                done,
            }) => self.start_leaving(reason, limit, done)?,
        }
        Ok(())
    }

    fn start_leaving(
        &mut self,
        reason: GoodbyeReason,
        limit: Duration,
        done: oneshot::Sender<()>,
    ) -> Result<(), End> {
        let now = Instant::now();
        self.runner.stopped = Some(done);
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.said) {
            leaving.reason = reason;
            return Ok(());
        }
        let word_at = now + limit / 2;
        self.leaving = Some(Leaving {
            reason,
            word_at,
            until: now + limit,
            said: false,
        });
        let mut out = Vec::new();
        self.lanes
            .take_live(&mut lock(&self.runner.spool), &mut out);
        record::write(&mut out, Kind::Flush, &[]);
        self.send(out)
    }

    fn send_outcome(&mut self, outcome: &DirectiveOutcome) -> Result<(), End> {
        let mut out = Vec::new();
        record::write(
            &mut out,
            Kind::Outcome,
            &serde_json::to_vec(outcome).unwrap_or_default(),
        );
        self.budget.spend(out.len());
        self.runner.shared.state().bytes_up += out.len() as u64;
        self.outcomes
            .send_data(out.into(), false)
            .map_err(|error| lost(&error))
    }

    fn read_inbox(&mut self) -> Result<(), End> {
        while let Some((kind, payload)) = next_record(&mut self.inbox)? {
            let understood = match Kind::from_number(kind) {
                Some(Kind::Ack) => record::read_ack(&payload).map(|ack| self.take_ack(&ack)),
                Some(Kind::Refused) => serde_json::from_slice(&payload)
                    .ok()
                    .map(|refused| self.take_refused(refused)),
                // What a newer controller may say is passed over.
                _ => Some(()),
            };
            if understood.is_none() {
                self.runner.shared.state().malformed += 1;
                tracing::warn!(kind, "a record of the controller cannot be read");
            }
        }
        Ok(())
    }

    fn take_ack(&mut self, ack: &Ack) {
        let clock_ms = self.runner.connector.now_ms();
        self.runner.shared.state().last_ack_ms = Some(clock_ms);
        self.waiting_since = None;
        self.flushed = false;
        let Some(last) = ack.ranges.last() else {
            return;
        };
        let mut spool = lock(&self.runner.spool);
        if ack.epoch > spool.epoch() {
            tracing::warn!(epoch = ack.epoch, "the controller opened a new epoch");
            if let Err(error) = spool.set_epoch(ack.epoch) {
                tracing::error!(%error, "the new epoch is not durable; the next session brings it");
            }
        }
        spool.ack(ack.stream, &ack.ranges);
        let [samples, events, security] = self.marks;
        let mark = match ack.stream {
            Stream::Samples => samples,
            Stream::Events => events,
            Stream::Security => security,
        };
        if last >= mark && !self.reported.is_empty() {
            // This batch was sent after the report of drops, so the report was read.
            spool.confirm_dropped(&self.reported);
            self.reported.clone_from(&spool.status().dropped);
        }
        drop(spool);
        self.lanes.note_taken(ack.stream, &ack.ranges);
        self.refusals
            .retain(|(stream, seq, _)| *stream != ack.stream || !ack.ranges.contains(*seq));
    }

    fn take_refused(&mut self, refused: Refused) {
        self.runner.shared.state().refused += 1;
        let Refused {
            stream,
            seq,
            resend,
            reason,
        } = refused;
        tracing::warn!(
            stream = stream.name(),
            seq,
            resend,
            reason,
            "the controller refused a batch"
        );
        let seq = match seq {
            Some(seq) => seq,
            None if resend => lock(&self.runner.spool)
                .first_unsettled(stream, 0)
                .unwrap_or(0),
            None => {
                self.farewell = Some(reason);
                return;
            }
        };
        if !resend || self.count_refusal(stream, seq) > MAX_REFUSALS {
            lock(&self.runner.spool).give_up(stream, seq);
            return;
        }
        if self.lanes.send_again(stream, seq) {
            self.runner.shared.restart_chain();
        }
    }

    fn count_refusal(&mut self, stream: Stream, seq: u64) -> u32 {
        let known = self
            .refusals
            .iter_mut()
            .find(|entry| (entry.0, entry.1) == (stream, seq));
        if let Some((_, _, count)) = known {
            *count += 1;
            return *count;
        }
        if self.refusals.len() >= MAX_REMEMBERED {
            self.refusals.remove(0);
        }
        self.refusals.push((stream, seq, 1));
        1
    }

    fn read_directives(&mut self) -> Result<(), End> {
        while let Some((kind, payload)) = next_record(&mut self.directives_inbox)? {
            if Kind::from_number(kind) != Some(Kind::Directive) {
                continue;
            }
            match serde_json::from_slice::<DirectiveMessage>(&payload) {
                Ok(message) => self.direct(message)?,
                Err(error) => self.decline(&payload, &error)?,
            }
        }
        Ok(())
    }

    fn direct(&mut self, message: DirectiveMessage) -> Result<(), End> {
        let id = message.id;
        let answer = match &message.directive {
            Directive::SetBandwidth { bandwidth } => {
                self.runner.bandwidth = bandwidth.clone();
                self.budget.set(bandwidth.clone());
                Some(("done", String::new()))
            }
            Directive::Resend {
                stream,
                first,
                last,
            } => {
                let found = lock(&self.runner.spool).resend(*stream, *first, *last);
                if found > 0 && self.lanes.send_again(*stream, *first) {
                    self.runner.shared.restart_chain();
                }
                Some(("done", format!("{found} batches are still here")))
            }
            _ => None,
        };
        let answer = answer.or_else(|| {
            let busy = self.runner.directives.try_send(message).is_err();
            busy.then(|| ("refused", "the agent is busy: try again".to_owned()))
        });
        match answer {
            Some((outcome, detail)) => self.send_outcome(&DirectiveOutcome {
                id,
                outcome: outcome.to_owned(),
                detail,
            }),
            None => Ok(()),
        }
    }

    /// Answers a directive that this agent does not know, if it can tell which.
    fn decline(&mut self, payload: &[u8], error: &serde_json::Error) -> Result<(), End> {
        self.runner.shared.state().malformed += 1;
        tracing::warn!(%error, "a directive cannot be read");
        let value: Option<serde_json::Value> = serde_json::from_slice(payload).ok();
        let id = value.as_ref().and_then(|value| value.get("id")?.as_u64());
        let Some(id) = id else { return Ok(()) };
        let outcome = "unsupported".to_owned();
        self.send_outcome(&DirectiveOutcome {
            id,
            outcome,
            detail: error.to_string(),
        })
    }
}

async fn next_directive(directives: &mut Directives) -> Happened {
    match directives {
        Directives::Open(stream) => Happened::Directives(stream.data().await),
        Directives::Opening(response) => Happened::DirectivesOpen(match response.await {
            Ok(response) if response.status() == http::StatusCode::OK => Ok(response.into_body()),
            Ok(response) => Err(format!("directive stream refused: {}", response.status())),
            Err(error) => Err(format!("connection lost: {error}")),
        }),
    }
}

/// Takes the next whole record off `inbox`.
fn next_record(inbox: &mut BytesMut) -> Result<Option<(u8, Bytes)>, End> {
    let found = record::read(inbox)
        .map_err(|error| End::Lost(format!("the controller is not understood: {error}")))?;
    let Some((kind, payload, used)) = found else {
        return Ok(None);
    };
    let payload_len = payload.len();
    let mut whole = inbox.split_to(used);
    whole.advance(used - payload_len);
    Ok(Some((kind, whole.freeze())))
}

fn lost(error: &h2::Error) -> End {
    End::Lost(format!("connection lost: {error}"))
}
