//! What functions of instant vectors compute from one value.

use crate::functions::Name;
use crate::number::STALE;

/// The computation of a function: step and value in, value out; the stale marker for none.
pub(super) fn computation(
    name: Name,
    parameters: &[Vec<f64>],
) -> Option<Box<dyn Fn(usize, f64) -> f64 + '_>> {
    if let Some(plain) = plain(name) {
        return Some(Box::new(move |_, value| plain(value)));
    }
    let parameter = move |index: usize, step: usize| {
        parameters
            .get(index)
            .and_then(|values| values.get(step))
            .copied()
    };
    Some(match name {
        Name::Round => Box::new(move |step, value| {
            // Inverted, because it is more exact for steps like 0.1.
            let inverse = 1.0 / parameter(0, step).unwrap_or(1.0);
            (value * inverse + 0.5).floor() / inverse
        }),
        Name::Clamp => {
            Box::new(
                move |step, value| match (parameter(0, step), parameter(1, step)) {
                    (Some(low), Some(high)) if high < low => STALE,
                    (Some(low), Some(high)) => max(low, min(high, value)),
                    _ => STALE,
                },
            )
        }
        Name::ClampMax => {
            Box::new(move |step, value| parameter(0, step).map_or(STALE, |high| min(high, value)))
        }
        Name::ClampMin => {
            Box::new(move |step, value| parameter(0, step).map_or(STALE, |low| max(low, value)))
        }
        _ => return None,
    })
}

fn plain(name: Name) -> Option<fn(f64) -> f64> {
    Some(match name {
        Name::Abs => f64::abs,
        Name::Acos => f64::acos,
        Name::Acosh => f64::acosh,
        Name::Asin => f64::asin,
        Name::Asinh => f64::asinh,
        Name::Atan => f64::atan,
        Name::Atanh => f64::atanh,
        Name::Ceil => f64::ceil,
        Name::Cos => f64::cos,
        Name::Cosh => f64::cosh,
        Name::Deg => |value| value * 180.0 / std::f64::consts::PI,
        Name::Exp => f64::exp,
        Name::Floor => f64::floor,
        Name::Ln => f64::ln,
        Name::Log10 => f64::log10,
        Name::Log2 => f64::log2,
        Name::Rad => |value| value * std::f64::consts::PI / 180.0,
        Name::Sgn => |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value
            }
        },
        Name::Sin => f64::sin,
        Name::Sinh => f64::sinh,
        Name::Sqrt => f64::sqrt,
        Name::Tan => f64::tan,
        Name::Tanh => f64::tanh,
        _ => return None,
    })
}

/// The smaller number as Go takes it: -Inf wins over NaN, NaN over all else.
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// The larger number as Go takes it: +Inf wins over NaN, NaN over all else.
pub(super) fn max(a: f64, b: f64) -> f64 {
    -min(-a, -b)
}
