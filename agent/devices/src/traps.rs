//! Traps and informs: what a device tells without being asked.
//!
//! | module | what it holds |
//! |---|---|
//! | [`intake`] | the socket: a thread that only copies datagrams into a bounded queue |
//! | `community` | SNMPv1 and v2c: a datagram becomes a [`Notice`] and its acknowledgement |
//! | `usm` | SNMPv3: signatures, time windows, the engine that senders of informs discover |
//! | [`repeats`] | the same notice again, within a while, is counted and not told |
//! | [`meaning`] | a notice becomes an event, in the words of its device's profile |
//!
//! A datagram is taken only with the login of a device whose address it came from. What cannot be proved
//! to be that device's is refused with a [`Refusal`], and counted; it never becomes another device's.
//! Pure but for the intake: bytes and the time in, notices and replies out.

mod community;
pub mod intake;
pub mod meaning;
pub mod repeats;
mod usm;

use std::net::IpAddr;

use async_snmp::ber::Decoder;
use async_snmp::{Value, VarBind};
use bytes::Bytes;
use xiezhi_profiles::Oid;

use crate::convert;
use crate::credentials::Login;
use crate::message::Cell;

pub use usm::{BadEngine, Engine};

/// Most values of a notice that are kept; devices send a dozen.
const MOST_VALUES: usize = 128;

/// What a device told by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// What happened: snmpTrapOID. Of an SNMPv1 trap as RFC 3584 translates it.
    pub oid: Oid,
    /// `sysUpTime` when it happened, hundredths of a second.
    pub uptime_ticks: u32,
    /// What the device tells beside it.
    pub values: Vec<(Oid, Cell)>,
    /// Whether the device waits for an acknowledgement.
    pub is_inform: bool,
}

/// Why a datagram is nobody's trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It is no SNMP, or torn.
    Malformed,
    /// It is SNMP, and neither a trap nor an inform.
    NotATrap,
    /// The community is not the device's, or the device is set up for SNMPv3.
    Community,
    /// Several devices at this address have the same login, so it is not known whose it is.
    Ambiguous,
    /// The device has no such SNMPv3 user.
    User,
    /// It is neither signed nor encrypted, or not as its user is set up for.
    Unsigned,
    /// The signature does not fit: another password, or a forgery.
    Signature,
    /// It cannot be decrypted: another password.
    Cipher,
    /// It is signed for another time: played back, or its clock went wrong.
    Time,
    /// An inform that is signed for another receiver, or a trap for this one.
    Engine,
    /// A sender of informs asks who this is; no trap, and no fault either.
    Discovery,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::NotATrap,
        Self::Community,
        Self::Ambiguous,
        Self::User,
        Self::Unsigned,
        Self::Signature,
        Self::Cipher,
        Self::Time,
        Self::Engine,
        Self::Discovery,
    ];

    /// Its word in counters and events; the list is closed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotATrap => "not_a_trap",
            Self::Community => "wrong_community",
            Self::Ambiguous => "ambiguous",
            Self::User => "unknown_user",
            Self::Unsigned => "unsigned",
            Self::Signature => "wrong_signature",
            Self::Cipher => "wrong_cipher",
            Self::Time => "wrong_time",
            Self::Engine => "wrong_engine",
            Self::Discovery => "discovery",
        }
    }
}

/// What a datagram is, and what goes back to its sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The notice with the place of its device among those that were asked about, or why it is none.
    pub what: Result<(usize, Notice), Refusal>,
    /// The acknowledgement of an inform, or what SNMPv3 says to one that cannot be taken yet.
    pub reply: Option<Bytes>,
}

impl Heard {
    fn refused(why: Refusal) -> Self {
        Self {
            what: Err(why),
            reply: None,
        }
    }
}

/// Takes datagrams apart.
#[derive(Debug)]
pub struct Ear {
    engine: Engine,
    remotes: usm::Remotes,
}

impl Ear {
    /// One that informs know as `engine`.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            remotes: usm::Remotes::default(),
        }
    }

    /// Takes `datagram` from `source`, where the devices with these `logins` are. `now_s` counts seconds
    /// since this ear's engine started.
    pub fn take(
        &mut self,
        datagram: &[u8],
        source: IpAddr,
        logins: &[&Login],
        now_s: u32,
    ) -> Heard {
        let data = Bytes::copy_from_slice(datagram);
        match version(data.clone()) {
            Some(0 | 1) => community::take(data, logins),
            Some(3) => {
                let receiver = usm::Receiver {
                    engine: &mut self.engine,
                    remotes: &mut self.remotes,
                    source,
                    now_s,
                };
                receiver.take(&data, logins)
            }
            _ => Heard::refused(Refusal::Malformed),
        }
    }
}

/// The number that stands for the protocol's version: 0, 1 and 3.
fn version(data: Bytes) -> Option<i32> {
    let mut decoder = Decoder::new(data);
    let mut message = decoder.read_sequence().ok()?;
    message.read_integer().ok()
}

/// The notice that a trap or an inform of SNMPv2 holds: `sysUpTime.0`, `snmpTrapOID.0`, and the rest.
///
/// Their names are not looked at, because there are devices that write them wrong.
fn notice(bindings: Vec<VarBind>, is_inform: bool) -> Option<Notice> {
    let mut bindings = bindings.into_iter();
    let uptime_ticks = match bindings.next()?.value {
        Value::TimeTicks(ticks) => ticks,
        _ => return None,
    };
    let oid = match bindings.next()?.value {
        Value::ObjectIdentifier(oid) => Oid::new(oid.arcs()),
        _ => return None,
    };
    let values = bindings.take(MOST_VALUES);
    let values = values.map(|binding| (Oid::new(binding.oid.arcs()), convert::cell(binding.value)));
    Some(Notice {
        oid,
        uptime_ticks,
        values: values.collect(),
        is_inform,
    })
}
