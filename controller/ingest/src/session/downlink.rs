//! Everything that goes down to an agent: acknowledgements, refusals, directives.

use std::task::{Context as Task, Poll};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use serde::Serialize;
use tokio::sync::oneshot;
use xiezhi_protocol::message::{Ack, DirectiveMessage, DirectiveOutcome, Refused};
use xiezhi_protocol::record::{self, Kind};

use super::End;
use crate::inbox::{Inbox, Next};
use crate::mail::PendingDirective;

/// Directives that wait for an answer, or for the directive stream. A person's clicks are few.
const PENDING: usize = 64;

/// Records sent in a row without room in the agent's window. An agent that takes nothing for so
/// long does not read at all.
const STALLED: u32 = 4096;

type Outcome = Option<Result<Bytes, h2::Error>>;

/// The sending side of a session, and the stream on which outcomes come back.
pub(super) struct Downlink {
    acks: SendStream<Bytes>,
    directives: Option<(RecvStream, SendStream<Bytes>, Inbox)>,
    /// Directives that came before their stream.
    early: Vec<PendingDirective>,
    waiting: Vec<(u64, oneshot::Sender<DirectiveOutcome>)>,
    stalled: u32,
}

impl Downlink {
    pub(super) const fn new(acks: SendStream<Bytes>) -> Self {
        Self {
            acks,
            directives: None,
            early: Vec::new(),
            waiting: Vec::new(),
            stalled: 0,
        }
    }

    pub(super) fn attach(&mut self, outcomes: RecvStream, directives: SendStream<Bytes>) {
        self.directives = Some((outcomes, directives, Inbox::default()));
        for pending in std::mem::take(&mut self.early) {
            // Ends the session only with the uplink stream, which is not touched here.
            drop(self.direct(pending));
        }
    }

    pub(super) fn acknowledge(&mut self, ack: &Ack) -> Result<(), End> {
        let mut payload = Vec::with_capacity(16);
        record::write_ack(&mut payload, ack);
        self.send(Kind::Ack, &payload)
    }

    pub(super) fn json(&mut self, kind: Kind, message: &impl Serialize) -> Result<(), End> {
        let payload = serde_json::to_vec(message).unwrap_or_default();
        self.send(kind, &payload)
    }

    /// Sends a directive, or keeps it until its stream is there.
    pub(super) fn direct(&mut self, pending: PendingDirective) -> Result<(), End> {
        self.waiting.retain(|(_, reply)| !reply.is_closed());
        self.early.retain(|pending| !pending.reply.is_closed());
        if self.waiting.len() + self.early.len() >= PENDING {
            return Ok(());
        }
        let PendingDirective {
            id,
            directive,
            reply,
        } = pending;
        let Some((_, stream, _)) = &mut self.directives else {
            self.early.push(PendingDirective {
                id,
                directive,
                reply,
            });
            return Ok(());
        };
        let message = DirectiveMessage { id, directive };
        let payload = serde_json::to_vec(&message).unwrap_or_default();
        if stream
            .send_data(frame(Kind::Directive, &payload), false)
            .is_ok()
        {
            self.waiting.push((id, reply));
        } else {
            self.directives = None;
        }
        Ok(())
    }

    pub(super) fn poll_outcomes(&mut self, task: &mut Task<'_>) -> Poll<Outcome> {
        match &mut self.directives {
            Some((stream, _, _)) => stream.poll_data(task),
            None => Poll::Pending,
        }
    }

    /// Reads outcomes. The end of this stream is not the end of the session.
    pub(super) fn outcomes(&mut self, outcome: Outcome) -> Result<(), End> {
        let (Some(Ok(chunk)), Some((mut stream, sender, mut inbox))) =
            (outcome, self.directives.take())
        else {
            return Ok(());
        };
        inbox.take(&chunk, |kind, payload| {
            if kind == Kind::Outcome as u8 {
                self.answer(payload);
            }
            Ok::<_, End>(Next::Read)
        })?;
        // Fails only on a stream that is over; the next read says so.
        drop(stream.flow_control().release_capacity(chunk.len()));
        self.directives = Some((stream, sender, inbox));
        Ok(())
    }

    /// Sends a last refusal and ends the stream.
    pub(super) fn finish(&mut self, refused: &Refused) {
        let payload = serde_json::to_vec(refused).unwrap_or_default();
        // Who has gone does not need it.
        drop(self.acks.send_data(frame(Kind::Refused, &payload), true));
    }

    fn answer(&mut self, payload: &[u8]) {
        let Ok(outcome) = serde_json::from_slice::<DirectiveOutcome>(payload) else {
            return;
        };
        if let Some(at) = self.waiting.iter().position(|(id, _)| *id == outcome.id) {
            let (_, reply) = self.waiting.swap_remove(at);
            // Whoever asked may have stopped waiting.
            drop(reply.send(outcome));
        }
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), End> {
        let bytes = frame(kind, payload);
        self.acks.reserve_capacity(bytes.len());
        self.stalled = if self.acks.capacity() < bytes.len() {
            self.stalled + 1
        } else {
            0
        };
        if self.stalled > STALLED {
            return Err(End::Protocol("the agent does not read what it is sent"));
        }
        self.acks.send_data(bytes, false).map_err(|_| End::Gone)
    }
}

fn frame(kind: Kind, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(payload.len() + 6);
    record::write(&mut bytes, kind, payload);
    Bytes::from(bytes)
}
