//! The boundary between samples and those who ask for them or bring them in.
//!
//! Inside the controller samples are frames of agents; outside, the field speaks PromQL and remote
//! write. This crate is where the two meet, so that neither the engine nor the pages know about the
//! other's form.
//!
//! | module | what crosses there |
//! |---|---|
//! | [`remote_write`] | what other programs send: bodies of `POST /api/v1/write` into checked series |
//!
//! It opens no listening socket (the interface does) and decides no right: whoever calls it says
//! whose samples they are.

pub mod remote_write;
