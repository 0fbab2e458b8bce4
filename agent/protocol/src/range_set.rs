//! Sets of sequence numbers, kept as sorted, disjoint, inclusive ranges.
//!
//! A stream that is delivered in order is one range; an outage with a live lane in front of its
//! backlog is two. So the set stays tiny although it may stand for millions of numbers.

use serde::{Deserialize, Serialize};

/// A set of `u64`, kept as inclusive ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds one number; tells whether it was new.
    pub fn insert(&mut self, value: u64) -> bool {
        self.insert_range(value, value)
    }

    /// Adds all of `first..=last`; tells whether any of it was new.
    pub fn insert_range(&mut self, first: u64, last: u64) -> bool {
        if first > last {
            return false;
        }
        // Ranges that touch or overlap the new one are replaced by their union with it.
        let from = self
            .ranges
            .partition_point(|&(_, end)| end.saturating_add(1) < first);
        let to = self
            .ranges
            .partition_point(|&(start, _)| start <= last.saturating_add(1));
        let touched = self.ranges.get(from..to).unwrap_or_default();
        let (mut start, mut end) = (first, last);
        if let (Some(&(low, _)), Some(&(_, high))) = (touched.first(), touched.last()) {
            if touched.len() == 1 && low <= first && high >= last {
                return false;
            }
            start = start.min(low);
            end = end.max(high);
        }
        self.ranges.splice(from..to, [(start, end)]);
        true
    }

    /// Whether `value` is in the set.
    #[must_use]
    pub fn contains(&self, value: u64) -> bool {
        let index = self.ranges.partition_point(|&(_, end)| end < value);
        self.ranges
            .get(index)
            .is_some_and(|&(start, _)| start <= value)
    }

    /// The largest number in the set.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.ranges.last().map(|&(_, end)| end)
    }

    /// The smallest number in the set.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|&(start, _)| start)
    }

    /// The ranges, ascending, inclusive.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers the set holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges
            .iter()
            .map(|&(start, end)| (end - start).saturating_add(1))
            .sum()
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(inserts in prop::collection::vec((0u64..60, 0u64..8), 0..60)) {
            let mut ranges = RangeSet::new();
            let mut model = BTreeSet::new();
            for (first, length) in inserts {
                let before = model.len();
                model.extend(first..=first + length);
                prop_assert_eq!(ranges.insert_range(first, first + length), model.len() > before);
                for value in 0..70 {
                    prop_assert_eq!(ranges.contains(value), model.contains(&value));
                }
                prop_assert_eq!(ranges.len(), model.len() as u64);
                prop_assert!(ranges.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let mut set = RangeSet::new();
        assert!(set.insert(u64::MAX));
        assert!(!set.insert(u64::MAX));
        assert!(set.insert(u64::MAX - 1));
        assert_eq!(set.ranges(), [(u64::MAX - 1, u64::MAX)]);
    }
}
