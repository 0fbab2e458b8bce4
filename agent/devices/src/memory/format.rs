//! The bytes of a memory's file.
//!
//! ```text
//! file     = "XZDM"  version:u8  body  checksum:u32le    of all before it
//! body     = at clocks  text × 3  profiles  presence  ports:varint port*  names:varint text*
//!            rows:varint ( row:u64le counters:varint counter* )*
//! counter  = name:varint  raw:varint  correction:signed  age:varint  doubts:u8
//! text     = length:varint  UTF-8
//! option   = 0, or a number plus one
//! ```

use std::collections::BTreeMap;
use std::io;

use xiezhi_protocol::codec::varint;

use super::ports::{Known, PortBook};
use super::{Memory, Presence, Row};
use crate::counters::Counter;
use crate::moment::{Clocks, Moment};

/// What every such file begins with.
const MAGIC: &[u8; 4] = b"XZDM";

/// The version that this build writes and the only one that it reads: an older file is a first poll.
pub const VERSION: u8 = 1;

/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// Why a file is of no use. The next poll is then a first one.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It could not be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is no memory of a device.
    #[error("it is no memory of a device")]
    Foreign,
    /// Another version wrote it.
    #[error("it has version {0}, and this build reads {VERSION}")]
    Version(u8),
    /// It is not whole, as after a power cut.
    #[error("it is damaged")]
    Damaged,
}

impl Memory {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 16 * self.counters.len() * self.names.len());
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        varint::write_signed(&mut out, self.at.unix_ms);
        varint::write(&mut out, self.at.boot_ms);
        varint::write(&mut out, self.at.boot);
        varint::write(&mut out, self.clock_ms);
        option(&mut out, self.clocks.uptime_ticks);
        varint::write(&mut out, self.clocks.wraps.into());
        option(&mut out, self.clocks.engine_time_s);
        for text in [&self.object_id, &self.description, &self.profile] {
            write_text(&mut out, text);
        }
        varint::write(&mut out, self.profiles);
        out.push(match self.presence {
            Presence::Unknown => 0,
            Presence::Answers => 1,
            Presence::Silent => 2,
        });
        varint::write_signed(&mut out, self.presence_since_ms);
        out.push(u8::from(self.forgotten));
        varint::write(&mut out, self.ports.ports.len() as u64);
        for port in &self.ports.ports {
            write_port(&mut out, port);
        }
        self.write_counters(&mut out);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn write_counters(&self, out: &mut Vec<u8>) {
        varint::write(out, self.names.len() as u64);
        for name in &self.names {
            write_text(out, name);
        }
        varint::write(out, self.counters.len() as u64);
        for (row, counters) in &self.counters {
            out.extend_from_slice(&row.0.to_le_bytes());
            varint::write(out, counters.len() as u64);
            for (name, counter) in counters {
                varint::write(out, (*name).into());
                varint::write(out, counter.raw);
                varint::write_signed(out, counter.correction.cast_signed());
                varint::write(out, self.clock_ms.saturating_sub(counter.seen_ms));
                out.push(counter.doubts);
            }
        }
    }

    /// Reads what [`Memory::encode`] wrote.
    ///
    /// # Errors
    /// Why it is of no use.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let body = bytes.strip_prefix(MAGIC).ok_or(Unreadable::Foreign)?;
        let (version, body) = body.split_first().ok_or(Unreadable::Damaged)?;
        if *version != VERSION {
            return Err(Unreadable::Version(*version));
        }
        let end = body.len().checked_sub(CHECKSUM);
        let (body, checksum) = end
            .and_then(|end| body.split_at_checked(end))
            .ok_or(Unreadable::Damaged)?;
        let whole = bytes.len().checked_sub(CHECKSUM);
        let whole = whole.and_then(|end| bytes.get(..end)).unwrap_or_default();
        if crc32fast::hash(whole).to_le_bytes() != checksum {
            return Err(Unreadable::Damaged);
        }
        let mut reader = Reader(body);
        let memory = reader.memory().ok_or(Unreadable::Damaged)?;
        if reader.0.is_empty() {
            Ok(memory)
        } else {
            Err(Unreadable::Damaged)
        }
    }
}

fn option(out: &mut Vec<u8>, number: Option<u32>) {
    varint::write(out, number.map_or(0, |number| u64::from(number) + 1));
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A truth that may be unknown.
fn truth(value: Option<bool>) -> u8 {
    match value {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

fn write_port(out: &mut Vec<u8>, port: &Known) {
    for text in [&port.label, &port.name, &port.descr, &port.alias, &port.mac] {
        write_text(out, text);
    }
    varint::write(out, port.index.into());
    varint::write_signed(out, port.seen_ms);
    option(out, port.discontinuity);
    out.push(truth(port.enabled));
    out.push(truth(port.up));
}

/// Takes a body apart; `None` where it ends early or holds what none would.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn memory(&mut self) -> Option<Memory> {
        let at = Moment {
            unix_ms: self.signed()?,
            boot_ms: self.number()?,
            boot: self.number()?,
        };
        let clock_ms = self.number()?;
        let clocks = Clocks {
            uptime_ticks: self.option()?,
            wraps: u32::try_from(self.number()?).ok()?,
            engine_time_s: self.option()?,
        };
        let (object_id, description, profile) = (self.text()?, self.text()?, self.text()?);
        let profiles = self.number()?;
        let presence = match self.byte()? {
            0 => Presence::Unknown,
            1 => Presence::Answers,
            2 => Presence::Silent,
            _ => return None,
        };
        let presence_since_ms = self.signed()?;
        let forgotten = match self.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let ports = self.many(Self::port)?;
        let names = self.many(Self::text)?;
        let counters = self.counters(clock_ms)?;
        Some(Memory {
            at,
            clock_ms,
            clocks,
            object_id,
            description,
            profile,
            profiles,
            presence,
            presence_since_ms,
            ports: PortBook { ports },
            counters,
            names,
            forgotten,
        })
    }

    fn counters(&mut self, clock_ms: u64) -> Option<BTreeMap<Row, BTreeMap<u16, Counter>>> {
        let rows = self.many(|reader| {
            let (row, rest) = reader.0.split_first_chunk()?;
            reader.0 = rest;
            let counters = reader.many(|reader| {
                let name = u16::try_from(reader.number()?).ok()?;
                let counter = Counter {
                    raw: reader.number()?,
                    correction: reader.signed()?.cast_unsigned(),
                    seen_ms: clock_ms.checked_sub(reader.number()?)?,
                    doubts: reader.byte()?,
                };
                Some((name, counter))
            })?;
            Some((
                Row(u64::from_le_bytes(*row)),
                counters.into_iter().collect(),
            ))
        })?;
        Some(rows.into_iter().collect())
    }

    fn port(&mut self) -> Option<Known> {
        Some(Known {
            label: self.text()?,
            name: self.text()?,
            descr: self.text()?,
            alias: self.text()?,
            mac: self.text()?,
            index: u32::try_from(self.number()?).ok()?,
            seen_ms: self.signed()?,
            discontinuity: self.option()?,
            enabled: self.truth()?,
            up: self.truth()?,
        })
    }

    /// A count and so many of `one`. Each takes a byte at least, which bounds what is set aside.
    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        if count > self.0.len() {
            return None;
        }
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.0)
    }

    fn signed(&mut self) -> Option<i64> {
        varint::read_signed(&mut self.0)
    }

    fn option(&mut self) -> Option<Option<u32>> {
        let number = self.number()?;
        match number.checked_sub(1) {
            None => Some(None),
            Some(number) => u32::try_from(number).ok().map(Some),
        }
    }

    fn truth(&mut self) -> Option<Option<bool>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(false)),
            2 => Some(Some(true)),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}
