//! What a device does wrong.

use std::time::Duration;

use xiezhi_profiles::Oid;

/// How a device behaves; the default is an honest one with the community `public`.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// It answers only to this.
    pub community: String,
    /// Its counters grow and its clock runs from its start on, as where there is traffic.
    pub alive: bool,
    /// It answers at all. What is in `strays` comes all the same.
    pub answers: bool,
    /// Each answer comes twice.
    pub twice: bool,
    /// Every request with this number in the sequence is not answered.
    pub drops_every: Option<u32>,
    /// Every request with this number in the sequence is answered so much later.
    pub late_every: Option<(u32, Duration)>,
    /// It sends these before each answer.
    pub strays: Vec<Stray>,
    /// It says tooBig instead of an answer of more bytes.
    pub too_big_over: Option<usize>,
    /// It cuts its answers after so many names.
    pub most_names: Option<usize>,
    /// The last row of this column is followed by its first.
    pub ring: Option<Oid>,
    /// This column never ends.
    pub endless: Option<Oid>,
    /// It does not answer when asked about this.
    pub deaf_in: Option<Oid>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            community: "public".to_owned(),
            alive: false,
            answers: true,
            twice: false,
            drops_every: None,
            late_every: None,
            strays: Vec::new(),
            too_big_over: None,
            most_names: None,
            ring: None,
            endless: None,
            deaf_in: None,
        }
    }
}

/// A datagram that is not the answer; what it tells is wrong, so that a test sees who believes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// Right in all but the address from which it comes.
    OtherAddress,
    /// Right in all but the port from which it comes.
    OtherPort,
    /// With the number of another request.
    OtherNumber,
    /// With another community.
    OtherCommunity,
    /// With another version.
    OtherVersion,
    /// Cut in the middle.
    Cut,
    /// A length that goes beyond its end, deep inside.
    BadLength,
    /// Not SNMP.
    Noise,
}

/// All of them.
pub const STRAYS: [Stray; 8] = [
    Stray::OtherAddress,
    Stray::OtherPort,
    Stray::OtherNumber,
    Stray::OtherCommunity,
    Stray::OtherVersion,
    Stray::Cut,
    Stray::BadLength,
    Stray::Noise,
];
