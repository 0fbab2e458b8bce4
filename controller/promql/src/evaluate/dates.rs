//! Parts of dates, in UTC, from Unix seconds.

use crate::functions::Name;

const DAY: i128 = 86_400;

/// The computation of a date function.
pub(super) fn part(name: Name) -> Option<fn(f64) -> f64> {
    Some(match name {
        Name::Year => |seconds| whole(date(seconds).0),
        Name::Month => |seconds| whole(date(seconds).1),
        Name::DayOfMonth => |seconds| whole(date(seconds).2),
        Name::DayOfYear => |seconds| {
            let (year, ..) = date(seconds);
            whole(days(seconds) - days_before_year(year) + 1)
        },
        // 1 January 1970 was a Thursday.
        Name::DayOfWeek => |seconds| whole((days(seconds) + 4).rem_euclid(7)),
        Name::DaysInMonth => |seconds| {
            let (year, month, _) = date(seconds);
            whole(days_in_month(year, month))
        },
        Name::Hour => |seconds| whole(second_of_day(seconds) / 3600),
        Name::Minute => |seconds| whole(second_of_day(seconds) / 60 % 60),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "parts of dates are small")]
fn whole(value: i64) -> f64 {
    value as f64
}

/// Seconds without their fraction. What 64 bits cannot hold is their overflow, as in Go on the
/// machines that Prometheus runs on: 4 December 292277026596, 15:30.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bound is checked first"
)]
fn truncated(seconds: f64) -> i128 {
    const OVERFLOW: f64 = 9_223_372_036_854_775_808.0;
    if seconds.abs() < OVERFLOW {
        i128::from(seconds as i64)
    } else {
        1 << 63
    }
}

fn days(seconds: f64) -> i64 {
    i64::try_from(truncated(seconds).div_euclid(DAY)).unwrap_or_default()
}

fn second_of_day(seconds: f64) -> i64 {
    i64::try_from(truncated(seconds).rem_euclid(DAY)).unwrap_or_default()
}

/// Days from 1 January 1970 to the first day of a year.
fn days_before_year(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    (year - 1970) * 365 + leap_days - 477
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of month, in the Gregorian calendar.
fn date(seconds: f64) -> (i64, i64, i64) {
    let days = days(seconds);
    // 400 years have 146,097 days; the guess is at most one year off.
    let mut year = 1970 + (days * 400).div_euclid(146_097);
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    while days_before_year(year) > days {
        year -= 1;
    }
    let mut left = days - days_before_year(year);
    let mut month = 1;
    while left >= days_in_month(year, month) {
        left -= days_in_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, expected) in [
            (0.0, (1970, 1, 1)),
            (1_230_767_999.0, (2008, 12, 31)),
            (1_456_790_399.0, (2016, 2, 29)),
            (1_456_790_400.0, (2016, 3, 1)),
            (-1.0, (1969, 12, 31)),
            (951_782_400.0, (2000, 2, 29)),
        ] {
            assert_eq!(date(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_time_has_the_date_that_go_gives_it() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e300] {
            assert_eq!(date(seconds), (292_277_026_596, 12, 4));
            assert_eq!(second_of_day(seconds) / 60, 15 * 60 + 30);
        }
        assert!(date(-9.2e18).0 < -200_000_000_000);
    }
}
