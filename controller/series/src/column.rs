//! One column of values as few bytes: what chunks and the head's runs are made of.
//!
//! A column has a row per report and knows nothing of time. Values are finite decimals nearly always,
//! so they become integers of one scale, of which the greatest common divisor is taken out; what is
//! left is predicted (by a constant, the last value or the last step) and the errors are written with
//! Rice codes, or, if most are zero, as gaps between the others. What is no short decimal is kept as
//! its bits, exclusive-ored with the value before.
//!
//! ```text
//! column   = head:u8 presence? body?        head = scale (4 bits) kind (2) divisor? (1) presence? (1)
//! presence = (length·4 + state):varint*     until all rows are told: present, absent, stale
//! constant = origin:signed | bits:u64
//! dense    = origin:signed divisor:varint? shape bits      shape = order, centre:signed, step:signed?
//! sparse   = origin:signed divisor:varint? shape others:varint parameters:u8 u8 bits
//! raw      = bits:u64 (lead·16 + length:u8 byte*)*
//! ```
//!
//! It is pure: no file, no clock, no allocation but the output's and the scratch's.

mod bits;
mod decimal;
mod integers;
mod raw;

use xiezhi_protocol::codec::varint;

/// The value of a row in which the host reported and the series was not there for the first time:
/// Prometheus's stale marker.
pub(crate) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The value of a row that holds nothing.
pub(crate) const ABSENT: f64 = f64::from_bits(0x7ff0_0000_0000_00ab);

/// Most rows of one column; longer ones are refused by the reader.
pub(crate) const MAX_ROWS: usize = 4096;

const KIND_CONSTANT: u8 = 0;
const KIND_DENSE: u8 = 1;
const KIND_SPARSE: u8 = 2;
const SCALE_RAW: u8 = 15;
const FLAG_DIVISOR: u8 = 0x40;
const FLAG_PRESENCE: u8 = 0x80;

/// Whether a row is a stale marker.
pub(crate) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// Whether a row holds nothing.
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// A value as an integer and its decimal scale; `None` if it is no short decimal.
pub(crate) fn integer(value: f64) -> Option<(i64, u8)> {
    decimal::one(value)
}

/// The value of an integer and its decimal scale; `None` if there is no such scale.
pub(crate) fn from_integer(integer: i64, scale: u8) -> Option<f64> {
    decimal::is_scale(scale).then(|| decimal::value(integer, scale))
}

/// Buffers that are used again for each column.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    present: Vec<f64>,
    integers: Vec<i64>,
    work: integers::Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Absent,
    Stale,
}

impl State {
    fn of(value: f64) -> Self {
        if is_absent(value) {
            Self::Absent
        } else if is_stale(value) {
            Self::Stale
        } else {
            Self::Present
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Present => 0,
            Self::Absent => 1,
            Self::Stale => 2,
        }
    }

    const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Present),
            1 => Some(Self::Absent),
            2 => Some(Self::Stale),
            _ => None,
        }
    }
}

/// Appends the column of these rows; [`ABSENT`] and [`STALE`] rows hold no value.
pub(crate) fn encode(rows: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Scratch {
        present,
        integers,
        work,
    } = scratch;
    present.clear();
    // Most columns never change, and then one value tells all of them.
    let constant = rows
        .first()
        .filter(|&&first| State::of(first) == State::Present);
    let same = |first: &f64| rows.iter().all(|row| row.to_bits() == first.to_bits());
    let presence = if let Some(&first) = constant.filter(|first| same(first)) {
        present.push(first);
        0
    } else {
        present.extend(rows.iter().filter(|&&row| State::of(row) == State::Present));
        if present.len() == rows.len() {
            0
        } else {
            FLAG_PRESENCE
        }
    };
    let head_at = out.len();
    out.push(0);
    if presence != 0 {
        write_presence(rows, out);
    }
    let body = match decimal::integers(present, integers) {
        Some(scale) => scale | integers::encode(integers, work, out),
        None => SCALE_RAW | raw::encode(present, out),
    };
    if let Some(head) = out.get_mut(head_at) {
        *head = presence | body;
    }
}

/// Appends the rows of a column and tells whether some of them may hold nothing; `None` if the bytes
/// are none. What was appended then is rubbish.
pub(crate) fn decode(mut bytes: &[u8], rows: usize, out: &mut Vec<f64>) -> Option<bool> {
    if rows > MAX_ROWS {
        return None;
    }
    let (&head, rest) = bytes.split_first()?;
    bytes = rest;
    if head & FLAG_PRESENCE == 0 {
        decode_present(head, bytes, rows, out)?;
        return Some(false);
    }
    let start = out.len();
    let mut states = bytes;
    let present = read_presence(&mut bytes, rows)?;
    decode_present(head, bytes, present, out)?;
    spread(&mut states, rows, start, present, out)?;
    Some(true)
}

fn decode_present(head: u8, bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Option<()> {
    let (scale, kind) = (head & 0x0f, head >> 4 & 3);
    if count == 0 {
        return Some(());
    }
    if scale == SCALE_RAW {
        return raw::decode(kind, bytes, count, out);
    }
    integers::decode(kind, head & FLAG_DIVISOR != 0, bytes, count, scale, out)
}

fn write_presence(rows: &[f64], out: &mut Vec<u8>) {
    for run in rows.chunk_by(|&left, &right| State::of(left) == State::of(right)) {
        let state = run.first().map_or(State::Absent, |&row| State::of(row));
        varint::write(out, (run.len() as u64) << 2 | state.number());
    }
}

/// Reads past the presence of all rows; returns how many are present.
fn read_presence(bytes: &mut &[u8], rows: usize) -> Option<usize> {
    let (mut told, mut present) = (0, 0);
    while told < rows {
        let (state, length) = read_run(bytes, rows - told)?;
        told += length;
        if state == State::Present {
            present += length;
        }
    }
    Some(present)
}

fn read_run(bytes: &mut &[u8], most: usize) -> Option<(State, usize)> {
    let run = varint::read(bytes)?;
    let length = usize::try_from(run >> 2).ok()?;
    let is_possible = length > 0 && length <= most;
    is_possible.then_some((State::from_number(run & 3)?, length))
}

/// Puts the values behind `start` where the presence says that they belong, from the end.
fn spread(
    states: &mut &[u8],
    rows: usize,
    start: usize,
    present: usize,
    out: &mut Vec<f64>,
) -> Option<()> {
    let values = out.get(start..start + present)?.to_vec();
    out.truncate(start);
    let mut values = values.into_iter();
    let mut told = 0;
    while told < rows {
        let (state, length) = read_run(states, rows - told)?;
        told += length;
        match state {
            State::Present => out.extend(values.by_ref().take(length)),
            State::Absent => out.resize(out.len() + length, ABSENT),
            State::Stale => out.resize(out.len() + length, STALE),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
