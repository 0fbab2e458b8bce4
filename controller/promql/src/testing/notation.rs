//! The notation of series: `metric{label="value"} 1 2+3x4 _ stale {{…}}`.

use crate::labels::Labels;
use crate::number::STALE;
use crate::parse::{parse_metric, parse_number};

/// One point of the notation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    /// A value, or the stale marker.
    Value(f64),
    /// `_`: no point.
    Gap,
    /// A native histogram, whose content is not read.
    Histogram,
}

/// A series and its points; an expected scalar has neither name nor labels.
pub(super) fn parse_series(line: &str) -> Result<(Labels, Vec<Point>), String> {
    if parse_number(line).is_some() {
        return Ok((Labels::default(), parse_points(line)?));
    }
    let (labels, rest) = parse_metric(line).map_err(|error| error.to_string())?;
    Ok((labels, parse_points(rest)?))
}

fn parse_points(text: &str) -> Result<Vec<Point>, String> {
    let mut points = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = item(rest, &mut points)
            .ok_or_else(|| format!("no point: {rest:?}"))?
            .trim_start();
    }
    Ok(points)
}

/// Reads one item and gives what is left.
fn item<'a>(text: &'a str, points: &mut Vec<Point>) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("{{") {
        return histograms(rest, points);
    }
    if let Some(rest) = text.strip_prefix('_') {
        // `_x3` is three gaps; every other repetition counts from zero.
        let (count, rest) = repeated(rest)?;
        points.extend(std::iter::repeat_n(Point::Gap, count.max(1)));
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix("stale") {
        let (count, rest) = repeated(rest)?;
        points.extend(std::iter::repeat_n(Point::Value(STALE), count + 1));
        return Some(rest);
    }
    let (start, rest) = number(text)?;
    let (step, rest) = match rest.chars().next() {
        Some('+' | '-') => number(rest)?,
        _ => (0.0, rest),
    };
    let (count, rest) = repeated(rest)?;
    let mut value = start;
    for _ in 0..=count {
        points.push(Point::Value(value));
        value += step;
    }
    Some(rest)
}

/// `…}}`, `…}}x3`, `…}}+{{…}}x3`
fn histograms<'a>(text: &'a str, points: &mut Vec<Point>) -> Option<&'a str> {
    let (_, mut rest) = text.split_once("}}")?;
    for sign in ["+{{", "-{{"] {
        if let Some(second) = rest.strip_prefix(sign) {
            rest = second.split_once("}}")?.1;
        }
    }
    let (count, rest) = repeated(rest)?;
    points.extend(std::iter::repeat_n(Point::Histogram, count + 1));
    Some(rest)
}

/// `x3` after an item; 0 if there is none.
fn repeated(text: &str) -> Option<(usize, &str)> {
    let Some(digits) = text.strip_prefix('x') else {
        return Some((0, text));
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (count, rest) = digits.split_at(end);
    Some((count.parse().ok()?, rest))
}

/// A decimal number at the beginning; hexadecimal would be ambiguous with repetitions.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = text.len() - unsigned.len();
    let word = unsigned.get(..3).map(str::to_ascii_lowercase);
    let length = if matches!(word.as_deref(), Some("inf" | "nan")) {
        3
    } else {
        decimal_length(unsigned.as_bytes())
    };
    let (number, rest) = text.split_at_checked(sign + length)?;
    if sign > 1 {
        return None;
    }
    // Not `parse_number`: a leading zero means nothing here.
    let value = number.parse::<f64>().ok()?;
    Some((value, rest))
}

fn decimal_length(bytes: &[u8]) -> usize {
    let digits = |from: usize| {
        bytes
            .iter()
            .skip(from)
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(text: &str) -> String {
        let (labels, points) = parse_series(text).unwrap();
        let text = |point: &Point| match point {
            Point::Value(value) if crate::is_stale(*value) => "stale".to_owned(),
            Point::Value(value) => value.to_string(),
            Point::Gap => "_".to_owned(),
            Point::Histogram => "h".to_owned(),
        };
        format!(
            "{labels} {}",
            points.iter().map(text).collect::<Vec<_>>().join(" ")
        )
    }

    #[test]
    fn the_notation_expands() {
        for (line, expected) in [
            (
                "m{a=\"b\"} 5 2+3x2 _ stale",
                r#"{__name__="m", a="b"} 5 2 5 8 _ stale"#,
            ),
            ("{} 1x2 _x3 -1-2x1 .5", "{} 1 1 1 _ _ _ -1 -3 0.5"),
            ("{} 1e+3 -2E2 +Inf -Inf NaN", "{} 1000 -200 inf -inf NaN"),
            ("{} {{sum:1}} {{count:1}}+{{count:1}}x2", "{} h h h h"),
            ("{} 0+0x2", "{} 0 0 0"),
            ("-1.5", "{} -1.5"),
        ] {
            assert_eq!(points(line), expected, "{line}");
        }
        assert!(parse_series("{} 1y").is_err());
    }
}
