//! How late it is by what arrived: what retention measures age from.
//!
//! The clock alone would let one wrong moment delete the history, and the newest arrival alone as well:
//! it is stamped by the same clock. So a time counts only if it is not ahead of the clock now, and if
//! arrivals lead up to it. After a gap of days, which a clock that jumped leaves as well as a
//! controller that was off, nothing goes for its age until a day of arrivals lies behind the gap.

use crate::engine::{Catalog, Engine};

const HOUR_MS: i64 = 3_600_000;
/// Largest distance of arrivals that follow each other: merged blocks are a day apart.
const GAP_MS: i64 = 48 * HOUR_MS;
/// Arrivals behind a gap that say that it is as late as the clock has it.
const PROOF_MS: i64 = 24 * HOUR_MS;

/// How late it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// The newest arrival that is believed, Unix milliseconds; `i64::MIN` without any.
    pub(crate) believed_ms: i64,
    /// The newest arrival by the clock, if it is not believed yet.
    pub(crate) doubted_ms: Option<i64>,
}

/// How late it is by the arrivals in sealed files.
pub(crate) fn lateness(engine: &Engine, files: &Catalog) -> Lateness {
    let segments = files.sealed.values().map(|segment| &segment.span);
    let blocks = files.blocks.values().map(|block| block.span());
    let ends = segments.chain(blocks).map(|span| span.last_received_ms);
    judge(ends.collect(), engine.options.clock.now_ms())
}

/// The ends of files only: one that is merged across a jump spans it.
fn judge(mut ends: Vec<i64>, now_ms: i64) -> Lateness {
    ends.retain(|&end| end <= now_ms);
    ends.sort_unstable();
    let mut believed_ms = ends.first().copied().unwrap_or(i64::MIN);
    let (mut before, mut behind_gap) = (believed_ms, None);
    for &end in &ends {
        if end.saturating_sub(before) > GAP_MS {
            behind_gap = Some(end);
        }
        if behind_gap.is_none_or(|begin| end.saturating_sub(begin) >= PROOF_MS) {
            believed_ms = end;
            behind_gap = None;
        }
        before = end;
    }
    Lateness {
        believed_ms,
        doubted_ms: behind_gap.map(|_| before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(hours: &[i64], now: i64) -> (i64, Option<i64>) {
        let ends = hours.iter().map(|hour| hour * HOUR_MS).collect();
        let found = judge(ends, now * HOUR_MS);
        (
            found.believed_ms / HOUR_MS,
            found.doubted_ms.map(|end| end / HOUR_MS),
        )
    }

    #[test]
    fn arrivals_that_follow_each_other_are_believed() {
        assert_eq!(judged(&[1, 2, 26, 74, 75], 76), (75, None));
        assert_eq!(judge(Vec::new(), 5).believed_ms, i64::MIN);
    }

    #[test]
    fn what_is_ahead_of_the_clock_does_not_count() {
        assert_eq!(judged(&[1, 2, 2_400], 3), (2, None));
        assert_eq!(judge(vec![HOUR_MS], 0).believed_ms, i64::MIN);
    }

    #[test]
    fn behind_a_gap_a_day_of_arrivals_is_awaited() {
        assert_eq!(judged(&[1, 2, 2_400], 2_401), (2, Some(2_400)));
        assert_eq!(judged(&[1, 2, 2_400, 2_423], 2_424), (2, Some(2_423)));
        assert_eq!(judged(&[1, 2, 2_400, 2_424], 2_425), (2_424, None));
        // Two jumps: what is between them proves nothing of what is behind.
        assert_eq!(judged(&[1, 2_400, 4_800, 4_810], 4_811), (1, Some(4_810)));
    }
}
