//! What of a session is durable and not yet acknowledged, and when that is due.

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::Ack;
use xiezhi_protocol::range_set::RangeSet;

use crate::lane::LaneKind;

/// Live frames that share one acknowledgement: a minute's at 15 s.
const LIVE_FRAMES: u32 = 4;

/// Backlog frames that share one.
const BACKLOG_FRAMES: u32 = 64;

/// One session's book. The committers write it, the session's task reads it.
#[derive(Debug, Default)]
pub(crate) struct AckBook {
    /// Few entries: one per stream and epoch, and a session sees more than one epoch rarely.
    durable: Vec<(Stream, u64, RangeSet)>,
    live: u32,
    backlog: u32,
    in_flight: u32,
    flush: bool,
    urgent: bool,
    /// A letter is on its way to the session.
    told: bool,
}

impl AckBook {
    /// A batch was handed to a committer.
    pub(crate) fn submitted(&mut self) {
        self.in_flight += 1;
    }

    /// A batch that was handed over is durable. Tells whether the session must be told now.
    pub(crate) fn durable(&mut self, stream: Stream, lane: LaneKind, epoch: u64, seq: u64) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let known = self
            .durable
            .iter_mut()
            .find(|(of, at, _)| (*of, *at) == (stream, epoch));
        match known {
            Some((_, _, seqs)) => {
                seqs.insert(seq);
            }
            None => {
                let mut seqs = RangeSet::new();
                seqs.insert(seq);
                self.durable.push((stream, epoch, seqs));
            }
        }
        match lane {
            LaneKind::Live => self.live += 1,
            LaneKind::Backlog => self.backlog += 1,
        }
        self.urgent |= stream == Stream::Security;
        self.tell()
    }

    /// A batch that was handed over will not become durable. As [`AckBook::durable`].
    pub(crate) fn given_back(&mut self) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.tell()
    }

    /// A new epoch began: the agent learns of it at once.
    pub(crate) fn hurry(&mut self) {
        self.urgent = true;
    }

    /// The agent wants what is durable without waiting for more. `true` if that can be now.
    pub(crate) fn flush(&mut self) -> bool {
        self.flush = self.in_flight > 0 || self.has_any();
        self.is_due()
    }

    /// Whether anything waits to be acknowledged.
    pub(crate) fn has_any(&self) -> bool {
        !self.durable.is_empty()
    }

    /// Takes everything that is durable.
    pub(crate) fn take(&mut self) -> Vec<Ack> {
        self.told = false;
        self.urgent = false;
        self.flush &= self.in_flight > 0;
        (self.live, self.backlog) = (0, 0);
        let taken = std::mem::take(&mut self.durable);
        taken
            .into_iter()
            .map(|(stream, epoch, ranges)| Ack {
                stream,
                epoch,
                ranges,
            })
            .collect()
    }

    fn is_due(&self) -> bool {
        self.has_any()
            && (self.live >= LIVE_FRAMES
                || self.backlog >= BACKLOG_FRAMES
                || self.urgent
                || (self.flush && self.in_flight == 0))
    }

    fn tell(&mut self) -> bool {
        let due = self.is_due() && !self.told;
        self.told |= due;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(
        book: &mut AckBook,
        lane: LaneKind,
        seqs: std::ops::RangeInclusive<u64>,
    ) -> Vec<bool> {
        let mut due = Vec::new();
        for seq in seqs {
            book.submitted();
            due.push(book.durable(Stream::Samples, lane, 1, seq));
        }
        due
    }

    #[test]
    fn four_live_frames_share_one_acknowledgement() {
        let mut book = AckBook::default();
        assert_eq!(
            commit(&mut book, LaneKind::Live, 1..=5),
            [false, false, false, true, false]
        );
        let acks = book.take();
        assert_eq!(acks.len(), 1);
        assert_eq!(acks[0].ranges.ranges(), [(1, 5)]);
        assert!(book.take().is_empty());
    }

    #[test]
    fn sixty_four_backlog_frames_share_one() {
        let mut book = AckBook::default();
        let due = commit(&mut book, LaneKind::Backlog, 1..=64);
        assert_eq!(due.iter().position(|&due| due), Some(63));
    }

    #[test]
    fn a_security_batch_is_acknowledged_at_once() {
        let mut book = AckBook::default();
        book.submitted();
        assert!(book.durable(Stream::Security, LaneKind::Live, 1, 9));
    }

    #[test]
    fn a_flush_waits_for_what_is_under_way() {
        let mut book = AckBook::default();
        book.submitted();
        book.submitted();
        assert!(!book.durable(Stream::Samples, LaneKind::Live, 1, 1));
        assert!(!book.flush());
        assert!(book.durable(Stream::Samples, LaneKind::Live, 1, 2));
        assert_eq!(book.take()[0].ranges.ranges(), [(1, 2)]);
        assert!(!book.flush(), "nothing to say");
    }

    #[test]
    fn epochs_are_acknowledged_apart() {
        let mut book = AckBook::default();
        book.submitted();
        book.durable(Stream::Samples, LaneKind::Live, 1, 5);
        book.submitted();
        book.hurry();
        assert!(book.durable(Stream::Samples, LaneKind::Live, 2, 6));
        let epochs: Vec<_> = book.take().iter().map(|ack| ack.epoch).collect();
        assert_eq!(epochs, [1, 2]);
    }
}
