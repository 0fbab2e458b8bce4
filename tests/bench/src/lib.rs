//! Load and figures: thousands of simulated hosts over real sessions, and our numbers next to those
//! of other programs.
//!
//! Everything here speaks the released protocol through real sockets; nothing reaches into the
//! controller but the preparation of its database before it starts.

#![expect(
    clippy::print_stderr,
    reason = "a load generator tells its terminal what went wrong"
)]

pub mod load;
