//! A bandwidth budget as people set it: one limit for each hour of the day.
//!
//! Agents know windows of minutes and a rate in bytes; people think in hours and in the kbit/s of a
//! contract. This is the only place where one becomes the other. Limits hold back backlog and bulk;
//! live reports are never held back.

use std::ops::Range;

use xiezhi_protocol::message::{Bandwidth, BandwidthWindow};

/// Hours of a day.
pub const HOURS: usize = 24;

/// Largest limit, kbit/s: 100 Gbit/s, more than any line of a court.
pub const MOST_KBPS: u32 = 100_000_000;

/// Bytes per second of one kbit/s.
const BYTES_PER_KBIT: u64 = 125;

/// A limit for each hour of the day, Asia/Shanghai.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HourlyBudget {
    /// Limit in kbit/s by hour; `None` is unlimited, 0 lets only live reports pass.
    pub kbps: [Option<u32>; HOURS],
}

/// Why a budget cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Not one value for each hour.
    #[error("a budget has {HOURS} values, one for each hour from 0 to 23; these are {0}")]
    Hours(usize),
    /// More than any line carries.
    #[error("hour {hour}: {kbps} kbit/s is more than {MOST_KBPS}: is the unit right?")]
    TooMuch {
        /// Hour of the day.
        hour: usize,
        /// Its value.
        kbps: u32,
    },
}

impl HourlyBudget {
    /// Checks one value for each hour.
    ///
    /// # Errors
    /// Says which hour is wrong.
    pub fn new(kbps: &[Option<u32>]) -> Result<Self, BudgetError> {
        let kbps: [Option<u32>; HOURS] = kbps
            .try_into()
            .map_err(|_| BudgetError::Hours(kbps.len()))?;
        for (hour, value) in kbps.iter().enumerate() {
            if let Some(kbps) = value.filter(|&value| value > MOST_KBPS) {
                return Err(BudgetError::TooMuch { hour, kbps });
            }
        }
        Ok(Self { kbps })
    }

    /// The same with another limit from the hour `from` up to `to`; an end before the start wraps
    /// over midnight, and the same hour twice changes nothing.
    #[must_use]
    pub fn with(mut self, from: usize, to: usize, limit: Option<u32>) -> Self {
        for (hour, value) in self.kbps.iter_mut().enumerate() {
            let inside = if from <= to {
                (from..to).contains(&hour)
            } else {
                hour >= from || hour < to
            };
            if inside {
                *value = limit;
            }
        }
        self
    }

    /// Hours in a row with the same limit, from 0 to 24.
    #[must_use]
    pub fn runs(&self) -> Vec<(Range<usize>, Option<u32>)> {
        let mut runs: Vec<(Range<usize>, Option<u32>)> = Vec::new();
        for (hour, &value) in self.kbps.iter().enumerate() {
            match runs.last_mut() {
                Some((range, same)) if *same == value => range.end = hour + 1,
                _ => runs.push((hour..hour + 1, value)),
            }
        }
        runs
    }
}

impl From<&HourlyBudget> for Bandwidth {
    /// Limited hours become windows; outside of them there is no limit.
    fn from(budget: &HourlyBudget) -> Self {
        let minute = |hour: usize| u16::try_from(hour * 60).unwrap_or(0);
        let window = |(hours, limit): (Range<usize>, Option<u32>)| {
            Some(BandwidthWindow {
                from_minute: minute(hours.start),
                to_minute: minute(hours.end),
                bytes_per_second: u64::from(limit?) * BYTES_PER_KBIT,
            })
        };
        Self {
            bytes_per_second: 0,
            windows: budget.runs().into_iter().filter_map(window).collect(),
        }
    }
}

impl From<&Bandwidth> for HourlyBudget {
    /// What holds at the beginning of each hour: a budget that was set by the minute is rounded.
    fn from(bandwidth: &Bandwidth) -> Self {
        let kbps = |rate: u64| u32::try_from(rate / BYTES_PER_KBIT).unwrap_or(MOST_KBPS);
        let minute = |hour: usize| u16::try_from(hour * 60).unwrap_or_default();
        let at = |hour: usize| bandwidth.at_minute(minute(hour)).map(kbps);
        Self {
            kbps: std::array::from_fn(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_become_windows_and_come_back() {
        let day = HourlyBudget::default().with(8, 18, Some(2000));
        let day = day.with(12, 13, Some(0));
        let bandwidth = Bandwidth::from(&day);
        let windows: Vec<_> = bandwidth
            .windows
            .iter()
            .map(|window| {
                (
                    window.from_minute,
                    window.to_minute,
                    window.bytes_per_second,
                )
            })
            .collect();
        assert_eq!(
            windows,
            [(480, 720, 250_000), (720, 780, 0), (780, 1080, 250_000)]
        );
        assert_eq!(bandwidth.bytes_per_second, 0);
        assert_eq!(HourlyBudget::from(&bandwidth), day);
    }

    #[test]
    fn a_night_wraps_over_midnight_and_a_whole_day_is_one_window() {
        let night = HourlyBudget::default().with(22, 6, Some(64));
        assert_eq!(night.kbps[23], Some(64));
        assert_eq!(night.kbps[5], Some(64));
        assert_eq!(night.kbps[6], None);
        let day = HourlyBudget::default().with(0, 24, Some(64));
        assert_eq!(Bandwidth::from(&day).windows.len(), 1);
        assert_eq!(HourlyBudget::from(&Bandwidth::from(&day)), day);
    }

    #[test]
    fn a_budget_by_the_minute_is_shown_by_the_hour() {
        let bandwidth = Bandwidth {
            bytes_per_second: 1250,
            windows: vec![BandwidthWindow {
                from_minute: 23 * 60 + 30,
                to_minute: 90,
                bytes_per_second: 125,
            }],
        };
        let hourly = HourlyBudget::from(&bandwidth);
        assert_eq!(hourly.kbps[23], Some(10));
        assert_eq!(hourly.kbps[0], Some(1));
        assert_eq!(hourly.kbps[2], Some(10));
    }

    #[test]
    fn a_window_that_ends_where_it_begins_is_none() {
        let bandwidth = Bandwidth {
            bytes_per_second: 1250,
            windows: vec![BandwidthWindow {
                from_minute: 480,
                to_minute: 480,
                bytes_per_second: 0,
            }],
        };
        assert_eq!(HourlyBudget::from(&bandwidth).kbps, [Some(10); HOURS]);
        let none = HourlyBudget::default().with(8, 8, Some(64));
        assert_eq!(none, HourlyBudget::default());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let short = HourlyBudget::new(&[None; 23]);
        assert_eq!(short, Err(BudgetError::Hours(23)));
        let mut hours = [None; HOURS];
        hours[7] = Some(MOST_KBPS + 1);
        let refused = HourlyBudget::new(&hours).unwrap_err().to_string();
        assert!(refused.starts_with("hour 7"), "{refused}");
    }
}
