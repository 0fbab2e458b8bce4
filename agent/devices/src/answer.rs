//! An answer of SNMPv1 or v2c, read straight into a [`Response`].
//!
//! The library builds a name, a value and a decoder for each of hundreds of values of an answer, which
//! was half of all the time that polling took. Here only what every honest device writes is read: exact
//! lengths, one message and nothing behind it. Anything else is `None`, and left to the library, which
//! knows what may be forgiven; a test holds both to the same outcome.

use xiezhi_profiles::{MAX_ARCS, Oid, Value};

use crate::message::{Cell, Response};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const ADDRESS: u8 = 0x40;
const COUNTER32: u8 = 0x41;
const GAUGE32: u8 = 0x42;
const TICKS: u8 = 0x43;
const COUNTER64: u8 = 0x46;
const RESPONSE: u8 = 0xa2;
const NO_SUCH_OBJECT: u8 = 0x80;
const NO_SUCH_INSTANCE: u8 = 0x81;
const END_OF_MIB_VIEW: u8 = 0x82;

/// Least octets of a value with its name, by which room is made for them.
const LEAST: usize = 16;

/// An answer without an error.
#[derive(Debug, PartialEq)]
pub struct Answer<'a> {
    /// The protocol's version as it is written: 0 or 1.
    pub version: i32,
    /// The community.
    pub community: &'a [u8],
    /// Which request it answers.
    pub request: i32,
    /// What was told.
    pub response: Response,
}

/// Reads an answer; `None` if it is none, says an error, or is written in any but the usual way.
#[must_use]
pub fn read(data: &[u8]) -> Option<Answer<'_>> {
    let mut whole = Reader(data);
    let mut message = Reader(whole.take(SEQUENCE)?);
    let version = signed(message.take(INTEGER)?)?;
    if !matches!(version, 0 | 1) {
        return None;
    }
    let community = message.take(OCTETS)?;
    let mut pdu = Reader(message.take(RESPONSE)?);
    let request = signed(pdu.take(INTEGER)?)?;
    let has_error = [pdu.take(INTEGER)?, pdu.take(INTEGER)?] != [[0], [0]];
    let mut bindings = Reader(pdu.take(SEQUENCE)?);
    let are_all = [&whole, &message, &pdu]
        .iter()
        .all(|reader| reader.0.is_empty());
    if !are_all || has_error {
        return None;
    }
    let mut response = Response::with_capacity(bindings.0.len() / LEAST);
    let mut arcs = Arcs::default();
    while !bindings.0.is_empty() {
        let mut binding = Reader(bindings.take(SEQUENCE)?);
        arcs.read(binding.take(OID)?)?;
        let (tag, content) = binding.next()?;
        if !binding.0.is_empty() {
            return None;
        }
        response.push(arcs.all(), cell(tag, content)?);
    }
    Some(Answer {
        version,
        community,
        request,
        response,
    })
}

fn cell(tag: u8, content: &[u8]) -> Option<Cell> {
    Some(Cell::Value(match tag {
        INTEGER => Value::Integer(signed(content)?),
        OCTETS => Value::Octets(content.into()),
        OID => {
            let mut arcs = Arcs::default();
            arcs.read(content)?;
            Value::Oid(Oid::new(arcs.all()))
        }
        ADDRESS => Value::Address(content.try_into().ok()?),
        COUNTER32 => Value::Counter32(unsigned(content)?),
        GAUGE32 => Value::Gauge32(unsigned(content)?),
        TICKS => Value::Ticks(unsigned(content)?),
        COUNTER64 => Value::Counter64(wide(content)?),
        NO_SUCH_OBJECT | NO_SUCH_INSTANCE if content.is_empty() => return Some(Cell::Missing),
        END_OF_MIB_VIEW if content.is_empty() => return Some(Cell::End),
        _ => return None,
    }))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, if it is of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => {
                let (length, rest) = rest.split_first()?;
                (usize::from(*length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            // Longer than a datagram, or of no length.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

fn signed(content: &[u8]) -> Option<i32> {
    let (first, rest) = content.split_first()?;
    if rest.len() > 3 {
        return None;
    }
    let start = i32::from(first.cast_signed());
    Some(
        rest.iter()
            .fold(start, |value, octet| value << 8 | i32::from(*octet)),
    )
}

/// Up to four octets, and a fifth that says that the number is not negative.
fn unsigned(content: &[u8]) -> Option<u32> {
    u32::try_from(wide(content)?).ok()
}

fn wide(content: &[u8]) -> Option<u64> {
    let content = match content {
        [0, rest @ ..] if !rest.is_empty() => rest,
        // Negative: nobody means that by a counter.
        [0x80..=0xff, ..] | [] => return None,
        all => all,
    };
    if content.len() > 8 {
        return None;
    }
    Some(
        content
            .iter()
            .fold(0, |value, octet| value << 8 | u64::from(*octet)),
    )
}

/// The arcs of a name.
struct Arcs {
    arcs: [u32; MAX_ARCS],
    count: usize,
}

impl Default for Arcs {
    fn default() -> Self {
        Self {
            arcs: [0; MAX_ARCS],
            count: 0,
        }
    }
}

impl Arcs {
    fn all(&self) -> &[u32] {
        self.arcs.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, arc: u32) -> Option<()> {
        *self.arcs.get_mut(self.count)? = arc;
        self.count += 1;
        Some(())
    }

    /// Reads them. The first octet of all names that devices use holds two arcs.
    fn read(&mut self, content: &[u8]) -> Option<()> {
        self.count = 0;
        let (first, rest) = content.split_first()?;
        if *first >= 80 {
            return None;
        }
        self.push(u32::from(first / 40))?;
        self.push(u32::from(first % 40))?;
        let mut arc: u32 = 0;
        let mut is_open = false;
        for octet in rest {
            // An arc that begins with nothing is not the usual way, one of more than 32 bits none.
            if (!is_open && *octet == 0x80) || arc >> 25 != 0 {
                return None;
            }
            arc = arc << 7 | u32::from(octet & 0x7f);
            is_open = octet & 0x80 != 0;
            if !is_open {
                self.push(arc)?;
                arc = 0;
            }
        }
        (!is_open).then_some(())
    }
}

/// What the library makes of the same, for those that are read here: tests hold both together.
#[cfg(test)]
fn by_library(data: &[u8]) -> Option<Response> {
    use async_snmp::message::CommunityMessage;
    let data = bytes::Bytes::copy_from_slice(data);
    let message = CommunityMessage::decode(data, async_snmp::DecodeConfig::default()).ok()?;
    let pdu = message.value.into_pdu()?;
    Some(crate::convert::response(pdu.into_varbinds()))
}

#[cfg(test)]
mod tests {
    use async_snmp::message::CommunityMessage;
    use async_snmp::{ResponsePdu, Value as Told, VarBind, Version};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn written(bindings: Vec<(Vec<u32>, Told)>) -> Bytes {
        let bindings = bindings
            .into_iter()
            .map(|(arcs, value)| VarBind::new(async_snmp::Oid::from_slice(&arcs), value));
        let pdu = ResponsePdu::success(Version::V2c, -7, bindings.collect()).unwrap();
        let message = CommunityMessage::v2c(Bytes::from_static(b"public"), pdu);
        message.unwrap().encode().unwrap()
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            any::<i32>().prop_map(Told::Integer),
            proptest::collection::vec(any::<u8>(), 0..300)
                .prop_map(|octets| Told::OctetString(octets.into())),
            any::<[u8; 4]>().prop_map(Told::IpAddress),
            any::<u32>().prop_map(Told::Counter32),
            any::<u32>().prop_map(Told::Gauge32),
            any::<u32>().prop_map(Told::TimeTicks),
            any::<u64>().prop_map(Told::Counter64),
            name().prop_map(|arcs| Told::ObjectIdentifier(async_snmp::Oid::from_slice(&arcs))),
            Just(Told::NoSuchObject),
            Just(Told::NoSuchInstance),
            Just(Told::EndOfMibView),
        ]
    }

    fn name() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(any::<u32>(), 0..30).prop_map(|rest| [vec![1, 3], rest].concat())
    }

    proptest! {
        #[test]
        fn what_devices_tell_is_read_here_and_as_the_library_reads_it(
            bindings in proptest::collection::vec((name(), told()), 0..40)
        ) {
            let data = written(bindings);
            let answer = read(&data).unwrap();
            prop_assert_eq!((answer.version, answer.community, answer.request), (1, &b"public"[..], -7));
            prop_assert_eq!(Some(answer.response), by_library(&data));
        }

        #[test]
        fn what_is_torn_is_left_to_the_library_or_read_as_it_reads_it(
            bindings in proptest::collection::vec((name(), told()), 1..5),
            at in any::<prop::sample::Index>(),
            by in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut data = written(bindings).to_vec();
            let at = at.index(data.len());
            data[at] ^= by;
            if let Some(answer) = read(&data) {
                prop_assert_eq!(Some(answer.response), by_library(&data));
            }
            prop_assert_eq!(read(&data[..cut.index(data.len())]), None);
        }
    }

    #[test]
    fn another_version_is_none_of_this() {
        let mut data = written(vec![(vec![1, 3], Told::Integer(7))]).to_vec();
        assert!(read(&data).is_some());
        // The tag and length of the whole, then those of the version.
        assert_eq!(data[2..5], [2, 1, 1]);
        for version in [2, 3, 0xff] {
            data[4] = version;
            assert_eq!(read(&data), None);
        }
    }

    #[test]
    fn an_error_is_left_to_the_library() {
        let pdu = ResponsePdu::too_big(Version::V2c, 7, Vec::new()).unwrap();
        let message = CommunityMessage::v2c(Bytes::from_static(b"public"), pdu).unwrap();
        assert_eq!(read(&message.encode().unwrap()), None);
    }
}
