//! Which part of a share is sent next while parts of it are refused: halves, until single reports are left.
//!
//! A bad report among good ones costs a few requests, and thousands of them would cost tens of thousands,
//! while the reports behind them wait. So the search grows coarser: after [`SEARCHED`] refusals what is refused
//! goes two reports at a time, and [`COARSER_EVERY`] refusals later twice as many. The requests that a share
//! can cost grow with the logarithm of its reports then, and what goes unlooked-at grows no faster than it must.

use std::ops::Range;

/// Refused requests of a share within which each report is judged alone: 2,500 bad ones side by side. A
/// share of hosts' reports has a few hundred in all.
const SEARCHED: u32 = 5_000;
/// Refused requests after which as many reports again go together.
const COARSER_EVERY: u32 = 500;

/// What is left to be sent of a share.
#[derive(Debug)]
pub(super) struct Search {
    /// The next one last.
    ranges: Vec<Range<usize>>,
    refusals: u32,
}

impl Search {
    /// All of so many reports are left.
    pub(super) fn of(reports: usize) -> Self {
        let all = Range {
            start: 0,
            end: reports,
        };
        Self {
            ranges: Vec::from([all]),
            refusals: 0,
        }
    }

    /// What is sent next, in order.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        self.ranges.pop()
    }

    /// These reports were refused together. Whether they are to be looked at apart.
    pub(super) fn is_divided(&mut self, range: &Range<usize>) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        range.len() > self.together()
    }

    /// They are.
    pub(super) fn divide(&mut self, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.ranges.push(middle..range.end);
        self.ranges.push(range.start..middle);
    }

    /// So many reports go together if they are refused.
    fn together(&self) -> usize {
        let more = self.refusals.checked_sub(SEARCHED);
        let doublings = more.map_or(0, |more| 1 + more / COARSER_EVERY);
        1_usize.checked_shl(doublings).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that a share costs, and good reports that go with bad ones.
    fn cost(reports: usize, is_bad: impl Fn(usize) -> bool) -> (u32, usize) {
        let mut search = Search::of(reports);
        let (mut requests, mut lost, mut expected) = (0, 0, 0);
        while let Some(range) = search.next() {
            assert_eq!(range.start, expected, "the order changed");
            requests += 1;
            if range.clone().any(&is_bad) {
                if search.is_divided(&range) {
                    search.divide(range);
                    continue;
                }
                lost += range.clone().filter(|&report| !is_bad(report)).count();
            }
            expected = range.end;
        }
        assert_eq!(expected, reports, "some were never sent");
        (requests, lost)
    }

    #[test]
    fn a_few_bad_reports_cost_a_few_requests_and_no_good_one() {
        assert_eq!(cost(1, |_| false), (1, 0));
        assert_eq!(cost(1, |_| true), (1, 0));
        let (requests, lost) = cost(1_000, |report| report == 700);
        assert!(requests <= 22 && lost == 0, "{requests} {lost}");
        let (requests, lost) = cost(1_000, |report| report % 5 == 0);
        assert!(requests <= 1_300 && lost == 0, "{requests} {lost}");
    }

    #[test]
    fn two_thousand_bad_reports_in_a_row_cost_none_behind_them() {
        let (requests, lost) = cost(2_010, |report| report < 2_000);
        assert!(requests <= 4_020 && lost == 0, "{requests} {lost}");
    }

    /// A share of one sample each: of all that a wave can have, every second one or all of them are bad.
    #[test]
    fn however_many_reports_are_bad_their_cost_is_bounded() {
        for reports in [10_000, 40_000, 1_000_000] {
            for every in [1, 2, 3, 10] {
                let (requests, lost) = cost(reports, |report| report % every == 0);
                assert!(requests < 15_000, "{requests} for {reports} by {every}");
                // Most good ones are found where one in ten of ten thousand is bad.
                assert!(reports > 10_000 || lost < reports / 2, "{lost} by {every}");
            }
        }
    }
}
