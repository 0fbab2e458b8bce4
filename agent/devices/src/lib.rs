//! Asks devices over SNMP: what to ask comes in, what they told comes out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ask`] | what is asked for, within which bounds, and what went wrong with which object |
//! | [`answer`] | an answer read without the library, because most time went there |
//! | [`message`] | one request and its answer, free of any library |
//! | [`planner`] | which request comes next: pure, so every device's oddity is a test |
//! | [`credentials`] | communities and users; secrets are wiped and never shown |
//! | [`client`] | the one socket, and the only module that knows the SNMP library |
//! | [`poll`] | one device from its identity to its last table, within its time |
//! | [`moment`] | when something was, and whether a device restarted since |
//! | [`counters`] | when a counter becomes a sample, and when a gap |
//! | [`memory`] | what is remembered of a device, and its file |
//! | [`tables`] | a reading becomes the tables of a poll |
//! | [`sealed`] | secrets that a copied file does not give away |
//! | [`config`] | the devices of a host as people write them |
//! | [`visit`] | one device asked, read, remembered and told |
//! | [`schedule`] | which device is asked when |
//! | [`traps`] | what devices tell without being asked |
//!
//! Nothing here sets anything on a device, and what an object means is said by profiles, not here.

pub mod answer;
pub mod ask;
pub mod client;
pub mod config;
mod convert;
pub mod counters;
pub mod credentials;
mod measures;
pub mod memory;
pub mod message;
pub mod moment;
pub mod planner;
pub mod poll;
mod reports;
pub mod schedule;
pub mod sealed;
pub mod tables;
pub mod traps;
pub mod visit;

pub use ask::{Ask, Fault, Limits, Problem};
pub use client::{Counts, Session, Snmp, Socket, Strays};
pub use credentials::{BadCredentials, Cipher, Credentials, Digest, Login, Secret, Security, User};
pub use message::{AskError, Cell, Kind, Request, Response};
pub use planner::{Pace, Planned, Planner};
pub use poll::{Identity, PollError, Polled, Poller, Target, Walked};
