//! The smallest D-Bus client that can ask systemd for its units (D-Bus specification 0.43):
//! authentication EXTERNAL, method calls with string arguments, replies of either byte order.
//!
//! It never answers a call, subscribes to nothing, and every message and wait is bounded.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::CollectError;

/// Largest message that is read: a thousand units are about 250 kB.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Most messages (signals for others, replies) until the reply must have come.
const MAX_MESSAGES: usize = 64;

pub(super) const MALFORMED: CollectError = CollectError::Malformed {
    path: "system bus",
    what: "a reply is not in D-Bus form",
};

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    deadline: Instant,
}

/// An argument of a call.
pub(super) enum Value<'a> {
    Text(&'a str),
}

/// A reply's arguments.
pub(super) struct Body {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Bus {
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self, CollectError> {
        let stream = UnixStream::connect(socket).map_err(failed)?;
        let mut bus = Self {
            stream,
            serial: 0,
            deadline: Instant::now() + patience,
        };
        bus.authenticate().map_err(failed)?;
        bus.call_to(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "Hello",
            &[],
        )?;
        Ok(bus)
    }

    /// Calls a method of systemd.
    pub(super) fn call(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[Value<'_>],
    ) -> Result<Body, CollectError> {
        self.call_to(
            "org.freedesktop.systemd1",
            path,
            interface,
            member,
            arguments,
        )
    }

    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let identity = data_encoding::HEXLOWER.encode(user.as_bytes());
        self.send(format!("\0AUTH EXTERNAL {identity}\r\n").as_bytes())?;
        let mut line = Vec::with_capacity(64);
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
            if line.len() > 1024 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !line.starts_with(b"OK") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.send(b"BEGIN\r\n")
    }

    fn call_to(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[Value<'_>],
    ) -> Result<Body, CollectError> {
        self.serial += 1;
        let mut body = Writer::default();
        let mut signature = String::new();
        for Value::Text(text) in arguments {
            body.string(text);
            signature.push('s');
        }
        let mut message = Writer::default();
        message.bytes.extend([b'l', CALL, 0, 1]);
        message.number(body.bytes.len());
        message.number(self.serial as usize);
        let mut fields = Writer::default();
        fields.field(FIELD_PATH, "o", path);
        fields.field(FIELD_INTERFACE, "s", interface);
        fields.field(FIELD_MEMBER, "s", member);
        fields.field(FIELD_DESTINATION, "s", destination);
        if !signature.is_empty() {
            fields.field(FIELD_SIGNATURE, "g", &signature);
        }
        message.number(fields.bytes.len());
        message.bytes.extend(&fields.bytes);
        message.align(8);
        message.bytes.extend(&body.bytes);
        self.send(&message.bytes).map_err(failed)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Body, CollectError> {
        for _ in 0..MAX_MESSAGES {
            let mut head = [0; 16];
            self.receive(&mut head).map_err(failed)?;
            let [order, kind, ..] = head;
            let big_endian = order == b'B';
            let mut reader = Reader {
                bytes: &head,
                at: 4,
                big_endian,
            };
            let body_bytes = reader.number().ok_or(MALFORMED)? as usize;
            reader.number().ok_or(MALFORMED)?;
            let field_bytes = reader.number().ok_or(MALFORMED)? as usize;
            if body_bytes.max(field_bytes) > MAX_MESSAGE_BYTES {
                return Err(CollectError::TooLarge {
                    path: "system bus".to_owned(),
                });
            }
            let mut fields = vec![0; field_bytes.next_multiple_of(8)];
            self.receive(&mut fields).map_err(failed)?;
            let mut body = vec![0; body_bytes];
            self.receive(&mut body).map_err(failed)?;
            let fields = fields.get(..field_bytes).unwrap_or_default();
            if reply_serial(fields, big_endian).ok_or(MALFORMED)? != Some(self.serial) {
                continue;
            }
            return match kind {
                RETURN => Ok(Body {
                    bytes: body,
                    big_endian,
                }),
                ERROR => Err(CollectError::NoData(
                    "systemd does not answer on the system bus",
                )),
                _ => Err(MALFORMED),
            };
        }
        Err(failed(io::ErrorKind::TimedOut.into()))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.remaining()?))?;
        self.stream.write_all(bytes)
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.set_read_timeout(Some(self.remaining()?))?;
        self.stream.read_exact(bytes)
    }

    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(remaining)
        }
    }
}

/// The serial of the call that a message answers, if it answers one.
fn reply_serial(fields: &[u8], big_endian: bool) -> Option<Option<u32>> {
    let mut reader = Reader {
        bytes: fields,
        at: 0,
        big_endian,
    };
    while reader.at < fields.len() {
        reader.align(8)?;
        let code = reader.byte()?;
        let signature = reader.signature()?;
        match (code, signature) {
            (FIELD_REPLY_SERIAL, "u") => return Some(Some(reader.number()?)),
            (_, "u") => _ = reader.number()?,
            (_, "s" | "o") => _ = reader.string()?,
            (_, "g") => _ = reader.signature()?,
            _ => return None,
        }
    }
    Some(None)
}

fn failed(source: io::Error) -> CollectError {
    CollectError::Call {
        what: "the system bus",
        source,
    }
}

impl Body {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            bytes: &self.bytes,
            at: 0,
            big_endian: self.big_endian,
        }
    }
}

/// Takes values out of a message; `None` when the message ends too early.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(to);
        (self.at <= self.bytes.len()).then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += 4;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// A string or an object path.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        self.text(length)
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?.into();
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let end = self.at.checked_add(length)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?;
        self.at = end.checked_add(1)?;
        Some(text)
    }

    /// Enters an array whose elements are aligned to `to`; yields the position of its end.
    pub(super) fn array(&mut self, to: usize) -> Option<usize> {
        let length = self.number()? as usize;
        self.align(to)?;
        self.at
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len())
    }
}

/// Puts values into a message, little endian.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn number(&mut self, value: usize) {
        self.align(4);
        self.bytes
            .extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    pub(super) fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn field(&mut self, code: u8, signature: &str, text: &str) {
        self.align(8);
        self.bytes.push(code);
        self.signature(signature);
        if signature == "g" {
            self.signature(text)
        } else {
            self.string(text)
        }
    }
}
