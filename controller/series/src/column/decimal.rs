//! Values as integers of one decimal scale, exactly.

/// Powers of ten that a scale divides by.
const TENS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Largest integer that every `f64` up to it represents.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Fills `integers` with the values at the smallest scale that holds all of them exactly, and
/// returns that scale; `None` if there is none.
pub(super) fn integers(values: &[f64], integers: &mut Vec<i64>) -> Option<u8> {
    let mut scale = 0;
    let mut fitted = 0;
    integers.clear();
    for &value in values {
        match integer(value, scale) {
            Some(number) => integers.push(number),
            None => {
                let larger = scale + 1..TENS.len() as u8;
                scale = larger
                    .into_iter()
                    .find(|&scale| integer(value, scale).is_some())?;
                integers.push(integer(value, scale)?);
                fitted = integers.len() - 1;
            }
        }
    }
    // What was taken at a smaller scale must hold at the last one too.
    for (number, &value) in integers.iter_mut().zip(values).take(fitted) {
        *number = integer(value, scale)?;
    }
    Some(scale)
}

/// A value and the smallest scale that holds it exactly.
pub(super) fn one(value: f64) -> Option<(i64, u8)> {
    let mut scales = 0..TENS.len() as u8;
    scales.find_map(|scale| Some((integer(value, scale)?, scale)))
}

/// Whether there is such a scale.
pub(super) fn is_scale(scale: u8) -> bool {
    usize::from(scale) < TENS.len()
}

fn integer(value: f64, scale: u8) -> Option<i64> {
    let scaled = value * TENS.get(usize::from(scale))?;
    if scaled.abs() > MAX_EXACT {
        return None;
    }
    // Half away from zero; whether it was right is seen when it is divided again.
    let number = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64;
    (self::value(number, scale).to_bits() == value.to_bits()).then_some(number)
}

/// The value that an integer stands for.
#[inline]
pub(super) fn value(number: i64, scale: u8) -> f64 {
    if scale == 0 {
        return number as f64;
    }
    number as f64 / TENS.get(usize::from(scale)).unwrap_or(&1.0)
}
