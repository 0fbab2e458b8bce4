//! Times and durations as Prometheus's parameters write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A parameter that cannot be read, in Prometheus's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Neither Unix seconds nor RFC 3339.
    #[error("cannot parse {0:?} to a valid timestamp")]
    Time(String),
    /// Neither seconds nor `1h30m`.
    #[error("cannot parse {0:?} to a valid duration")]
    Duration(String),
}

/// Years far outside of what is stored, so that nothing overflows: about 292,000 years.
const MOST_S: f64 = 9.2e12;

/// A time: Unix seconds with decimals, or RFC 3339. Unix milliseconds.
///
/// # Errors
/// [`ParameterError::Time`].
pub fn time_ms(text: &str) -> Result<i64, ParameterError> {
    if let Some(ms) = seconds_to_ms(text) {
        return Ok(ms);
    }
    let refuse = || ParameterError::Time(text.to_owned());
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refuse())?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| refuse())
}

/// A duration: seconds with decimals, or Prometheus's `1d2h3m4s5ms`. Milliseconds.
///
/// # Errors
/// [`ParameterError::Duration`].
pub fn duration_ms(text: &str) -> Result<i64, ParameterError> {
    seconds_to_ms(text)
        .or_else(|| units_to_ms(text))
        .ok_or_else(|| ParameterError::Duration(text.to_owned()))
}

fn seconds_to_ms(text: &str) -> Option<i64> {
    let seconds: f64 = text.parse().ok()?;
    // NaN compares false and is refused with the rest.
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    (seconds.abs() <= MOST_S).then(|| (seconds * 1000.0).round() as i64)
}

/// `1y2w3d4h5m6s7ms`: each unit at most once, in this order.
fn units_to_ms(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let (mut rest, mut total, mut above) = (text, 0_i64, i64::MAX);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| letter.is_ascii_digit());
        let (unit, next) = after.split_at(letters.unwrap_or(after.len()));
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *size >= above {
            return None;
        }
        let part = number.parse::<i64>().ok()?.checked_mul(*size)?;
        total = total.checked_add(part)?;
        (above, rest) = (*size, next);
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        assert_eq!(time_ms("1435781451.781"), Ok(1_435_781_451_781));
        assert_eq!(time_ms("-1.5"), Ok(-1_500));
        assert_eq!(time_ms("2015-07-01T20:10:51.781Z"), Ok(1_435_781_451_781));
        assert_eq!(time_ms("2015-07-02T04:10:51+08:00"), Ok(1_435_781_451_000));
        for text in ["", "now", "NaN", "Inf", "1e300", "2015-07-01"] {
            assert!(time_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_units_in_order() {
        assert_eq!(duration_ms("15"), Ok(15_000));
        assert_eq!(duration_ms("0.25"), Ok(250));
        assert_eq!(duration_ms("1h30m"), Ok(5_400_000));
        assert_eq!(duration_ms("1d500ms"), Ok(86_400_500));
        for text in [
            "",
            "m",
            "5",
            "30m1h",
            "1h1h",
            "1x",
            "99999999999999999y",
            "-5m",
        ] {
            assert_eq!(duration_ms(text).is_ok(), text == "5", "{text}");
        }
    }
}
