//! Which aggregates of a series are kept, by its name and by what its samples look like.
//!
//! A counter may be called anything (`node_netstat_Tcp_OutSegs`), and a gauge may be called `_total`. Where
//! name and samples agree, or the samples never change, three or four aggregates are enough; where they
//! do not, all are kept, and the question decides which of them answer.

use crate::chunk::Points;
use crate::column::is_stale;

/// Rises of a counter for each time that it begins anew, at least.
const RISES_PER_RESET: u64 = 8;

/// Which aggregates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Last value and growth.
    pub(super) counter: bool,
    /// Extremes and sum.
    pub(super) gauge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    Constant,
    LikeCounter,
    LikeGauge,
}

impl Kept {
    pub(super) const COUNTER: Self = Self {
        counter: true,
        gauge: false,
    };
    pub(super) const GAUGE: Self = Self {
        counter: false,
        gauge: true,
    };
    const BOTH: Self = Self {
        counter: true,
        gauge: true,
    };

    /// What is kept of samples, ascending, of a series that is a counter by its name, or is not.
    pub(super) fn of(is_named_counter: bool, points: &Points) -> Self {
        match (is_named_counter, looks(points)) {
            (true, Looks::LikeCounter | Looks::Constant) => Self::COUNTER,
            (false, Looks::LikeGauge | Looks::Constant) => Self::GAUGE,
            (true, Looks::LikeGauge) | (false, Looks::LikeCounter) => Self::BOTH,
        }
    }
}

/// A counter is never below zero and goes down only to begin anew: to half of what it was or less, and
/// seldom.
fn looks(points: &Points) -> Looks {
    let (mut rises, mut resets) = (0, 0);
    let mut before: Option<f64> = None;
    for (_, value) in points.iter().filter(|&(_, value)| !is_stale(value)) {
        if value < 0.0 {
            return Looks::LikeGauge;
        }
        if let Some(before) = before {
            if value < before {
                if value > before / 2.0 {
                    return Looks::LikeGauge;
                }
                resets += 1;
            }
            rises += u64::from(value > before);
        }
        before = Some(value);
    }
    match (rises, resets) {
        (0, 0) => Looks::Constant,
        (rises, resets) if rises >= RISES_PER_RESET * resets => Looks::LikeCounter,
        _ => Looks::LikeGauge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_of(values: impl IntoIterator<Item = f64>) -> Looks {
        let mut points = Points::default();
        (0..)
            .zip(values)
            .for_each(|(time_ms, value)| points.push(time_ms, value));
        looks(&points)
    }

    #[test]
    fn counters_grow_and_begin_anew() {
        let grows = |from: u32, to: u32| (from..to).map(f64::from);
        assert_eq!(looks_of(grows(5, 100)), Looks::LikeCounter);
        let restarted = grows(5, 100).chain(grows(0, 50));
        assert_eq!(looks_of(restarted), Looks::LikeCounter);
        assert_eq!(looks_of([7.0; 9]), Looks::Constant);
        assert_eq!(looks_of([]), Looks::Constant);
        // What falls a little, is below zero, or goes up and down is none.
        assert_eq!(looks_of(grows(5, 100).chain([90.0])), Looks::LikeGauge);
        assert_eq!(looks_of([-2.0, -1.0, 0.0]), Looks::LikeGauge);
        let flaps = (0..40).map(|at| f64::from(at % 2));
        assert_eq!(looks_of(flaps), Looks::LikeGauge);
    }
}
