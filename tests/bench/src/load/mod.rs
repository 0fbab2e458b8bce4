//! Simulated hosts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`machine`] | the numbers of a busy host, made up but plausible |
//! | [`credentials`] | certificates and database rows for thousands of hosts at once |
//! | [`session`] | one host's session, as an agent holds it |
//! | [`province`] | many of them at a cadence, with counters |
//! | [`remote_write`] | the same reports as Prometheus would send them |
//! | [`fleet`] | hosts at a cadence under a watcher, and what was acknowledged to them |
//! | [`latency`] | how long reports wait for their acknowledgement |
//! | [`flap`] | hosts that come and go at a pace |
//! | [`receiver`] | the same hosts as senders of remote write |
//! | [`send_on`], [`sink`] | the controller's sender alone, and a cluster that keeps nothing |
//! | [`tree`] | a province of 20,000 sites |
//! | [`verify`] | what a stopped controller holds |
//! | [`wire`] | one host under a packet capture |

pub mod credentials;
pub mod flap;
pub mod fleet;
pub mod latency;
pub mod machine;
pub mod province;
pub mod receiver;
pub mod remote_write;
pub mod send_on;
pub mod session;
pub mod sink;
pub mod tree;
pub mod verify;
pub mod wire;
