//! What an agent reads of its host: numbers, and what the host is made of.
//!
//! The collectors carry node_exporter's names, labels and units, so that public node dashboards
//! and rules work unchanged; `tests/node_exporter.rs` compares the two on the same machine and
//! `tests/node_exporter_differences.txt` lists every difference with its reason.
//!
//! | module | what it holds |
//! |---|---|
//! | [`host`] | the collectors, one per file, and the visible list of them |
//! | [`collectors`] | runs them at their cadence and fills a report |
//! | [`facts`] | what the host is made of |
//! | [`root`] | where `/proc`, `/sys` and `/` are: the real ones or recorded ones |
//! | [`readings`] | what a collector is given: shared read buffers and the samples |
//! | [`error`] | what can go wrong; partial data is normal |
//! | [`security`] | what happened on the host that a person may have to answer for |
//!
//! This crate never needs a privilege: what an unprivileged user may not read is left out and the
//! loss is stated. It starts no thread and keeps no table of processes.

mod bytes;
pub mod collectors;
pub mod error;
pub mod facts;
mod files;
pub mod host;
mod kernel;
pub mod readings;
pub mod root;
pub mod security;
mod sockets;

pub use collectors::{Collectors, Options, Outcomes};
pub use error::CollectError;
pub use host::{Cadence, Collector};
pub use readings::Readings;
pub use root::HostRoot;
