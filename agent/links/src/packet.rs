//! Test packets of STAMP (RFC 8762) with the identifier of RFC 8972, and of TWAMP Light (RFC 5357,
//! appendix I), which are the same but for what is zero here.
//!
//! ```text
//! probe, plain    0 sequence  4 time  12 error  14 SSID  16 zero ×28                          44 octets
//! probe, signed   0 sequence  16 time  24 error  26 SSID  28 zero  96 HMAC                   112
//! echo, plain     0 sequence  4 time  12 error  14 SSID  16 received  24 probe's sequence
//!                 28 probe's time  36 probe's error  40 TTL  41 zero ×3                       44
//! echo, signed    0 sequence  16 time  24 error  26 SSID  32 received  48 probe's sequence
//!                 64 probe's time  72 probe's error  80 TTL  96 HMAC                         112
//! ```
//!
//! Anything behind that is extensions (RFC 8972): octets of flags, type and length, then so many octets.
//! Padding is the one extension that is understood. Whatever else comes is sent back marked as not
//! understood, as the standard wants it.

use ring::hmac;
use zeroize::Zeroizing;

use crate::stamp::ErrorEstimate;

/// Octets of a plain packet.
pub const PLAIN: usize = 44;

/// Octets of a signed one.
pub const SIGNED: usize = 112;

/// Octets of the shortest packet that is answered: TWAMP Light's with the padding that makes both ways
/// alike (RFC 6038). An answer to a shorter one would be longer than what asked for it.
pub const SHORTEST: usize = 41;

/// Longest packet, octets: what fits into a frame of Ethernet.
pub const LONGEST: usize = 1472;

/// Octets that the signature covers, and of the signature itself.
const COVERED: usize = 96;
const SIGNATURE: usize = 16;

/// Flags of an extension: not understood, malformed, not verified.
const UNRECOGNIZED: u8 = 0x80;
const MALFORMED: u8 = 0x40;
const UNVERIFIED: u8 = 0x20;
/// The extension that is padding.
const PADDING: u8 = 1;
/// Octets before an extension's own.
const HEAD: usize = 4;

/// Shortest secret that is a key, in characters.
pub const SHORTEST_KEY: usize = 16;

/// A key that both ends of a link share: HMAC-SHA-256, cut to 128 bits (RFC 8762 §4.4).
#[derive(Clone)]
pub struct Key {
    key: hmac::Key,
    text: Zeroizing<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(…)")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Key {
    /// The key that is the octets of this text; `None` if it is too short to be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() >= SHORTEST_KEY).then(|| Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// The text that it was made of: a secret.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn sign(&self, packet: &mut [u8]) {
        let Some((covered, rest)) = packet.split_at_mut_checked(COVERED) else {
            return;
        };
        let tag = hmac::sign(&self.key, covered);
        for (to, from) in rest.iter_mut().zip(tag.as_ref().iter().take(SIGNATURE)) {
            *to = *from;
        }
    }

    fn verifies(&self, packet: &[u8]) -> bool {
        let Some((covered, rest)) = packet.split_at_checked(COVERED) else {
            return false;
        };
        let tag = hmac::sign(&self.key, covered);
        // All octets are looked at, so that time tells nothing of how many agree.
        let pairs = rest.iter().zip(tag.as_ref().iter().take(SIGNATURE));
        rest.len() >= SIGNATURE && pairs.fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

/// Why a packet is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// Too short to be a test packet, or to be answered with one that is no longer.
    #[error("too short")]
    Short,
    /// Longer than anything that is sent here.
    #[error("too long")]
    Long,
    /// Its signature is not that of the key: forged, changed on its way, or of another key.
    #[error("wrong signature")]
    Signature,
    /// Who sent it may not measure here.
    #[error("unknown peer")]
    Peer,
    /// It was here before: the network doubled it, or somebody plays it again.
    #[error("seen before")]
    Replayed,
    /// It answers nothing that was sent, or not as it was sent.
    #[error("answers nothing")]
    Unasked,
    /// The peer sends more than it may.
    #[error("too many")]
    Rate,
    /// There are as many sessions as there may be.
    #[error("no room for a session")]
    Sessions,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Short,
        Self::Long,
        Self::Signature,
        Self::Peer,
        Self::Replayed,
        Self::Unasked,
        Self::Rate,
        Self::Sessions,
    ];

    /// Its word among reasons.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Signature => "signature",
            Self::Peer => "peer",
            Self::Replayed => "replayed",
            Self::Unasked => "unasked",
            Self::Rate => "rate",
            Self::Sessions => "sessions",
        }
    }
}

/// What a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Counts the packets of a session.
    pub sequence: u32,
    /// When it was sent, as [`crate::stamp`] writes it.
    pub sent: u64,
    /// Of the sender's clock.
    pub error: ErrorEstimate,
    /// The session's identifier; 0 is none.
    pub session: u16,
}

/// What a reflector sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Counts what the reflector sent in this session; the probe's own where it keeps no count.
    pub sequence: u32,
    /// When it was sent.
    pub sent: u64,
    /// Of the reflector's clock.
    pub error: ErrorEstimate,
    /// The session's identifier; 0 if the reflector knows none.
    pub session: u16,
    /// When the probe arrived.
    pub received: u64,
    /// The probe as it arrived; its session is that of the echo.
    pub probe: Probe,
    /// The probe's time to live when it arrived.
    pub ttl: u8,
}

impl Probe {
    /// The packet, of `length` octets if it may have so many: what the layout needs at least, and what
    /// fits into one frame at most.
    #[must_use]
    pub fn encode(&self, key: Option<&Key>, length: usize) -> Vec<u8> {
        let mut packet = blank(key, length);
        put(&mut packet, 0, &self.sequence.to_be_bytes());
        let at = if key.is_some() { 16 } else { 4 };
        put(&mut packet, at, &self.sent.to_be_bytes());
        put(&mut packet, at + 8, &self.error.0.to_be_bytes());
        put(&mut packet, at + 10, &self.session.to_be_bytes());
        pad(&mut packet, base(key));
        if let Some(key) = key {
            key.sign(&mut packet);
        }
        packet
    }

    /// Reads a packet; with a key, only if it is signed by it.
    ///
    /// # Errors
    /// [`Refusal::Short`], [`Refusal::Long`] or [`Refusal::Signature`].
    pub fn decode(packet: &[u8], key: Option<&Key>) -> Result<Self, Refusal> {
        check(packet, key)?;
        let at = if key.is_some() { 16 } else { 4 };
        let read = || {
            Some(Self {
                sequence: u32::from_be_bytes(take(packet, 0)?),
                sent: u64::from_be_bytes(take(packet, at)?),
                error: ErrorEstimate(u16::from_be_bytes(take(packet, at + 8)?)),
                session: u16::from_be_bytes(take(packet, at + 10)?),
            })
        };
        read().ok_or(Refusal::Short)
    }
}

impl Echo {
    /// The answer to `packet`, which [`Probe::decode`] read with the same key: as long as that one.
    #[must_use]
    pub fn encode(&self, key: Option<&Key>, packet: &[u8]) -> Vec<u8> {
        // What lies behind the layout goes back: padding and extensions.
        let mut echo = packet.to_vec();
        for octet in echo.iter_mut().take(base(key)) {
            *octet = 0;
        }
        put(&mut echo, 0, &self.sequence.to_be_bytes());
        let places = if key.is_some() {
            [16, 32, 48, 64, 80]
        } else {
            [4, 16, 24, 28, 40]
        };
        let [sent, received, sequence, probe, ttl] = places;
        put(&mut echo, sent, &self.sent.to_be_bytes());
        put(&mut echo, sent + 8, &self.error.0.to_be_bytes());
        put(&mut echo, sent + 10, &self.session.to_be_bytes());
        put(&mut echo, received, &self.received.to_be_bytes());
        put(&mut echo, sequence, &self.probe.sequence.to_be_bytes());
        put(&mut echo, probe, &self.probe.sent.to_be_bytes());
        put(&mut echo, probe + 8, &self.probe.error.0.to_be_bytes());
        put(&mut echo, ttl, &[self.ttl]);
        mark_extensions(&mut echo, base(key), key.is_some());
        if let Some(key) = key {
            key.sign(&mut echo);
        }
        echo
    }

    /// Reads a packet; with a key, only if it is signed by it.
    ///
    /// # Errors
    /// As [`Probe::decode`].
    pub fn decode(packet: &[u8], key: Option<&Key>) -> Result<Self, Refusal> {
        check(packet, key)?;
        let places = if key.is_some() {
            [16, 32, 48, 64, 80]
        } else {
            [4, 16, 24, 28, 40]
        };
        let [sent, received, sequence, probe, ttl] = places;
        let read = || {
            let session = u16::from_be_bytes(take(packet, sent + 10)?);
            Some(Self {
                sequence: u32::from_be_bytes(take(packet, 0)?),
                sent: u64::from_be_bytes(take(packet, sent)?),
                error: ErrorEstimate(u16::from_be_bytes(take(packet, sent + 8)?)),
                session,
                received: u64::from_be_bytes(take(packet, received)?),
                probe: Probe {
                    sequence: u32::from_be_bytes(take(packet, sequence)?),
                    sent: u64::from_be_bytes(take(packet, probe)?),
                    error: ErrorEstimate(u16::from_be_bytes(take(packet, probe + 8)?)),
                    session,
                },
                ttl: u8::from_be_bytes(take(packet, ttl)?),
            })
        };
        read().ok_or(Refusal::Short)
    }
}

/// Whether a session of packets of this length can be had: the layout alone, or with room for padding.
#[must_use]
pub const fn is_length(length: usize, signed: bool) -> bool {
    let base = if signed { SIGNED } else { PLAIN };
    length == base || (length >= base + HEAD && length <= LONGEST)
}

const fn base(key: Option<&Key>) -> usize {
    if key.is_some() { SIGNED } else { PLAIN }
}

fn blank(key: Option<&Key>, length: usize) -> Vec<u8> {
    let length = if is_length(length, key.is_some()) {
        length
    } else {
        base(key)
    };
    vec![0; length]
}

fn check(packet: &[u8], key: Option<&Key>) -> Result<(), Refusal> {
    if packet.len() > LONGEST {
        return Err(Refusal::Long);
    }
    match key {
        None if packet.len() < SHORTEST => Err(Refusal::Short),
        Some(_) if packet.len() < SIGNED => Err(Refusal::Short),
        Some(key) if !key.verifies(packet) => Err(Refusal::Signature),
        _ => Ok(()),
    }
}

/// Padding behind the layout, if there is room for its head. A sender marks every extension as not
/// understood; who understands it takes the mark away.
fn pad(packet: &mut [u8], base: usize) {
    let room = packet.len().saturating_sub(base + HEAD);
    let Ok(length) = u16::try_from(room) else {
        return;
    };
    if packet.len() >= base + HEAD {
        put(packet, base, &[UNRECOGNIZED, PADDING]);
        put(packet, base + 2, &length.to_be_bytes());
    }
}

/// Marks the extensions of an answer. One that is malformed ends it: nothing behind it can be found.
fn mark_extensions(packet: &mut [u8], base: usize, signed: bool) {
    let mut at = base;
    while let Some([_, kind, high, low]) = take::<HEAD>(packet, at) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let end = at + HEAD + length;
        let is_padding = kind == PADDING;
        let mut flags = if is_padding { 0 } else { UNRECOGNIZED };
        if end > packet.len() {
            flags |= MALFORMED;
        }
        if signed && !is_padding {
            // The signature of extensions (RFC 8972 §4.8) is not looked at, so nothing vouches for them.
            flags |= UNVERIFIED;
        }
        put(packet, at, &[flags]);
        if end > packet.len() {
            return;
        }
        at = end;
    }
}

fn put(packet: &mut [u8], at: usize, octets: &[u8]) {
    // A packet of TWAMP Light ends behind the TTL: what is zero behind it is not there.
    if let Some(place) = packet.get_mut(at..at + octets.len()) {
        place.copy_from_slice(octets);
    }
}

fn take<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests;
