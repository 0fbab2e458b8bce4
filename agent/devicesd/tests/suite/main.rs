//! The program as the agent starts it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: to panic is how they say what they found"
)]

mod polls;
mod program;
mod traps;
