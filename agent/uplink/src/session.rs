//! One session, from the welcome to its end.
//!
//! One loop: whatever is live goes up at once and in one piece, then as much backlog as connection
//! and budget take, then the task waits for the next thing to happen.

mod receive;
mod send;

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{PingPong, RecvStream, SendStream};
use tokio::time::Instant;
use xiezhi_protocol::DIRECTIVES_PATH;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Dropped, GoodbyeReason};
use xiezhi_protocol::record::{self, Kind};

use crate::budget::Budget;
use crate::connect::{self, Connected, Driver, Refusal, lock};
use crate::handle::Command;
use crate::lanes::Lanes;
use crate::runner::Runner;

/// How long the last word before a reconnect may take.
const FAREWELL: Duration = Duration::from_secs(2);

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
    /// What the controller's clock read at the welcome, Unix milliseconds, and when that was.
    welcomed: (i64, Instant),
    /// Drops that were reported, and from which number on an acknowledgement proves it was read.
    reported: Vec<Dropped>,
    marks: [u64; 4],
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
    /// What the controller said last about the whole session; why it ended, if nothing is
    /// acknowledged after it.
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
            Lanes::new(&spool, welcome.protocol)
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
            welcomed: (welcome.time_ms, now),
            reported,
            // The first one goes with the next report: a person at the screen waits for it.
            last_status: now.checked_sub(runner.config.status_every).unwrap_or(now),
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

fn lost(error: &h2::Error) -> End {
    End::Lost(format!("connection lost: {error}"))
}
