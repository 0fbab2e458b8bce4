//! Numbers and texts as they are written.

/// A number: decimal, hexadecimal, octal with a leading zero, `Inf`, `NaN`, `_` between digits.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (negative, digits) = match lower.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    let value = match digits {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => parse_digits(&without_separators(digits)?)?,
    };
    Some(if negative { -value } else { value })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a literal beyond 2^53 is rounded, as in Go"
)]
fn parse_digits(digits: &str) -> Option<f64> {
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    let is_octal = digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    if is_octal {
        return i64::from_str_radix(digits, 8)
            .ok()
            .map(|value| value as f64);
    }
    parse_decimal(digits).filter(|value| value.is_finite())
}

/// Infinite if it is beyond what a number can be, which Go takes for no number.
fn parse_decimal(digits: &str) -> Option<f64> {
    // Rust also reads words; only digits may begin a number here.
    digits
        .starts_with(|c: char| c.is_ascii_digit() || c == '.')
        .then(|| digits.parse().ok())?
}

/// Why a text is no number, in Go's words.
pub(crate) fn why_no_number(text: &str) -> &'static str {
    let digits = text.trim_start_matches(['+', '-']).replace('_', "");
    match parse_decimal(&digits) {
        Some(_) => "value out of range",
        None => "invalid syntax",
    }
}

/// The digits without `_`, which may only stand between digits.
fn without_separators(digits: &str) -> Option<String> {
    let wrong = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    (!wrong).then(|| digits.replace('_', ""))
}

/// The bytes of a quoted text, with Go's escapes; backquotes have none.
pub(crate) fn unquote(text: &str) -> Result<Vec<u8>, String> {
    let mut chars = text.chars();
    let quote = chars.next();
    let inside = chars.as_str();
    let inside = inside
        .get(..inside.len().saturating_sub(1))
        .unwrap_or_default();
    if quote == Some('`') {
        return Ok(inside.replace('\r', "").into_bytes());
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, &mut out)?;
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(out)
}

fn escape(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let Some(c) = chars.next() else {
        return Err("escape sequence not terminated".to_owned());
    };
    let byte = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '\'' => b'\'',
        '"' => b'"',
        'x' => return numbered(chars, 2, 16, 0).and_then(|value| raw(value, out)),
        'u' => return numbered(chars, 4, 16, 0).and_then(|value| scalar(value, out)),
        'U' => return numbered(chars, 8, 16, 0).and_then(|value| scalar(value, out)),
        '0'..='7' => {
            let first = c.to_digit(8).unwrap_or_default();
            return numbered(chars, 2, 8, first).and_then(|value| raw(value, out));
        }
        other => {
            return Err(format!(
                "unknown escape sequence U+{:04X} {other:?}",
                u32::from(other)
            ));
        }
    };
    out.push(byte);
    Ok(())
}

fn numbered(
    chars: &mut std::str::Chars<'_>,
    count: usize,
    radix: u32,
    first: u32,
) -> Result<u32, String> {
    let mut value = first;
    for _ in 0..count {
        let Some(c) = chars.next() else {
            return Err("escape sequence not terminated".to_owned());
        };
        let Some(digit) = c.to_digit(radix) else {
            return Err(format!(
                "illegal character U+{:04X} {c:?} in escape sequence",
                u32::from(c)
            ));
        };
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    Ok(value)
}

fn raw(value: u32, out: &mut Vec<u8>) -> Result<(), String> {
    let byte = u8::try_from(value)
        .map_err(|_| "escape sequence is an invalid Unicode code point".to_owned())?;
    out.push(byte);
    Ok(())
}

fn scalar(value: u32, out: &mut Vec<u8>) -> Result<(), String> {
    let c = char::from_u32(value)
        .ok_or_else(|| "escape sequence is an invalid Unicode code point".to_owned())?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-.5", -0.5),
            ("0x1f", 31.0),
            ("010", 8.0),
            ("08", 8.0),
            ("1_000.5", 1000.5),
            ("1e3", 1000.0),
            ("+Inf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Some(value), "{text}");
        }
        assert!(parse_number("NaN").is_some_and(f64::is_nan));
        for wrong in ["", "infinity", "_1", "1__0", "0x", "abc", "1e400"] {
            assert_eq!(parse_number(wrong), None, "{wrong}");
        }
        assert_eq!(parse_number("1e-400"), Some(0.0));
        assert_eq!(why_no_number("-1e400"), "value out of range");
        assert_eq!(why_no_number("0x"), "invalid syntax");
    }

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(
            unquote(r#""a\xc5z\n\u00e9\101""#).unwrap(),
            b"a\xc5z\n\xc3\xa9A"
        );
        assert_eq!(unquote(r"`a\n`").unwrap(), br"a\n");
        assert!(unquote(r#""\q""#).is_err());
        assert!(unquote(r#""\777""#).is_err());
    }
}
