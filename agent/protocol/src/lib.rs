//! What crosses the wire between an agent and the controller: types and codec, versioned.
//!
//! This crate holds no I/O, no clock and no async runtime: bytes in, values out. Both sides depend
//! on it and on nothing else of each other. Every format starts with a version byte, and every
//! released version is decoded for ever (`tests/kept`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`report`] | one interval's samples of one host, as the collectors write them |
//! | [`codec`] | delta frames: the samples of a report in a few hundred bytes |
//! | [`batch`] | the sequence-numbered unit of delivery and its streams |
//! | [`record`] | length-prefixed records on a byte stream |
//! | [`message`] | what the two sides of a session say to each other |
//! | [`event`] | log and security records |
//! | [`facts`] | what a host is made of |
//! | [`enrol`] | enrolment and renewal bodies, and the enrolment token's text |
//! | [`poll`] | what a host read of a device of the network at one time |
//! | [`range_set`] | sets of sequence numbers, kept as ranges |
//! | [`signature`] | what an agent signs of a batch |

pub mod batch;
pub mod codec;
pub mod enrol;
pub mod event;
pub mod facts;
pub mod message;
pub mod poll;
pub mod range_set;
pub mod record;
pub mod report;
pub mod signature;

/// The newest session protocol that this build speaks. A peer that speaks an older one is served
/// in that older one; see [`message::Hello::protocol`].
///
/// | version | what it adds |
/// |---|---|
/// | 1 | the first |
/// | 2 | event batches may be signed (version 2 of [`batch`]) |
/// | 3 | polls of devices ([`poll`]), a stream of their own |
pub const PROTOCOL_VERSION: u32 = 3;

/// The first protocol whose controllers read signed event batches.
pub const SIGNED_EVENTS_PROTOCOL: u32 = 2;

/// The first protocol whose controllers take polls and know their stream by name.
pub const POLLS_PROTOCOL: u32 = 3;

/// The oldest session protocol that this build still serves: an agent of the release before works
/// with this controller, and the reverse.
pub const OLDEST_PROTOCOL_VERSION: u32 = 1;

/// ALPN name of the agent session (HTTP/2 as registered; the path tells the purpose).
pub const ALPN: &[u8] = b"h2";

/// The name that every controller certificate carries, whatever its address: agents check it
/// instead of a host name, so a controller may move without a new certificate.
pub const CONTROLLER_NAME: &str = "controller.xiezhi.internal";

/// Path of the upload stream: batches up, acknowledgements down.
pub const UPLINK_PATH: &str = "/agent/v1/uplink";
/// Path of the directive stream: directives down, outcomes up.
pub const DIRECTIVES_PATH: &str = "/agent/v1/directives";
/// Path of enrolment; the only one open to a caller without a certificate.
pub const ENROL_PATH: &str = "/agent/v1/enrol";
/// Path of renewal; the only one open to an expired certificate.
pub const RENEW_PATH: &str = "/agent/v1/renew";
