//! Links over real sockets: lines between network namespaces, an implementation of TWAMP Light by nobody of
//! ours, keys, and ends that begin again.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod keys;
mod line;
mod restart;
mod support;
mod twamp;
