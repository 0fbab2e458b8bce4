//! As much of BER and SNMP as a device needs that is asked with SNMPv1 and v2c: written here, so that
//! what is tested is not tested against itself.

use xiezhi_profiles::{Oid, Value};

/// Tags of requests and of the answer.
pub(crate) const GET: u8 = 0xa0;
pub(crate) const RESPONSE: u8 = 0xa2;
pub(crate) const GET_BULK: u8 = 0xa5;
pub(crate) const TRAP: u8 = 0xa7;

/// A message; of a request only the names count.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) version: i64,
    pub(crate) community: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) number: i64,
    /// Error status, or non-repeaters.
    pub(crate) first: i64,
    /// Error index, or max-repetitions.
    pub(crate) second: i64,
    pub(crate) bindings: Vec<(Oid, Told)>,
}

/// What is told for a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Nothing,
    Value(Value),
    NoSuchInstance,
    End,
}

/// A part of a message that is read from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's tag and content.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first & 0x7f);
        if first & 0x80 != 0 {
            let (octets, after) = rest.split_at_checked(length)?;
            length = octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn inside(&mut self) -> Option<(u8, Reader<'a>)> {
        self.element().map(|(tag, content)| (tag, Reader(content)))
    }

    fn integer(&mut self) -> Option<i64> {
        let (_, content) = self.element()?;
        let start = if content.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(
            content
                .iter()
                .fold(start, |sum, octet| sum << 8 | i64::from(*octet)),
        )
    }
}

/// Reads a request.
pub(crate) fn read(data: &[u8]) -> Option<Message> {
    let (_, mut message) = Reader(data).inside()?;
    let version = message.integer()?;
    let (_, community) = message.element()?;
    let (kind, mut pdu) = message.inside()?;
    let (number, first, second) = (pdu.integer()?, pdu.integer()?, pdu.integer()?);
    let (_, mut list) = pdu.inside()?;
    let mut bindings = Vec::new();
    while let Some((_, mut binding)) = list.inside() {
        let (_, name) = binding.element()?;
        bindings.push((read_name(name)?, Told::Nothing));
    }
    Some(Message {
        version,
        community: community.to_vec(),
        kind,
        number,
        first,
        second,
        bindings,
    })
}

fn read_name(octets: &[u8]) -> Option<Oid> {
    let mut arcs = Vec::new();
    let mut arc: u32 = 0;
    for octet in octets {
        arc = arc.checked_mul(128)? | u32::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let top = (arc / 40).min(2);
                arcs.push(top);
                arc -= top * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    Some(Oid::new(&arcs))
}

/// Writes a message.
pub(crate) fn write(message: &Message) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, told) in &message.bindings {
        let mut binding = element(6, &write_name(name));
        binding.extend(write_told(told));
        list.extend(element(0x30, &binding));
    }
    let mut pdu = Vec::new();
    for number in [message.number, message.first, message.second] {
        pdu.extend(element(2, &signed(number)));
    }
    pdu.extend(element(0x30, &list));
    let mut whole = element(2, &signed(message.version));
    whole.extend(element(4, &message.community));
    whole.extend(element(message.kind, &pdu));
    element(0x30, &whole)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut written = vec![tag];
    let length = content.len();
    if length < 128 {
        written.push(low(length));
    } else {
        // Never more than a datagram.
        written.extend([0x82, low(length >> 8), low(length)]);
    }
    written.extend_from_slice(content);
    written
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lowest octet is what is wanted"
)]
fn low(number: usize) -> u8 {
    number as u8
}

fn signed(number: i64) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let skip = octets.windows(2).take_while(
        |pair| matches!(pair, [first, second] if *first == sign && (second ^ sign) & 0x80 == 0),
    );
    octets.get(skip.count()..).unwrap_or_default().to_vec()
}

fn unsigned(number: u64) -> Vec<u8> {
    match i64::try_from(number) {
        Ok(number) => signed(number),
        Err(_) => [&[0], number.to_be_bytes().as_slice()].concat(),
    }
}

/// A name's content.
pub(crate) fn write_name(name: &Oid) -> Vec<u8> {
    let mut written = Vec::new();
    let (first, rest) = match name.arcs() {
        [top, second, rest @ ..] => (top * 40 + second, rest),
        other => (
            other.first().copied().unwrap_or_default() * 40,
            [].as_slice(),
        ),
    };
    for arc in std::iter::once(&first).chain(rest) {
        let groups = (32 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            written.push(low((*arc >> (7 * group)) as usize) & 0x7f | more);
        }
    }
    written
}

fn write_told(told: &Told) -> Vec<u8> {
    match told {
        Told::Nothing => element(5, &[]),
        Told::NoSuchInstance => element(0x81, &[]),
        Told::End => element(0x82, &[]),
        Told::Value(value) => match value {
            Value::Integer(number) => element(2, &signed(i64::from(*number))),
            Value::Octets(octets) => element(4, octets),
            Value::Oid(oid) => element(6, &write_name(oid)),
            Value::Address(address) => element(0x40, address),
            Value::Counter32(number) => element(0x41, &signed(i64::from(*number))),
            Value::Gauge32(number) => element(0x42, &signed(i64::from(*number))),
            Value::Ticks(number) => element(0x43, &signed(i64::from(*number))),
            Value::Counter64(number) => element(0x46, &unsigned(*number)),
            Value::Float(number) => {
                let inner = [&[0x9f, 0x78, 4], number.to_be_bytes().as_slice()].concat();
                element(0x44, &inner)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_ber_wants_them() {
        for (number, octets) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0, 128]),
            (-1, vec![255]),
            (-129, vec![255, 127]),
            (256, vec![1, 0]),
        ] {
            assert_eq!(signed(number), octets, "{number}");
        }
        assert_eq!(unsigned(u64::MAX), [[0].as_slice(), &[255; 8]].concat());
    }

    #[test]
    fn what_is_written_is_read() {
        let name: Oid = "1.3.6.1.2.1.2.2.1.10.4294967295".parse().unwrap();
        let message = Message {
            version: 1,
            community: b"public".to_vec(),
            kind: GET_BULK,
            number: -7,
            first: 0,
            second: 300,
            bindings: vec![(name.clone(), Told::Value(Value::Octets([7; 200].into())))],
        };
        let read = read(&write(&message)).unwrap();
        assert_eq!((read.number, read.second), (-7, 300));
        assert_eq!(read.bindings, [(name, Told::Nothing)]);
    }
}
