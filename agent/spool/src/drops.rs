//! The list of what was given up, short enough to be kept in the state and sent in a greeting.

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::Dropped;

/// Most entries. Beyond it the two neighbours of one stream and reason that are closest become one,
/// which then also covers the few numbers between them.
const MAX_DROPS: usize = 64;

/// Why batches are given up, in the words of [`Dropped::reason`].
pub(crate) const FULL: &str = "full";
pub(crate) const AGE: &str = "age";
pub(crate) const DAMAGED: &str = "damaged";
pub(crate) const REFUSED: &str = "refused";

/// The reason's number on disk.
pub(crate) fn reason_number(reason: &str) -> u8 {
    match reason {
        FULL => 0,
        AGE => 1,
        DAMAGED => 2,
        _ => 3,
    }
}

/// The word of [`reason_number`].
pub(crate) fn reason_from_number(number: u8) -> &'static str {
    match number {
        0 => FULL,
        1 => AGE,
        2 => DAMAGED,
        _ => REFUSED,
    }
}

/// Adds one range, joined to its neighbour where they touch.
pub(crate) fn add(
    drops: &mut Vec<Dropped>,
    stream: Stream,
    range: (u64, u64),
    times: (i64, i64),
    reason: &'static str,
) {
    let (first, last) = range;
    let entry = Dropped {
        stream,
        first,
        last,
        from_ms: times.0,
        to_ms: times.1,
        reason: reason.to_owned(),
    };
    let at = drops.partition_point(|drop| order(drop) < order(&entry));
    drops.insert(at, entry);
    join_touching(drops);
    while drops.len() > MAX_DROPS && join_closest(drops) {}
}

/// Forgets what the controller has taken note of; what grew meanwhile keeps its new part.
pub(crate) fn confirm(drops: &mut Vec<Dropped>, reported: &[Dropped]) {
    for report in reported {
        let found = drops.iter().position(|drop| {
            drop.stream == report.stream
                && drop.reason == report.reason
                && drop.first == report.first
                && drop.last >= report.last
        });
        let Some(at) = found else { continue };
        match drops.get_mut(at) {
            Some(drop) if drop.last > report.last => {
                drop.first = report.last + 1;
                drop.from_ms = report.to_ms;
            }
            _ => drop(drops.remove(at)),
        }
    }
}

fn order(drop: &Dropped) -> (Stream, u8, u64) {
    (drop.stream, reason_number(&drop.reason), drop.first)
}

fn are_alike(pair: &[Dropped]) -> Option<(&Dropped, &Dropped)> {
    let [left, right] = pair else { return None };
    (left.stream == right.stream && left.reason == right.reason).then_some((left, right))
}

fn join_touching(drops: &mut Vec<Dropped>) {
    let touching = |pair: &[Dropped]| {
        are_alike(pair).is_some_and(|(left, right)| right.first <= left.last.saturating_add(1))
    };
    while let Some(at) = drops.windows(2).position(touching) {
        join(drops, at);
    }
}

fn join_closest(drops: &mut Vec<Dropped>) -> bool {
    let gaps = drops.windows(2).enumerate().filter_map(|(at, pair)| {
        are_alike(pair).map(|(left, right)| (right.first.saturating_sub(left.last), at))
    });
    let Some((_, at)) = gaps.min() else {
        return false;
    };
    join(drops, at);
    true
}

fn join(drops: &mut Vec<Dropped>, at: usize) {
    let right = drops.remove(at + 1);
    if let Some(left) = drops.get_mut(at) {
        left.last = left.last.max(right.last);
        left.from_ms = left.from_ms.min(right.from_ms);
        left.to_ms = left.to_ms.max(right.to_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_and_reasons_stay_apart() {
        let mut drops = Vec::new();
        add(&mut drops, Stream::Samples, (5, 8), (50, 80), FULL);
        add(&mut drops, Stream::Samples, (9, 9), (90, 90), FULL);
        add(&mut drops, Stream::Samples, (10, 10), (100, 100), AGE);
        add(&mut drops, Stream::Events, (10, 10), (100, 100), FULL);
        assert_eq!(drops.len(), 3);
        assert_eq!((drops[0].first, drops[0].last, drops[0].to_ms), (5, 9, 90));
    }

    #[test]
    fn the_list_stays_short_and_covers_all() {
        let mut drops = Vec::new();
        for number in 0..1000u64 {
            add(
                &mut drops,
                Stream::Samples,
                (number * 3, number * 3),
                (0, 0),
                FULL,
            );
        }
        assert_eq!(drops.len(), MAX_DROPS);
        for number in 0..1000u64 {
            assert!(
                drops
                    .iter()
                    .any(|d| d.first <= number * 3 && d.last >= number * 3)
            );
        }
    }

    #[test]
    fn a_confirmed_drop_that_grew_keeps_its_new_part() {
        let mut drops = Vec::new();
        add(&mut drops, Stream::Samples, (5, 8), (50, 80), FULL);
        let reported = drops.clone();
        add(&mut drops, Stream::Samples, (9, 12), (90, 120), FULL);
        confirm(&mut drops, &reported);
        assert_eq!((drops[0].first, drops[0].last), (9, 12));
        let reported = drops.clone();
        confirm(&mut drops, &reported);
        assert!(drops.is_empty());
    }
}
