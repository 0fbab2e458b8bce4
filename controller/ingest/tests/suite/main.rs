//! The agent port as agents meet it: real TLS over loopback, real stores, a small client that
//! speaks records.

mod agent;
mod delivery;
mod directives;
mod disk;
mod identity;
mod port;
mod refusals;
