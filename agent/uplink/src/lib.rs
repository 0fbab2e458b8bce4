//! The agent's side of a session: one HTTP/2 connection over mutual TLS 1.3, for as long as it holds.
//!
//! Live batches go first, the backlog of an outage second under a bandwidth budget; acknowledgements
//! and directives come back on the same connection. It reads batches from the spool only, so nothing
//! is ever sent that would not survive the agent, and it never decides what to collect.
//!
//! | lane | what | held back by |
//! |---|---|---|
//! | live | batches appended since the session began, each as it comes | nothing |
//! | backlog | everything older, security first, then events, then samples | budget, connection |
//!
//! A live report is one HTTP/2 frame in one TLS record. Nothing else goes up while all is well: no
//! pings while the controller acknowledges, no window updates, a status every five minutes inside
//! another write.
//!
//! One session at a time, two tasks: one decides, one moves bytes. A current-thread runtime will do.

mod budget;
mod config;
mod connect;
mod handle;
mod lanes;
mod random;
mod runner;
mod session;

pub use config::{Config, Connector, State, Target};
pub use handle::Uplink;
