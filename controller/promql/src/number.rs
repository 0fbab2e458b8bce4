//! Numbers as Prometheus writes them, and the one NaN that means "this series has ended".
//!
//! Never rounds: what is printed reads back as the same number.

/// Prometheus's stale marker: a NaN of this exact bit pattern ends a series. Every other NaN is a
/// value.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether `value` is the stale marker, by its bits.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// `value` as the HTTP API writes it: shortest digits that read back the same, no exponent, `NaN`,
/// `+Inf`, `-Inf`.
#[must_use]
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// `value` as Go's `%g` writes it, for messages: an exponent below 1e-4 and from 1e21 on.
#[must_use]
pub(crate) fn format_general(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return format_value(value);
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.strip_prefix('-') {
        Some(rest) => format!("{digits}e-{rest:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_like_prometheus() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(format_value(value), text);
        }
    }

    #[test]
    fn messages_write_numbers_like_go() {
        for (value, text) in [
            (1.5, "1.5"),
            (1e6, "1e+06"),
            (1.25e-7, "1.25e-07"),
            (-2.0, "-2"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(format_general(value), text);
        }
    }

    #[test]
    fn only_one_nan_is_stale() {
        assert!(is_stale(STALE));
        assert!(!is_stale(f64::NAN));
    }
}
