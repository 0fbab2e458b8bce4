//! Integers: a divisor, a prediction, and the errors of it.
//!
//! The first value is the origin; the others are told by how far they are from it, divided by the
//! greatest common divisor. Order 0 predicts the centre, order 1 the value before plus the centre,
//! order 2 the value before plus the step before. Dense errors are Rice codes whose parameter is
//! chosen anew for each block of [`BLOCK`]; sparse ones are the few that are not zero.

use xiezhi_protocol::codec::varint;

use super::bits::{BitReader, BitWriter, MAX_PARAMETER, rice_bits};
use super::decimal;
use super::{FLAG_DIVISOR, KIND_CONSTANT, KIND_DENSE, KIND_SPARSE};

/// Errors that share a Rice parameter.
const BLOCK: usize = 60;
/// Bits of a block's parameter.
const PARAMETER_BITS: u32 = 6;

/// Buffers of the encoder.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Distances from the origin, divided.
    steps: Vec<i64>,
    sorted: Vec<i64>,
    errors: Vec<u64>,
    best: Vec<u64>,
}

/// A prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    order: u8,
    centre: i64,
}

/// Appends the integers; returns kind and divisor flag of the head.
pub(super) fn encode(values: &[i64], work: &mut Work, out: &mut Vec<u8>) -> u8 {
    let Some((&origin, rest)) = values.split_first() else {
        return KIND_CONSTANT << 4;
    };
    varint::write_signed(out, origin);
    if rest.iter().all(|&value| value == origin) {
        return KIND_CONSTANT << 4;
    }
    let divisor = common_divisor(origin, rest);
    let mut flag = 0;
    if divisor > 1 {
        varint::write(out, divisor);
        flag = FLAG_DIVISOR;
    }
    work.steps.clear();
    let divide = |&value: &i64| {
        let distance = value.wrapping_sub(origin);
        if divisor > 1 {
            distance / divisor as i64
        } else {
            distance
        }
    };
    work.steps.extend(rest.iter().map(divide));
    let shape = choose(work);
    write_shape(shape, work.steps.first().copied().unwrap_or(0), out);
    let errors = &work.best;
    let (others, sparse_bits, parameters) = sparse_cost(errors);
    if sparse_bits < dense_cost(errors) {
        write_sparse(errors, others, parameters, out);
        return KIND_SPARSE << 4 | flag;
    }
    write_dense(errors, out);
    KIND_DENSE << 4 | flag
}

/// The greatest common divisor of all distances; 1 as soon as it is known to be that.
fn common_divisor(origin: i64, rest: &[i64]) -> u64 {
    let mut divisor = 0;
    for &value in rest {
        let distance = value.abs_diff(origin);
        if distance == 0 || (divisor != 0 && distance.is_multiple_of(divisor)) {
            continue;
        }
        divisor = greatest_common(divisor, distance);
        if divisor == 1 {
            return 1;
        }
    }
    // It is multiplied as a signed number.
    if divisor > i64::MAX as u64 {
        1
    } else {
        divisor
    }
}

fn greatest_common(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Finds the prediction with the smallest errors; they are then in `work.best`.
fn choose(work: &mut Work) -> Shape {
    let mut best = Shape {
        order: 1,
        centre: 0,
    };
    let mut least = u64::MAX;
    let changes = median_of(work, 1);
    let level = median_of(work, 0);
    let shapes = [(1, 0), (1, changes), (2, 0), (0, level)];
    for (index, &(order, centre)) in shapes.iter().enumerate() {
        if index == 1 && centre == 0 {
            continue;
        }
        let shape = Shape { order, centre };
        fill_errors(shape, &work.steps, &mut work.errors);
        let cost = work
            .errors
            .iter()
            .map(|&error| u64::from(64 - error.leading_zeros()))
            .sum();
        if cost < least {
            (least, best) = (cost, shape);
            std::mem::swap(&mut work.best, &mut work.errors);
        }
    }
    best
}

fn median_of(work: &mut Work, order: u8) -> i64 {
    work.sorted.clear();
    if order == 0 {
        work.sorted.extend_from_slice(&work.steps);
    } else {
        let mut before = 0i64;
        work.sorted.extend(work.steps.iter().map(|&step| {
            let change = step.wrapping_sub(before);
            before = step;
            change
        }));
    }
    let middle = work.sorted.len() / 2;
    if work.sorted.is_empty() {
        return 0;
    }
    *work.sorted.select_nth_unstable(middle).1
}

fn fill_errors(shape: Shape, steps: &[i64], errors: &mut Vec<u64>) {
    errors.clear();
    let centre = shape.centre;
    match shape.order {
        0 => errors.extend(
            steps
                .iter()
                .map(|step| varint::zigzag(step.wrapping_sub(centre))),
        ),
        1 => {
            let mut before = 0i64;
            errors.extend(steps.iter().map(|&step| {
                let error = step.wrapping_sub(before).wrapping_sub(centre);
                before = step;
                varint::zigzag(error)
            }));
        }
        _ => {
            let (mut before, mut change) = (0i64, 0i64);
            let mut error_of = |&step: &i64| {
                let now = step.wrapping_sub(before);
                let error = now.wrapping_sub(change);
                (before, change) = (step, now);
                varint::zigzag(error)
            };
            let mut steps = steps.iter();
            // The first change is told in the shape.
            if let Some(first) = steps.next() {
                error_of(first);
            }
            errors.extend(steps.map(error_of));
        }
    }
}

fn write_shape(shape: Shape, first: i64, out: &mut Vec<u8>) {
    match shape.order {
        2 => {
            out.push(2);
            varint::write_signed(out, first);
        }
        order => {
            out.push(order | if shape.centre == 0 { 0 } else { 4 });
            if shape.centre != 0 {
                varint::write_signed(out, shape.centre);
            }
        }
    }
}

/// The parameter that makes the codes of these errors shortest, nearly.
fn parameter(errors: &[u64]) -> u32 {
    let count = errors.len().max(1) as u64;
    let sum = errors
        .iter()
        .fold(0u64, |sum, &error| sum.saturating_add(error.min(1 << 50)));
    // The mean times ln 2 is where quotient and remainder balance.
    let mean = sum / count * 69 / 100 + u64::from(sum % count * 2 > count);
    let near = (64 - mean.leading_zeros()).min(MAX_PARAMETER);
    let cost = |parameter: u32| -> u64 {
        errors
            .iter()
            .map(|&error| rice_bits(error, parameter))
            .sum()
    };
    let low = near.saturating_sub(1);
    if low < near && cost(low) <= cost(near) {
        // One large error pulls the mean up; look further down.
        let lower = low.saturating_sub(1);
        return if lower < low && cost(lower) < cost(low) {
            lower
        } else {
            low
        };
    }
    near
}

fn dense_cost(errors: &[u64]) -> u64 {
    let block = |errors: &[u64]| -> u64 {
        let parameter = parameter(errors);
        let bits: u64 = errors
            .iter()
            .map(|&error| rice_bits(error, parameter))
            .sum();
        bits + u64::from(PARAMETER_BITS)
    };
    errors.chunks(BLOCK).map(block).sum()
}

/// How many errors are not zero, what telling only them costs, and the parameters for it.
fn sparse_cost(errors: &[u64]) -> (usize, u64, (u32, u32)) {
    let others = errors.iter().filter(|&&error| error != 0).count();
    if others * 4 > errors.len() * 3 {
        return (others, u64::MAX, (0, 0));
    }
    let gaps: Vec<u64> = gaps(errors).map(|(gap, _)| gap).collect();
    let values: Vec<u64> = gaps_values(errors).collect();
    let parameters = (parameter(&gaps), parameter(&values));
    let bits = |values: &[u64], parameter| -> u64 {
        values
            .iter()
            .map(|&value| rice_bits(value, parameter))
            .sum()
    };
    let cost = bits(&gaps, parameters.0) + bits(&values, parameters.1) + 24;
    (others, cost, parameters)
}

fn gaps(errors: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    let mut gap = 0;
    errors.iter().filter_map(move |&error| {
        if error == 0 {
            gap += 1;
            return None;
        }
        Some((std::mem::take(&mut gap), error - 1))
    })
}

fn gaps_values(errors: &[u64]) -> impl Iterator<Item = u64> {
    gaps(errors).map(|(_, value)| value)
}

fn write_sparse(errors: &[u64], others: usize, parameters: (u32, u32), out: &mut Vec<u8>) {
    varint::write(out, others as u64);
    out.push(parameters.0 as u8);
    out.push(parameters.1 as u8);
    let mut bits = BitWriter::new(out);
    for (gap, value) in gaps(errors) {
        bits.rice(gap, parameters.0);
        bits.rice(value, parameters.1);
    }
    bits.finish();
}

fn write_dense(errors: &[u64], out: &mut Vec<u8>) {
    let mut bits = BitWriter::new(out);
    for block in errors.chunks(BLOCK) {
        let parameter = parameter(block);
        bits.put(u64::from(parameter), PARAMETER_BITS);
        for &error in block {
            bits.rice(error, parameter);
        }
    }
    bits.finish();
}

/// Appends `count` values, at least one.
pub(super) fn decode(
    kind: u8,
    divided: bool,
    mut bytes: &[u8],
    count: usize,
    scale: u8,
    out: &mut Vec<f64>,
) -> Option<()> {
    let origin = varint::read_signed(&mut bytes)?;
    let first = decimal::value(origin, scale);
    if kind == KIND_CONSTANT {
        out.resize(out.len() + count, first);
        return (bytes.is_empty() && !divided).then_some(());
    }
    let divisor = if divided {
        varint::read(&mut bytes)? as i64
    } else {
        1
    };
    let (&shape, rest) = bytes.split_first()?;
    bytes = rest;
    let told = if shape & 4 != 0 || shape == 2 {
        varint::read_signed(&mut bytes)?
    } else {
        0
    };
    out.push(first);
    let mut predictor = Predictor {
        origin,
        divisor,
        scale,
        told,
        step: 0,
        left: count - 1,
    };
    match kind {
        KIND_DENSE => predictor.run(shape & 3, DenseErrors::new(bytes), out),
        KIND_SPARSE => predictor.run(shape & 3, SparseErrors::new(bytes)?, out),
        _ => None,
    }
}

/// Turns errors back into values.
struct Predictor {
    origin: i64,
    divisor: i64,
    scale: u8,
    /// The centre, or the first change.
    told: i64,
    step: i64,
    left: usize,
}

impl Predictor {
    fn run(&mut self, order: u8, mut errors: impl Errors, out: &mut Vec<f64>) -> Option<()> {
        let (origin, divisor, scale, told) = (self.origin, self.divisor, self.scale, self.told);
        let value =
            |step: i64| decimal::value(origin.wrapping_add(step.wrapping_mul(divisor)), scale);
        let mut step = self.step;
        match order {
            0 => out.extend((0..self.left).map(|_| value(told.wrapping_add(errors.next())))),
            1 => out.extend((0..self.left).map(|_| {
                step = step.wrapping_add(told).wrapping_add(errors.next());
                value(step)
            })),
            2 if self.left > 0 => {
                let mut change = told;
                step = change;
                out.push(value(step));
                out.extend((1..self.left).map(|_| {
                    change = change.wrapping_add(errors.next());
                    step = step.wrapping_add(change);
                    value(step)
                }));
            }
            _ => return None,
        }
        errors.is_within().then_some(())
    }
}

trait Errors {
    /// The next error; zeros behind the end.
    fn next(&mut self) -> i64;
    /// Whether only what is there was read.
    fn is_within(&self) -> bool;
}

struct DenseErrors<'b> {
    bits: BitReader<'b>,
    parameter: u32,
    left: usize,
}

impl<'b> DenseErrors<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self {
            bits: BitReader::new(bytes),
            parameter: 0,
            left: 0,
        }
    }
}

impl Errors for DenseErrors<'_> {
    #[inline]
    fn next(&mut self) -> i64 {
        if self.left == 0 {
            self.left = BLOCK;
            self.parameter = (self.bits.take(PARAMETER_BITS) as u32).min(MAX_PARAMETER);
        }
        self.left -= 1;
        varint::unzigzag(self.bits.rice(self.parameter))
    }

    fn is_within(&self) -> bool {
        self.bits.is_within()
    }
}

struct SparseErrors<'b> {
    bits: BitReader<'b>,
    parameters: (u32, u32),
    others: u64,
    gap: u64,
}

impl<'b> SparseErrors<'b> {
    fn new(mut bytes: &'b [u8]) -> Option<Self> {
        let others = varint::read(&mut bytes)?;
        let (&[gap, value], rest) = bytes.split_first_chunk::<2>()?;
        let parameters = (u32::from(gap), u32::from(value));
        if parameters.0 > MAX_PARAMETER || parameters.1 > MAX_PARAMETER {
            return None;
        }
        let mut errors = Self {
            bits: BitReader::new(rest),
            parameters,
            others,
            gap: 0,
        };
        errors.read_gap();
        Some(errors)
    }

    fn read_gap(&mut self) {
        if self.others > 0 {
            self.gap = self.bits.rice(self.parameters.0);
        }
    }
}

impl Errors for SparseErrors<'_> {
    #[inline]
    fn next(&mut self) -> i64 {
        if self.others == 0 {
            return 0;
        }
        if self.gap > 0 {
            self.gap -= 1;
            return 0;
        }
        self.others -= 1;
        let error = self.bits.rice(self.parameters.1).wrapping_add(1);
        self.read_gap();
        varint::unzigzag(error)
    }

    fn is_within(&self) -> bool {
        self.bits.is_within()
    }
}
