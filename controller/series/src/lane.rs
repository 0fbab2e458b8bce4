//! Which sequence numbers of one (host, epoch) are stored, and what the recent ones held.

use std::collections::VecDeque;

use xiezhi_protocol::range_set::RangeSet;

/// Checksums kept per lane: the most recently stored, not the highest, because an agent that comes
/// back sends its backlog behind the live lane.
pub(crate) const REMEMBERED: usize = 256;

/// Ranges kept per lane. An honest lane has a handful; one that skips every other number would
/// grow without bound, so its oldest gap is closed. A frame of that gap is then a conflict, and is
/// stored in the epoch that the caller opens.
const MAX_RANGES: usize = 4096;

/// What a lane knows of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Never stored.
    New,
    /// Stored with this checksum.
    Same,
    /// Stored with another checksum.
    Other,
    /// Stored, but its checksum is no longer in memory.
    Forgotten,
}

/// The stored frames of one (host, epoch): about 1.2 kB when full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) seqs: RangeSet,
    /// Runs of consecutive numbers in order of arrival; their checksums lie in `checksums`.
    runs: VecDeque<(u64, u32)>,
    checksums: VecDeque<u32>,
    pub(crate) last_received_ms: i64,
}

impl Lane {
    /// Looks a frame up.
    pub(crate) fn look_up(&self, seq: u64, checksum: u32) -> Known {
        if !self.seqs.contains(seq) {
            return Known::New;
        }
        match self.checksum(seq) {
            Some(known) if known == checksum => Known::Same,
            Some(_) => Known::Other,
            None => Known::Forgotten,
        }
    }

    /// Notes a stored frame; one that is known already changes nothing.
    pub(crate) fn insert(&mut self, seq: u64, checksum: u32, received_ms: i64) {
        self.last_received_ms = self.last_received_ms.max(received_ms);
        if !self.seqs.insert(seq) {
            return;
        }
        self.close_oldest_gap();
        match self.runs.back_mut() {
            Some((first, count)) if first.checked_add(u64::from(*count)) == Some(seq) => {
                *count += 1;
            }
            _ => self.runs.push_back((seq, 1)),
        }
        if self.checksums.len() == self.checksums.capacity() {
            self.checksums.reserve_exact(REMEMBERED / 8);
        }
        if self.checksums.len() >= REMEMBERED {
            self.forget_oldest();
        }
        self.checksums.push_back(checksum);
    }

    /// Notes numbers that are stored, without their checksums.
    pub(crate) fn insert_range(&mut self, first: u64, last: u64, received_ms: i64) {
        self.seqs.insert_range(first, last);
        self.close_oldest_gap();
        self.last_received_ms = self.last_received_ms.max(received_ms);
    }

    /// Remembered numbers and checksums, oldest first.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = (u64, u32)> {
        self.runs
            .iter()
            .flat_map(|&(first, count)| (0..u64::from(count)).map(move |index| first + index))
            .zip(self.checksums.iter().copied())
    }

    /// Puts back what [`Self::remembered`] gave; the numbers must be in `seqs` already.
    pub(crate) fn restore(seqs: RangeSet, last_received_ms: i64, memory: &[(u64, u32)]) -> Self {
        let mut lane = Self {
            last_received_ms,
            ..Self::default()
        };
        for &(seq, checksum) in memory {
            lane.insert(seq, checksum, last_received_ms);
        }
        lane.seqs = seqs;
        lane
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.checksums.capacity() * 4
            + self.runs.capacity() * 16
            + self.seqs.ranges().len().next_power_of_two().max(4) * 16
    }

    fn checksum(&self, seq: u64) -> Option<u32> {
        let mut skipped = 0usize;
        for &(first, count) in &self.runs {
            if let Some(index) = seq
                .checked_sub(first)
                .filter(|&index| index < u64::from(count))
            {
                return self
                    .checksums
                    .get(skipped + usize::try_from(index).ok()?)
                    .copied();
            }
            skipped += count as usize;
        }
        None
    }

    fn forget_oldest(&mut self) {
        self.checksums.pop_front();
        if let Some((first, count)) = self.runs.front_mut() {
            *first = first.saturating_add(1);
            *count -= 1;
            if *count == 0 {
                self.runs.pop_front();
            }
        }
    }

    fn close_oldest_gap(&mut self) {
        if self.seqs.ranges().len() <= MAX_RANGES {
            return;
        }
        if let Some(&[(_, end), (start, _)]) = self.seqs.ranges().first_chunk::<2>() {
            self.seqs.insert_range(end, start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn a_lane_knows_what_a_list_knows(
            inserts in prop::collection::vec((0u64..40, 1u64..90), 1..30),
        ) {
            let mut lane = Lane::default();
            let mut order: Vec<u64> = Vec::new();
            let mut stored = HashMap::new();
            for (start, length) in inserts {
                for seq in start * 50..start * 50 + length {
                    let checksum = (seq * 7) as u32;
                    if stored.insert(seq, checksum).is_none() {
                        order.push(seq);
                    }
                    lane.insert(seq, checksum, 1);
                }
            }
            let recent = &order[order.len().saturating_sub(REMEMBERED)..];
            for seq in 0..2200 {
                let expected = match stored.get(&seq) {
                    None => Known::New,
                    Some(_) if recent.contains(&seq) => Known::Same,
                    Some(_) => Known::Forgotten,
                };
                prop_assert_eq!(lane.look_up(seq, (seq * 7) as u32), expected);
                if expected == Known::Same {
                    prop_assert_eq!(lane.look_up(seq, 1), Known::Other);
                }
            }
            let memory: Vec<_> = lane.remembered().collect();
            let restored = Lane::restore(lane.seqs.clone(), lane.last_received_ms, &memory);
            prop_assert_eq!(restored, lane);
        }
    }

    #[test]
    fn a_lane_full_of_gaps_stays_bounded() {
        let mut lane = Lane::default();
        for seq in 0..20_000 {
            lane.insert(seq * 2, 1, 1);
        }
        assert!(lane.seqs.ranges().len() <= MAX_RANGES);
        assert_eq!(lane.look_up(39_998, 1), Known::Same);
    }

    #[test]
    fn a_full_lane_stays_below_its_budget() {
        let mut lane = Lane::default();
        for seq in 1..5000 {
            lane.insert(seq, 1, 1);
        }
        assert!(lane.heap_bytes() + size_of::<Lane>() < 1500);
    }
}
