//! What comes down: acknowledgements, refusals and directives.

use bytes::{Buf as _, Bytes, BytesMut};
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Ack, Directive, DirectiveMessage, DirectiveOutcome, Refused};
use xiezhi_protocol::record::{self, Kind};

use super::{End, Session};
use crate::connect::lock;

/// A batch that is refused more often than this is given up.
const MAX_REFUSALS: u32 = 3;
/// Refused batches that are remembered.
const MAX_REMEMBERED: usize = 64;

impl Session<'_> {
    pub(super) fn read_inbox(&mut self) -> Result<(), End> {
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
        // The session goes on, so what was said about all of it was a notice and no farewell.
        self.farewell = None;
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
        let [polls, samples, events, security] = self.marks;
        let mark = match ack.stream {
            Stream::Polls => polls,
            Stream::Samples => samples,
            Stream::Events => events,
            Stream::Security => security,
        };
        if last >= mark && !self.reported.is_empty() {
            // This batch was sent after the report of drops, so the report was read.
            spool.confirm_dropped(&self.reported);
            self.reported = self.lanes.told(spool.status()).dropped;
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

    pub(super) fn read_directives(&mut self) -> Result<(), End> {
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
