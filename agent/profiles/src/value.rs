//! What a device answers for one object.

use crate::oid::Oid;

/// A value as it came over the wire. Counters stay integers from here to the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// INTEGER.
    Integer(i32),
    /// OCTET STRING: text, a MAC address, a date; which of them says the profile.
    Octets(Box<[u8]>),
    /// OBJECT IDENTIFIER.
    Oid(Oid),
    /// `IpAddress`.
    Address([u8; 4]),
    /// `Counter32`: wraps at 2³².
    Counter32(u32),
    /// `Gauge32` and `Unsigned32`.
    Gauge32(u32),
    /// `TimeTicks`: hundredths of a second, wrapping after 497 days.
    Ticks(u32),
    /// `Counter64`.
    Counter64(u64),
    /// An `Opaque` that holds a float, as net-snmp writes it.
    Float(f32),
}

/// A number that a device told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Exact: counters, and everything that was not scaled.
    Integer(i128),
    /// After scaling, or told as a float, or as text with a fraction.
    Real(f64),
}

impl Number {
    /// The nearest float.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are floats; counters above 2^53 are kept as integers"
    )]
    pub fn real(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Real(real) => real,
        }
    }
}

impl Value {
    /// The number that this is. Text counts if it is a number with nothing but a unit behind it:
    /// many devices tell `"23.5 C"`. `None` for everything else.
    #[must_use]
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Integer(value) => Some(Number::Integer(i128::from(*value))),
            Self::Counter32(value) | Self::Gauge32(value) | Self::Ticks(value) => {
                Some(Number::Integer(i128::from(*value)))
            }
            Self::Counter64(value) => Some(Number::Integer(i128::from(*value))),
            Self::Float(value) => value.is_finite().then(|| Number::Real(f64::from(*value))),
            Self::Octets(_) => number_in(&self.text()?),
            Self::Oid(_) | Self::Address(_) => None,
        }
    }

    /// This as text for a person: without the zeros and blanks that devices pad with. Octets that
    /// are no UTF-8 are `None`: a MAC address, a date.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::Octets(octets) => {
                let text = std::str::from_utf8(octets).ok()?;
                let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
                if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
                    return None;
                }
                text.to_owned()
            }
            Self::Oid(oid) => oid.to_string(),
            Self::Address([a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
            Self::Float(value) => value.to_string(),
            Self::Integer(_)
            | Self::Counter32(_)
            | Self::Gauge32(_)
            | Self::Ticks(_)
            | Self::Counter64(_) => match self.number()? {
                Number::Integer(integer) => integer.to_string(),
                Number::Real(real) => real.to_string(),
            },
        })
    }

    /// A MAC address as `00:1a:2b:3c:4d:5e`, from six octets or from text with any separators.
    #[must_use]
    pub fn mac(&self) -> Option<String> {
        let Self::Octets(octets) = self else {
            return None;
        };
        let digits: String = if octets.len() == 6 {
            octets.iter().map(|octet| format!("{octet:02x}")).collect()
        } else {
            self.text()?
                .chars()
                .filter(|c| !matches!(c, ':' | '-' | '.' | ' '))
                .collect::<String>()
                .to_ascii_lowercase()
        };
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let pairs: Vec<&str> = (0..12)
            .step_by(2)
            .filter_map(|at| digits.get(at..at + 2))
            .collect();
        Some(pairs.join(":"))
    }
}

/// The number at the start of `text`, if only a unit follows.
fn number_in(text: &str) -> Option<Number> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    // `12:30` and `10.1.2.3` are no numbers, `45 %`, `23.5C` and `1200 rpm` are.
    if unit.chars().any(|c| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(integer) = number.parse::<i64>() {
        return Some(Number::Integer(i128::from(integer)));
    }
    let real: f64 = number.parse().ok()?;
    real.is_finite().then_some(Number::Real(real))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Value {
        Value::Octets(text.as_bytes().into())
    }

    #[test]
    fn text_is_a_number_only_with_nothing_but_a_unit_behind_it() {
        assert_eq!(octets(" 23.5 C\0").number(), Some(Number::Real(23.5)));
        assert_eq!(octets("45%").number(), Some(Number::Integer(45)));
        assert_eq!(octets("-7").number(), Some(Number::Integer(-7)));
        for bad in ["", "N/A", "12:30", "10.1.2.3", "1e9x2", "--", "."] {
            assert_eq!(octets(bad).number(), None, "{bad}");
        }
    }

    #[test]
    fn a_counter_of_64_bits_is_exact() {
        assert_eq!(
            Value::Counter64(u64::MAX).number(),
            Some(Number::Integer(i128::from(u64::MAX)))
        );
    }

    #[test]
    fn a_mac_address_is_read_from_octets_and_from_text() {
        let expected = Some("00:1a:2b:3c:4d:5e".to_owned());
        assert_eq!(
            Value::Octets([0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e].into()).mac(),
            expected
        );
        assert_eq!(octets("00-1A-2B-3C-4D-5E").mac(), expected);
        assert_eq!(octets("001a.2b3c.4d5e").mac(), expected);
        assert_eq!(octets("not a mac 12").mac(), None);
        assert_eq!(Value::Octets([0xff, 0xfe].into()).text(), None);
    }
}
