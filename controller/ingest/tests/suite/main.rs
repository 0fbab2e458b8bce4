//! The agent port as agents meet it: real TLS over loopback, real stores, a small client that
//! speaks records.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests may fail like tests"
)]

mod agent;
mod delivery;
mod directives;
mod disk;
mod evidence;
mod hostile;
mod identity;
mod polls;
mod port;
mod refusals;
