//! The boundary between samples and those who ask for them or bring them in.
//!
//! Inside the controller samples are frames of agents; outside, the field speaks PromQL and remote
//! write. This crate is where the two meet, so that neither the engine nor the pages know about the
//! other's form.
//!
//! | module | what crosses there |
//! |---|---|
//! | [`Queries`] | PromQL text in, answers out: bounded in time, memory and number |
//! | [`Directory`], [`Scope`] | which labels the controller gives a host, and whose hosts a caller sees |
//! | [`wire`] | Prometheus's JSON: parameters and answers |
//! | [`cluster`] | samples sent on to a cluster, and queries answered by one |
//! | [`remote_write`] | what other programs send: bodies of `POST /api/v1/write` into stored series |
//!
//! It opens no listening socket (the interface does) and decides no right: whoever calls it says
//! whose samples they are.

pub mod cluster;
mod directory;
mod pool;
mod queries;
pub mod remote_write;
pub mod wire;

pub use directory::{ASSIGNED, DEVICE, Directory, Origins, SOURCE, Scope};
pub use pool::{Busy, Pool};
pub use queries::{Failure, Json, Queries, Remote, Selectors, Settings, Wish};
