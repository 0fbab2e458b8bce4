//! Samples of a source as the bytes of one log record.
//!
//! ```text
//! batch  = version:u8 span:varint first:varint names:varint name* group*
//! name   = shared:varint length:varint rest            what it shares with the name before
//! group  = time:signed samples:varint sample*          time since the group before
//! sample = head:varint value                           head = (number − expected, zigzag)·8 + kind
//! value  = nothing | integer:signed | scale:u8 integer:signed | bits:u64
//! ```
//!
//! A series is named once in each log and has a number from then on, so each log can be read alone;
//! numbers are never used for a second name while all of a log is readable. Values stand alone, so a
//! damaged record costs its own samples, and those of the series that it named. The first group's
//! time counts from the record's, which is that of the oldest sample; `span` is the distance to the
//! newest. A sample's number is expected to be one more than the one before.

use xiezhi_protocol::codec::varint;

use crate::column::{self, STALE};

const VERSION: u8 = 1;
const KIND_BITS: u32 = 3;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zero = 0,
    One = 1,
    Integer = 2,
    Decimal = 3,
    Bits = 4,
    Stale = 5,
}

/// A sample and the number of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) number: u32,
    pub(crate) time_ms: i64,
    pub(crate) value: f64,
}

/// Writes a batch that names series from the number `first` on; sorts the samples. Yields the times
/// of the oldest and the newest.
pub(crate) fn write(
    out: &mut Vec<u8>,
    first: u32,
    names: &[&str],
    samples: &mut [Sample],
) -> (i64, i64) {
    samples.sort_by_key(|sample| (sample.time_ms, sample.number));
    let oldest_ms = samples.first().map_or(0, |sample| sample.time_ms);
    let newest_ms = samples.last().map_or(0, |sample| sample.time_ms);
    out.push(VERSION);
    varint::write(out, newest_ms.wrapping_sub(oldest_ms) as u64);
    varint::write(out, u64::from(first));
    write_names(out, names);
    let (mut before_ms, mut expected) = (oldest_ms, 0);
    for group in samples.chunk_by(|left, right| left.time_ms == right.time_ms) {
        let time_ms = group.first().map_or(0, |sample| sample.time_ms);
        varint::write_signed(out, time_ms.wrapping_sub(before_ms));
        varint::write(out, group.len() as u64);
        before_ms = time_ms;
        for sample in group {
            write_sample(out, i64::from(sample.number) - expected, sample.value);
            expected = i64::from(sample.number) + 1;
        }
    }
    (oldest_ms, newest_ms)
}

fn write_names(out: &mut Vec<u8>, names: &[&str]) {
    varint::write(out, names.len() as u64);
    let mut before: &[u8] = &[];
    for name in names {
        let name = name.as_bytes();
        let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
        let rest = name.get(shared..).unwrap_or_default();
        varint::write(out, shared as u64);
        varint::write(out, rest.len() as u64);
        out.extend_from_slice(rest);
        before = name;
    }
}

fn write_sample(out: &mut Vec<u8>, step: i64, value: f64) {
    let head = |kind: Kind| (zigzag(step) << KIND_BITS) | kind as u64;
    if column::is_stale(value) {
        return varint::write(out, head(Kind::Stale));
    }
    match column::integer(value) {
        Some((0, 0)) => varint::write(out, head(Kind::Zero)),
        Some((1, 0)) => varint::write(out, head(Kind::One)),
        Some((integer, 0)) => {
            varint::write(out, head(Kind::Integer));
            varint::write_signed(out, integer);
        }
        Some((integer, scale)) => {
            varint::write(out, head(Kind::Decimal));
            out.push(scale);
            varint::write_signed(out, integer);
        }
        None => {
            varint::write(out, head(Kind::Bits));
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Time of the newest sample of a batch whose oldest has this time.
pub(crate) fn newest_ms(oldest_ms: i64, bytes: &[u8]) -> i64 {
    let mut rest = bytes.get(1..).unwrap_or_default();
    let span_ms = varint::read(&mut rest).unwrap_or(0);
    oldest_ms.saturating_add_unsigned(span_ms)
}

/// A batch, read as far as its names.
#[derive(Debug)]
pub(crate) struct Batch<'b> {
    /// Number of the first name.
    pub(crate) first: u32,
    /// The series that it names.
    pub(crate) names: Vec<String>,
    oldest_ms: i64,
    groups: &'b [u8],
}

impl<'b> Batch<'b> {
    /// Reads the bytes of a record of this time; `None` if they are no batch.
    pub(crate) fn parse(oldest_ms: i64, mut bytes: &'b [u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        bytes = rest;
        if version != VERSION {
            return None;
        }
        let _span_ms = varint::read(&mut bytes)?;
        let first = u32::try_from(varint::read(&mut bytes)?).ok()?;
        let names = read_names(&mut bytes)?;
        first.checked_add(u32::try_from(names.len()).ok()?)?;
        Some(Self {
            first,
            names,
            oldest_ms,
            groups: bytes,
        })
    }

    /// Visits the samples in order of time; `None` if the bytes end early.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(Sample)) -> Option<()> {
        let mut bytes = self.groups;
        let (mut time_ms, mut expected) = (self.oldest_ms, 0i64);
        while !bytes.is_empty() {
            time_ms = time_ms.checked_add(varint::read_signed(&mut bytes)?)?;
            for _ in 0..varint::read(&mut bytes)? {
                let head = varint::read(&mut bytes)?;
                let number = expected.checked_add(unzigzag(head >> KIND_BITS))?;
                let value = read_value(head & ((1 << KIND_BITS) - 1), &mut bytes)?;
                expected = number.checked_add(1)?;
                visit(Sample {
                    number: u32::try_from(number).ok()?,
                    time_ms,
                    value,
                });
            }
        }
        Some(())
    }
}

fn read_names(bytes: &mut &[u8]) -> Option<Vec<String>> {
    /// Names of a batch at their longest together; a writer's request is smaller.
    const MOST: usize = 256 << 20;
    let count = usize::try_from(varint::read(bytes)?).ok()?;
    // Each has two bytes at least, so a lie about their number ends here.
    if count > bytes.len() / 2 {
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let shared = usize::try_from(varint::read(bytes)?).ok()?;
        let length = usize::try_from(varint::read(bytes)?).ok()?;
        let (rest, after) = bytes.split_at_checked(length)?;
        *bytes = after;
        let before = names.last().map_or(&[][..], |name| name.as_bytes());
        let mut name = before.get(..shared)?.to_vec();
        name.extend_from_slice(rest);
        total += name.len();
        if total > MOST {
            return None;
        }
        names.push(String::from_utf8(name).ok()?);
    }
    Some(names)
}

fn read_value(kind: u64, bytes: &mut &[u8]) -> Option<f64> {
    const ZERO: u64 = Kind::Zero as u64;
    const ONE: u64 = Kind::One as u64;
    const INTEGER: u64 = Kind::Integer as u64;
    const DECIMAL: u64 = Kind::Decimal as u64;
    const BITS: u64 = Kind::Bits as u64;
    const STALE_MARKER: u64 = Kind::Stale as u64;
    match kind {
        ZERO => Some(0.0),
        ONE => Some(1.0),
        INTEGER => Some(varint::read_signed(bytes)? as f64),
        DECIMAL => {
            let (&scale, rest) = bytes.split_first()?;
            *bytes = rest;
            column::from_integer(varint::read_signed(bytes)?, scale)
        }
        BITS => {
            let (eight, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Some(f64::from_bits(u64::from_le_bytes(*eight)))
        }
        STALE_MARKER => Some(STALE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(1.0),
            Just(STALE),
            Just(f64::INFINITY),
            (-1_000_000i64..1_000_000).prop_map(|value| value as f64),
            (-1_000_000i64..1_000_000).prop_map(|value| value as f64 / 100.0),
            any::<f64>(),
        ]
    }

    proptest! {
        #[test]
        fn samples_come_back_as_they_went(
            rows in prop::collection::vec((0u32..500, -9_000i64..9_000, value()), 1..200),
            names in prop::collection::vec("[a-z]{1,5}\\{x=\"[a-zé张]{0,8}\"\\}", 0..20),
            first in 0u32..1000,
        ) {
            let mut samples: Vec<Sample> = rows
                .iter()
                .map(|&(number, time, value)| Sample { number, time_ms: 1_700_000_000_000 + time, value })
                .collect();
            let texts: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut bytes = Vec::new();
            let (oldest_ms, newest) = write(&mut bytes, first, &texts, &mut samples);
            prop_assert_eq!(newest_ms(oldest_ms, &bytes), newest);
            let batch = Batch::parse(oldest_ms, &bytes).unwrap();
            prop_assert_eq!((batch.first, &batch.names), (first, &names));
            let mut back = Vec::new();
            prop_assert!(batch.each(&mut |sample| back.push(sample)).is_some());
            let bits = |all: &[Sample]| -> Vec<(u32, i64, u64)> {
                all.iter().map(|one| (one.number, one.time_ms, one.value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&back), bits(&samples));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), oldest_ms in any::<i64>(),
        ) {
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let _newest = newest_ms(oldest_ms, &bytes);
            if let Some(batch) = Batch::parse(oldest_ms, &bytes) {
                let _ = batch.each(&mut |_| ());
            }
        }
    }

    #[test]
    fn a_steady_scrape_costs_a_few_bytes_a_sample() {
        let mut samples: Vec<Sample> = (0..1000)
            .map(|number| Sample {
                number,
                time_ms: 1_700_000_000_000,
                value: match number % 4 {
                    0 => 0.0,
                    1 => 1.0,
                    2 => f64::from(number) * 977.0,
                    _ => f64::from(number) * 0.25,
                },
            })
            .collect();
        let mut bytes = Vec::new();
        write(&mut bytes, 0, &[], &mut samples);
        assert!(bytes.len() < 3500, "{}", bytes.len());
    }
}
