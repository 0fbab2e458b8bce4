//! Arithmetic on sets of sequence numbers that the spool alone needs.

use xiezhi_protocol::range_set::RangeSet;

/// What is in `set` and not in `without`.
pub(crate) fn subtract(set: &RangeSet, without: &RangeSet) -> RangeSet {
    let mut rest = RangeSet::new();
    for &(first, last) in set.ranges() {
        let mut from = first;
        for &(start, end) in without.ranges() {
            if end < from {
                continue;
            }
            if start > last {
                break;
            }
            if start > from {
                rest.insert_range(from, start - 1);
            }
            from = match end.checked_add(1) {
                Some(next) => next,
                None => return rest,
            };
        }
        if from <= last {
            rest.insert_range(from, last);
        }
    }
    rest
}

/// What is in both.
pub(crate) fn intersect(set: &RangeSet, other: &RangeSet) -> RangeSet {
    subtract(set, &subtract(set, other))
}

/// The set of `first..=last`.
pub(crate) fn span(first: u64, last: u64) -> RangeSet {
    let mut set = RangeSet::new();
    set.insert_range(first, last);
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn subtraction_is_that_of_sets(
            left in prop::collection::vec((0u64..60, 0u64..8), 0..12),
            right in prop::collection::vec((0u64..60, 0u64..8), 0..12),
        ) {
            let build = |pairs: &[(u64, u64)]| {
                let mut set = RangeSet::new();
                for &(first, length) in pairs {
                    set.insert_range(first, first + length);
                }
                set
            };
            let (left, right) = (build(&left), build(&right));
            let (rest, both) = (subtract(&left, &right), intersect(&left, &right));
            for value in 0..80 {
                let (l, r) = (left.contains(value), right.contains(value));
                prop_assert_eq!(rest.contains(value), l && !r);
                prop_assert_eq!(both.contains(value), l && r);
            }
        }
    }
}
