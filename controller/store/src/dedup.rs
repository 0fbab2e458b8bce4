//! What has been received of one stream of one host in one epoch: the decision whether a batch is
//! new, a replay, or the same number with other content. Pure; [`crate::Store::insert_batches`]
//! keeps it as text.
//!
//! A number that was received is never forgotten: it stays in a set of ranges. The checksums of the
//! last [`REMEMBERED`] batches, in order of arrival, are here only to answer the usual replay
//! without another query; the table `event_batches` has them for as long as the events are kept.

use std::collections::VecDeque;

use xiezhi_protocol::range_set::RangeSet;

/// How many checksums are remembered here. An agent has far fewer batches in flight, and this text
/// is written with every batch.
const REMEMBERED: usize = 32;

/// Most ranges that are kept apart. An honest agent needs two or three; beyond this the holes
/// between the lowest numbers count as received, so that a batch which fills one is a conflict and
/// moves to a new epoch: still nothing is lost, and a hostile host cannot grow its row for ever.
const MAX_RANGES: usize = 512;

/// Version of the text, its first character.
const VERSION: &str = "1";

/// What is known of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its number was never received.
    New,
    /// It was received with this content.
    Same,
    /// Its number was received, with other content or too long ago to tell here.
    NumberOnly,
}

/// What was received of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Received {
    numbers: RangeSet,
    recent: VecDeque<(u64, u32)>,
}

impl Received {
    /// Judges a batch; changes nothing.
    pub(crate) fn judge(&self, seq: u64, checksum: u32) -> Known {
        if !self.numbers.contains(seq) {
            return Known::New;
        }
        if self.remembers(seq, checksum) {
            Known::Same
        } else {
            Known::NumberOnly
        }
    }

    /// The numbers that were received.
    pub(crate) fn numbers(&self) -> &RangeSet {
        &self.numbers
    }

    /// Whether exactly this batch is among the remembered ones.
    fn remembers(&self, seq: u64, checksum: u32) -> bool {
        self.recent
            .iter()
            .rev()
            .any(|&known| known == (seq, checksum))
    }

    /// Notes a batch that was judged new.
    pub(crate) fn note(&mut self, seq: u64, checksum: u32) {
        self.numbers.insert(seq);
        if self.numbers.ranges().len() > MAX_RANGES
            && let [(first, _), (_, last), ..] = *self.numbers.ranges()
        {
            self.numbers.insert_range(first, last);
        }
        self.recent.push_back((seq, checksum));
        // A text from before the table holds more, and the table lacks them: they go slowly.
        let surplus = self.recent.len().saturating_sub(REMEMBERED).min(2);
        self.recent.drain(..surplus);
    }

    /// `1;FIRST-LAST,…;SEQ:CHECKSUM,…`, the oldest arrival first.
    pub(crate) fn to_text(&self) -> String {
        let ranges = self
            .numbers
            .ranges()
            .iter()
            .map(|(first, last)| format!("{first}-{last}"));
        let ranges = ranges.collect::<Vec<_>>().join(",");
        let recent = self
            .recent
            .iter()
            .map(|(seq, checksum)| format!("{seq}:{checksum:x}"));
        let recent = recent.collect::<Vec<_>>().join(",");
        format!("{VERSION};{ranges};{recent}")
    }

    /// Reads [`Received::to_text`]; `None` if it is damaged or of a newer version.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (version, ranges, recent) = (parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let mut received = Self::default();
        for range in ranges.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-')?;
            received
                .numbers
                .insert_range(first.parse().ok()?, last.parse().ok()?);
        }
        for batch in recent.split(',').filter(|batch| !batch.is_empty()) {
            let (seq, checksum) = batch.split_once(':')?;
            let checksum = u32::from_str_radix(checksum, 16).ok()?;
            received.recent.push_back((seq.parse().ok()?, checksum));
        }
        Some(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The simplest thing that could be right: every arrival with its turn.
    #[derive(Default)]
    struct Model {
        arrivals: BTreeMap<u64, (u32, usize)>,
    }

    impl Model {
        fn judge(&self, seq: u64, checksum: u32) -> Known {
            match self.arrivals.get(&seq) {
                None => Known::New,
                Some(&(known, turn))
                    if known == checksum && turn + REMEMBERED >= self.arrivals.len() =>
                {
                    Known::Same
                }
                Some(_) => Known::NumberOnly,
            }
        }
    }

    proptest! {
        #[test]
        fn judgements_are_those_of_a_simple_model(
            batches in prop::collection::vec((1u64..400, 0u32..2), 1..900)
        ) {
            let (mut received, mut model) = (Received::default(), Model::default());
            for (seq, checksum) in batches {
                let known = received.judge(seq, checksum);
                prop_assert_eq!(known, model.judge(seq, checksum));
                if known == Known::New {
                    received.note(seq, checksum);
                    let turn = model.arrivals.len();
                    model.arrivals.insert(seq, (checksum, turn));
                }
            }
            prop_assert_eq!(Received::from_text(&received.to_text()), Some(received));
        }

        #[test]
        fn damaged_text_never_panics(text in "[0-9;:,a-f-]{0,60}") {
            drop(Received::from_text(&text));
        }
    }

    #[test]
    fn a_hostile_host_cannot_grow_its_row_and_loses_nothing() {
        let mut received = Received::default();
        for seq in (0..100_000).step_by(2) {
            if received.judge(seq, 1) == Known::New {
                received.note(seq, 1);
            }
        }
        assert!(received.numbers.ranges().len() <= MAX_RANGES);
        // A hole that was closed is a conflict, never a silent replay.
        assert_eq!(received.judge(1, 1), Known::NumberOnly);
        assert_eq!(received.judge(99_999, 1), Known::New);
    }

    #[test]
    fn text_of_a_newer_version_is_not_guessed_at() {
        assert_eq!(Received::from_text("2;1-5;"), None);
        assert_eq!(
            Received::from_text("1;1-5;5:ff"),
            Some({
                let mut received = Received::default();
                received.numbers.insert_range(1, 5);
                received.recent.push_back((5, 255));
                received
            })
        );
    }
}
