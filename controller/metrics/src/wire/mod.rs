//! Prometheus's HTTP interface: what its parameters mean and what its answers look like.
//!
//! Source: "HTTP API" of the Prometheus documentation.

mod answer;
mod parameter;

pub use answer::{Body, ErrorBody, List, Metric, data, error, value};
pub use parameter::{ParameterError, duration_ms, time_ms};
