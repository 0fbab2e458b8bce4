//! Values as integers with a scale, exactly.

/// Powers of ten that a scale divides by.
const TENS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Largest integer that every `f64` up to it represents.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// How a column's integer becomes its value.
///
/// 0–9: divided by that power of ten. 10 and 11: multiplied by 1,024 or 4,096, because memory and
/// disks are counted in pages. 15: the integer holds the bits of the `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale(u8);

impl Scale {
    pub(super) const RAW: Self = Self(15);
    const KIBI: Self = Self(10);
    const PAGE: Self = Self(11);

    pub(super) const fn number(self) -> u8 {
        self.0
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0..=11 | 15 => Some(Self(number)),
            _ => None,
        }
    }

    /// The scale that makes `value` the smallest integer. `in_bytes` tells whether whole pages are
    /// likely.
    pub(super) fn choose(value: f64, in_bytes: bool) -> Self {
        let pages = [Self::PAGE, Self::KIBI].into_iter().filter(|_| in_bytes);
        pages
            .chain((0..=9).map(Self))
            .find(|scale| scale.integer(value).is_some())
            .unwrap_or(Self::RAW)
    }

    /// `value` as an integer of this scale; `None` if that would lose anything.
    pub(super) fn integer(self, value: f64) -> Option<i64> {
        if self == Self::RAW {
            return Some(value.to_bits() as i64);
        }
        let scaled = match self {
            Self::KIBI => value / 1024.0,
            Self::PAGE => value / 4096.0,
            Self(power) => value * TENS.get(usize::from(power))?,
        };
        let integer = scaled.round();
        if integer.abs() > MAX_EXACT {
            return None;
        }
        let integer = integer as i64;
        (self.value(integer).to_bits() == value.to_bits()).then_some(integer)
    }

    /// The value that `integer` stands for.
    pub(super) fn value(self, integer: i64) -> f64 {
        match self {
            Self::RAW => f64::from_bits(integer as u64),
            Self::KIBI => integer as f64 * 1024.0,
            Self::PAGE => integer as f64 * 4096.0,
            Self(power) => integer as f64 / TENS.get(usize::from(power)).unwrap_or(&1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives_its_scale(bits in any::<u64>(), in_bytes in any::<bool>()) {
            let value = f64::from_bits(bits);
            let scale = Scale::choose(value, in_bytes);
            let integer = scale.integer(value).unwrap();
            prop_assert_eq!(scale.value(integer).to_bits(), bits);
        }

        #[test]
        fn short_decimals_become_integers(integer in -1_000_000_000i64..1_000_000_000, power in 0u8..=6) {
            let value = integer as f64 / TENS[usize::from(power)];
            prop_assert!(Scale::choose(value, false).number() <= power);
        }
    }

    #[test]
    fn negative_zero_stays_negative() {
        assert_eq!(Scale::choose(-0.0, false), Scale::RAW);
        assert_eq!(Scale::choose(0.0, false).number(), 0);
        assert_eq!(Scale::choose(8192.0, true), Scale::PAGE);
        assert_eq!(Scale::choose(1024.0, true), Scale::KIBI);
        assert_eq!(Scale::choose(1000.0, true).number(), 0);
    }
}
