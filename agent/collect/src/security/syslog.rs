//! Takes one line of a syslog file apart: time, tag, process, message.
//!
//! Forms that are understood: the traditional `Nov 21 21:53:01 host tag[pid]: text` (rsyslog on
//! Red Hat family, openEuler, Kylin, Debian up to 11) and the high-precision
//! `2026-11-21T21:53:01.123456+08:00 host tag[pid]: text` (Debian 12, Ubuntu 24.04), each with or
//! without a leading `<priority>`. Anything else is not a log line and gives `None`.

use super::zone::{Zone, civil_to_unix, year_of};

/// A line taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Unix milliseconds.
    pub(crate) time_ms: i64,
    /// Program, without its path or process number.
    pub(crate) tag: &'a str,
    /// Process number, if the line has one.
    pub(crate) pid: Option<u32>,
    /// The text.
    pub(crate) message: &'a str,
}

/// Parses one line; `now_ms` supplies the year that traditional lines lack.
pub(crate) fn parse<'a>(line: &'a str, now_ms: i64, zone: &Zone) -> Option<Line<'a>> {
    let line = strip_priority(line.trim_end());
    let (time_ms, rest) = parse_time(line, now_ms, zone)?;
    let (_host, rest) = rest.trim_start().split_once(' ')?;
    let (tag, message) = rest
        .trim_start()
        .split_once(": ")
        .or_else(|| rest.trim_start().split_once(':'))?;
    let (tag, pid) = split_tag(tag)?;
    Some(Line {
        time_ms,
        tag,
        pid,
        message: message.trim_start(),
    })
}

fn strip_priority(line: &str) -> &str {
    let stripped = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match stripped {
        Some((digits, rest)) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            rest
        }
        _ => line,
    }
}

/// `sshd[123]`, `sudo`, `/usr/sbin/cron[1]`, and gdm's broken `gdm-password]`.
fn split_tag(tag: &str) -> Option<(&str, Option<u32>)> {
    if tag.is_empty() || tag.contains(' ') {
        return None;
    }
    let (name, pid) = match tag.split_once('[') {
        Some((name, pid)) => (name, pid.trim_end_matches(']').parse().ok()),
        None => (tag.trim_end_matches(']'), None),
    };
    Some((name.rsplit('/').next().unwrap_or(name), pid))
}

fn parse_time<'a>(line: &'a str, now_ms: i64, zone: &Zone) -> Option<(i64, &'a str)> {
    if line.as_bytes().first()?.is_ascii_digit() {
        let (stamp, rest) = line.split_once(' ')?;
        return Some((parse_rfc3339(stamp, zone)?, rest));
    }
    parse_traditional(line, now_ms, zone)
}

fn parse_traditional<'a>(line: &'a str, now_ms: i64, zone: &Zone) -> Option<(i64, &'a str)> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (month, rest) = line.split_once(' ')?;
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (clock, rest) = rest.trim_start().split_once(' ')?;
    let (day, second) = (number(day, 1, 31)?, second_of_day(clock)?);
    let now_s = now_ms.div_euclid(1000);
    let year = year_of(now_s);
    let at = |year| zone.to_utc(civil_to_unix(year, month, day, second));
    // A line from the future is last year's: log files outlive New Year. The zone may put the
    // host's year one ahead of UTC's.
    let candidates = [at(year + 1), at(year), at(year - 1)];
    let time_s = candidates
        .into_iter()
        .find(|time| *time <= now_s + 86_400)?;
    Some((time_s * 1000, rest))
}

/// Unix milliseconds of `2026-11-21T21:53:01[.123456](Z|+08:00|+0800|)`; without an offset it is
/// local time.
pub(crate) fn parse_rfc3339(stamp: &str, zone: &Zone) -> Option<i64> {
    let (date, clock) = stamp.split_once(['T', ' '])?;
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 1970, 9999)?;
    let month = number(parts.next()?, 1, 12)?;
    let day = number(parts.next()?, 1, 31)?;
    let (clock, offset) = match clock.find(['Z', '+', '-']) {
        Some(at) => clock.split_at_checked(at)?,
        None => (clock, ""),
    };
    let (whole, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let local = civil_to_unix(year, month, day, second_of_day(whole)?);
    let seconds = if offset.is_empty() {
        zone.to_utc(local)
    } else {
        local - parse_offset(offset)?
    };
    Some(seconds * 1000 + milliseconds(fraction))
}

fn milliseconds(fraction: &str) -> i64 {
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    digits.parse().unwrap_or(0)
}

fn parse_offset(offset: &str) -> Option<i64> {
    if offset == "Z" {
        return Some(0);
    }
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() {
        0
    } else {
        number(minutes, 0, 59)?
    };
    let seconds = number(hours, 0, 23)? * 3600 + minutes * 60;
    Some(if offset.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

fn second_of_day(clock: &str) -> Option<i64> {
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 0, 23)?;
    let minute = number(parts.next()?, 0, 59)?;
    let second = number(parts.next()?, 0, 60)?;
    Some(hour * 3600 + minute * 60 + second)
}

fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    text.parse().ok().filter(|n| (least..=most).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_300_000_000; // 2026-11-21

    #[test]
    fn traditional_and_precise_lines_agree() {
        let old = parse(
            "Nov 21 13:53:01 gs-01 sshd[812]: hello: you",
            NOW,
            &Zone::utc(),
        )
        .unwrap();
        assert_eq!(
            (old.tag, old.pid, old.message),
            ("sshd", Some(812), "hello: you")
        );
        let new = parse(
            "2026-11-21T21:53:01.25+08:00 gs-01 sshd[812]: hello: you",
            NOW,
            &Zone::utc(),
        );
        assert_eq!(new.unwrap().time_ms, old.time_ms + 250);
    }

    #[test]
    fn december_lines_read_in_january_are_of_last_year() {
        let january = civil_to_unix(2027, 1, 1, 600) * 1000;
        let line = parse("Dec 31 23:59:58 h sudo: x", january, &Zone::utc()).unwrap();
        assert_eq!(line.time_ms, (civil_to_unix(2027, 1, 1, 0) - 2) * 1000);
    }

    #[test]
    fn odd_tags_are_understood() {
        let line = parse(
            "<86>Nov  1 03:00:01 h gdm-password]: pam_unix(x): y",
            NOW,
            &Zone::utc(),
        )
        .unwrap();
        assert_eq!((line.tag, line.pid), ("gdm-password", None));
        let line = parse("Nov  1 03:00:01 h /usr/sbin/CRON[7]: z", NOW, &Zone::utc()).unwrap();
        assert_eq!((line.tag, line.pid), ("CRON", Some(7)));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line in "\\PC{0,120}") {
            let _ = parse(&line, NOW, &Zone::utc());
        }

        #[test]
        fn truncated_lines_never_panic(cut in 0usize..60) {
            let line = "<86>2026-11-21T21:53:01.123456+08:00 gs-01 sshd[812]: Accepted";
            let _ = parse(&line[..cut.min(line.len())], NOW, &Zone::utc());
        }
    }
}
