//! Simulated hosts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`machine`] | the numbers of a busy host, made up but plausible |
//! | [`credentials`] | certificates and database rows for thousands of hosts at once |
//! | [`session`] | one host's session, as an agent holds it |
//! | [`province`] | many of them at a cadence, with counters |
//! | [`remote_write`] | the same reports as Prometheus would send them |
//! | [`wire`] | one host under a packet capture |

pub mod credentials;
pub mod machine;
pub mod province;
pub mod remote_write;
pub mod session;
pub mod wire;
