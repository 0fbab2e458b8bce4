//! Between the SNMP library's types and ours, without a copy that could be left out.

use async_snmp::{Error, ErrorStatus, VarBind};
use xiezhi_profiles::{Oid, Value};

use crate::message::{AskError, Cell, Response};
use crate::reports;

pub(crate) fn library_oid(oid: &Oid) -> async_snmp::Oid {
    async_snmp::Oid::from_slice(oid.arcs())
}

pub(crate) fn response(bindings: Vec<VarBind>) -> Response {
    let mut response = Response::with_capacity(bindings.len());
    add(&mut response, bindings);
    response
}

/// Adds what was told to `response`.
pub(crate) fn add(response: &mut Response, bindings: Vec<VarBind>) {
    for binding in bindings {
        response.push(binding.oid.arcs(), cell(binding.value));
    }
}

pub(crate) fn cell(value: async_snmp::Value) -> Cell {
    use async_snmp::Value as Told;
    Cell::Value(match value {
        Told::Integer(value) => Value::Integer(value),
        Told::OctetString(octets) | Told::Nsap(octets) => Value::Octets(octets.as_ref().into()),
        Told::ObjectIdentifier(oid) => Value::Oid(Oid::new(oid.arcs())),
        Told::IpAddress(address) => Value::Address(address),
        Told::Counter32(value) => Value::Counter32(value),
        Told::Gauge32(value) | Told::UInteger32(value) => Value::Gauge32(value),
        Told::TimeTicks(value) => Value::Ticks(value),
        Told::Counter64(value) => Value::Counter64(value),
        Told::Opaque(_) => opaque(&value),
        Told::NoSuchObject | Told::NoSuchInstance => return Cell::Missing,
        Told::EndOfMibView => return Cell::End,
        _ => return Cell::Unread,
    })
}

/// What net-snmp puts into an opaque value; the octets of any other.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a measured value needs no more than the 24 bits of a float"
)]
fn opaque(value: &async_snmp::Value) -> Value {
    if let Some(float) = value.as_opaque_float() {
        return Value::Float(float);
    }
    if let Some(double) = value.as_opaque_double() {
        return Value::Float(double as f32);
    }
    if let Some(counter) = value.as_opaque_counter64() {
        return Value::Counter64(counter);
    }
    Value::Octets(value.as_bytes().unwrap_or_default().into())
}

/// What an error of the library means. Its texts are left behind: they could name a secret one day.
pub(crate) fn error(error: &Error) -> AskError {
    match error.exchange_source() {
        Error::Timeout { .. } | Error::RequestIdInUse { .. } => AskError::Silent,
        Error::OutboundMessageTooLarge { .. } => AskError::TooBig,
        Error::Snmp { status, index, .. } => refused(*status, *index),
        Error::Auth { .. } => AskError::Login(
            "its answers are not signed as they should be, or its clock went back: forget the \
             device's engine if it was reset",
        ),
        Error::Report { status, .. } => AskError::Login(report(status)),
        Error::Network { source, .. } => AskError::Unreachable(source.kind()),
        Error::Closed { .. } => AskError::Unreachable(std::io::ErrorKind::NotConnected),
        Error::Decode(_) | Error::MalformedResponse { .. } | Error::ResponseShape { .. } => {
            AskError::Garbled
        }
        Error::Config(_) => AskError::Setting("the address or the credentials do not fit".into()),
        other => AskError::Setting(other.kind().to_string()),
    }
}

pub(crate) fn refused(status: ErrorStatus, index: u32) -> AskError {
    let place = usize::try_from(index)
        .ok()
        .and_then(|index| index.checked_sub(1));
    match status {
        ErrorStatus::TooBig => AskError::TooBig,
        ErrorStatus::NoSuchName => AskError::NoSuchName { place },
        _ => AskError::Refused {
            status: status
                .as_str()
                .unwrap_or("an error that SNMP does not have"),
            place,
        },
    }
}

fn report(status: &async_snmp::v3::ReportStatus) -> &'static str {
    use async_snmp::v3::ReportStatus as Report;
    let number = match status {
        Report::UnsupportedSecurityLevel { .. } => 1,
        Report::NotInTimeWindow { .. } => 2,
        Report::UnknownUserName { .. } => 3,
        Report::UnknownEngineId { .. } => reports::UNKNOWN_ENGINE,
        Report::WrongDigest { .. } => 5,
        Report::DecryptionError { .. } => 6,
        Report::Other { .. } | _ => 0,
    };
    reports::meaning(number).unwrap_or("it reports something unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn values_keep_what_they_are() {
        use async_snmp::Value as Told;
        let float = Bytes::from_static(&[0x9f, 0x78, 4, 0x41, 0xbc, 0, 0]);
        let double = Bytes::from_static(&[0x9f, 0x79, 8, 0x40, 0x37, 0x80, 0, 0, 0, 0, 0]);
        for (told, expected) in [
            (Told::Counter64(u64::MAX), Value::Counter64(u64::MAX)),
            (Told::UInteger32(7), Value::Gauge32(7)),
            (Told::Integer(-1), Value::Integer(-1)),
            (
                Told::IpAddress([10, 1, 2, 3]),
                Value::Address([10, 1, 2, 3]),
            ),
            (Told::Opaque(float), Value::Float(23.5)),
            (Told::Opaque(double), Value::Float(23.5)),
            (
                Told::Opaque(Bytes::from_static(&[1, 2])),
                Value::Octets([1, 2].into()),
            ),
        ] {
            assert_eq!(cell(told), Cell::Value(expected));
        }
        assert_eq!(cell(Told::Null), Cell::Unread);
        assert_eq!(cell(Told::EndOfMibView), Cell::End);
        assert_eq!(cell(Told::NoSuchInstance), Cell::Missing);
    }

    #[test]
    fn errors_say_which_object_they_mean() {
        assert_eq!(
            refused(ErrorStatus::GenErr, 3),
            AskError::Refused {
                status: "genErr",
                place: Some(2)
            }
        );
        assert_eq!(
            refused(ErrorStatus::NoSuchName, 0),
            AskError::NoSuchName { place: None }
        );
        assert_eq!(refused(ErrorStatus::TooBig, 1), AskError::TooBig);
    }
}
