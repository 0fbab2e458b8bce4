//! What goes up: live batches, backlog, status, and the last word.

use std::time::Duration;

use bytes::Bytes;
use h2::Ping;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xiezhi_protocol::message::{DirectiveOutcome, Goodbye, GoodbyeReason};
use xiezhi_protocol::record::{self, Kind};

use super::{End, Leaving, Session, lost};
use crate::budget::Permission;
use crate::connect::lock;
use crate::lanes::Turn;

/// Free room on the connection below which backlog waits.
const ROOM_BYTES: usize = 4 * 1024;
/// Room that backlog asks for.
const WANTED_BYTES: usize = 16 * 1024;

impl Session<'_> {
    /// Sends what is live, what is due and what backlog there is room for.
    pub(super) fn send_due(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.has_said_goodbye() {
            return self.leave(now);
        }
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

    pub(super) fn send(&mut self, bytes: Vec<u8>) -> Result<(), End> {
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
            let turn = self
                .lanes
                .take_backlog(&mut lock(&self.runner.spool), &mut out);
            {
                let mut state = self.runner.shared.state();
                state.sent_backlog += turn.backlog;
                state.sent_live += turn.live;
            }
            self.backlog_unflushed |= turn.backlog > 0;
            if turn == Turn::default() {
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

    /// The hours of a budget are the controller's: the host's own clock may be wrong.
    fn ask_budget(&mut self, now: Instant) -> Permission {
        let (time_ms, then) = self.welcomed;
        let passed = now.duration_since(then).as_millis();
        let clock_ms = time_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        self.budget.ask(now.into_std(), clock_ms)
    }

    /// A status record if one is due; it travels with what is live.
    fn add_status(&mut self, now: Instant, out: &mut Vec<u8>) {
        let spool = self.lanes.told(lock(&self.runner.spool).status());
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
    pub(super) fn leave(&mut self, now: Instant) -> Result<(), End> {
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

    pub(super) fn has_said_goodbye(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.said)
    }

    /// What follows the goodbye.
    pub(super) fn left(&self) -> End {
        match &self.leaving {
            Some(Leaving {
                reason: GoodbyeReason::Reconnect,
                ..
            }) => End::Reconnect,
            _ => End::Stopped,
        }
    }

    pub(super) fn start_leaving(
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

    pub(super) fn send_outcome(&mut self, outcome: &DirectiveOutcome) -> Result<(), End> {
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
}
