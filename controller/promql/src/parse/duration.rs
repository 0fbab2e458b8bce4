//! Durations: `1h30m`, `500ms`, `2w`; days of 24 hours, years of 365 days.

/// Units in the order in which they must come, with their milliseconds.
const UNITS: &[(&str, i64)] = &[
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration in milliseconds; nothing if `text` is none or overflows.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<i64>().ok()?.checked_mul(*milliseconds)?;
        total = total.checked_add(part)?;
        rest = next;
    }
    // Go counts nanoseconds in 64 bits: about 292 years.
    (total <= i64::MAX / 1_000_000).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn units_add_up_in_falling_order() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration("10s53ms"), Some(10_053));
        assert_eq!(parse_duration("1y"), Some(31_536_000_000));
        for wrong in ["", "5", "m", "30m1h", "5m5m", "5x", "9999999999y", "1.5h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
