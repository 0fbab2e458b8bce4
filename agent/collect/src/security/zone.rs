//! The host's time zone, for log lines that carry local time without an offset.
//!
//! Source: `/etc/localtime` in TZif form (RFC 8536). Rules for years beyond the file's last
//! transition are not evaluated: the last offset holds. China has had one offset since 1991.

use std::path::Path;

/// Offsets from UTC over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    /// (Unix seconds from which it holds, seconds east of UTC), oldest first.
    transitions: Vec<(i64, i32)>,
}

/// Transitions that are kept: the latest ones; logs are not decades old.
const KEPT: usize = 160;

impl Zone {
    /// UTC.
    pub(crate) fn utc() -> Self {
        Self {
            transitions: Vec::new(),
        }
    }

    /// The zone of a host; UTC if it has none.
    pub(crate) fn load(root: &Path) -> Self {
        std::fs::read(root.join("etc/localtime"))
            .ok()
            .filter(|bytes| bytes.len() < 64 * 1024)
            .and_then(|bytes| Self::parse(&bytes))
            .unwrap_or_else(Self::utc)
    }

    /// Parses a TZif file, version 1 to 4.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = Counts::read(bytes)?;
        if bytes.get(4)? < &b'2' {
            return first.block(bytes.get(44..)?, 4);
        }
        let second = bytes.get(44 + first.length(4)?..)?;
        Counts::read(second)?.block(second.get(44..)?, 8)
    }

    /// Unix seconds of a local wall-clock time given as if it were UTC.
    pub(crate) fn to_utc(&self, local_s: i64) -> i64 {
        let guess = local_s - self.offset(local_s);
        local_s - self.offset(guess)
    }

    fn offset(&self, utc_s: i64) -> i64 {
        let known = self
            .transitions
            .iter()
            .rev()
            .find(|(from, _)| *from <= utc_s);
        known
            .or(self.transitions.first())
            .map_or(0, |(_, offset)| i64::from(*offset))
    }
}

struct Counts {
    isut: usize,
    isstd: usize,
    leap: usize,
    times: usize,
    types: usize,
    chars: usize,
}

impl Counts {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"TZif" {
            return None;
        }
        let at = |index: usize| {
            let start = 20 + 4 * index;
            let word = bytes.get(start..start + 4)?.first_chunk::<4>()?;
            usize::try_from(u32::from_be_bytes(*word))
                .ok()
                .filter(|n| *n < 1 << 16)
        };
        Some(Self {
            isut: at(0)?,
            isstd: at(1)?,
            leap: at(2)?,
            times: at(3)?,
            types: at(4)?,
            chars: at(5)?,
        })
    }

    fn length(&self, word: usize) -> Option<usize> {
        Some(
            self.times * (word + 1)
                + self.types * 6
                + self.chars
                + self.leap * (word + 4)
                + self.isstd
                + self.isut,
        )
    }

    fn block(&self, bytes: &[u8], word: usize) -> Option<Zone> {
        let times = bytes.get(..self.times * word)?;
        let indices = bytes.get(self.times * word..self.times * (word + 1))?;
        let types = bytes
            .get(self.times * (word + 1)..)?
            .get(..self.types * 6)?;
        let offset_of = |index: u8| {
            let record = types.get(usize::from(index) * 6..)?;
            Some(i32::from_be_bytes(*record.first_chunk::<4>()?))
        };
        let mut transitions = Vec::new();
        for (time, index) in times.chunks_exact(word).zip(indices) {
            transitions.push((big_endian(time)?, offset_of(*index)?));
        }
        if transitions.is_empty() {
            transitions.push((i64::MIN, offset_of(0)?));
        }
        let surplus = transitions.len().saturating_sub(KEPT);
        transitions.drain(..surplus);
        Some(Zone { transitions })
    }
}

fn big_endian(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i64::from(i32::from_be_bytes(*bytes.first_chunk::<4>()?))),
        _ => Some(i64::from_be_bytes(*bytes.first_chunk::<8>()?)),
    }
}

/// Unix seconds of a civil time in UTC.
pub(crate) fn civil_to_unix(year: i64, month: i64, day: i64, second_of_day: i64) -> i64 {
    // Howard Hinnant's days_from_civil: years start in March, so the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era - 719_468) * 86_400 + second_of_day
}

/// The year that a Unix time falls in, UTC.
pub(crate) fn year_of(unix_s: i64) -> i64 {
    let guess = 1970 + unix_s.div_euclid(31_556_952);
    if civil_to_unix(guess, 1, 1, 0) > unix_s {
        guess - 1
    } else if civil_to_unix(guess + 1, 1, 1, 0) <= unix_s {
        guess + 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shanghai_is_eight_hours_east() {
        let Ok(bytes) = std::fs::read("/usr/share/zoneinfo/Asia/Shanghai") else {
            return;
        };
        let zone = Zone::parse(&bytes).unwrap();
        let local = civil_to_unix(2026, 11, 21, 12 * 3600);
        assert_eq!(zone.to_utc(local), civil_to_unix(2026, 11, 21, 4 * 3600));
    }

    #[test]
    fn civil_times_match_known_ones() {
        assert_eq!(civil_to_unix(1970, 1, 1, 0), 0);
        assert_eq!(civil_to_unix(2024, 2, 29, 3600), 1_709_168_400);
        assert_eq!(year_of(civil_to_unix(2024, 1, 1, 0)), 2024);
        assert_eq!(year_of(civil_to_unix(2024, 1, 1, 0) - 1), 2023);
    }

    proptest! {
        #[test]
        fn arbitrary_zone_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut file = b"TZif2".to_vec();
            file.extend(bytes);
            let _ = Zone::parse(&file).map(|zone| zone.to_utc(1_700_000_000));
        }
    }
}
