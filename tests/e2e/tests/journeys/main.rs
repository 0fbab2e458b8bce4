//! Journeys of an operator and a host through the real programs, one file each.
//!
//! Each test has a controller and agents of its own in temporary folders, on ports that the system
//! chose, and waits for conditions only. As root the agents run split into warden and worker, as
//! they do in a court; as an ordinary user they run as one process.

#![expect(
    clippy::indexing_slicing,
    reason = "a panic in a test is a failure that says where"
)]

#[path = "../shared/asked.rs"]
mod asked;
mod backup;
mod clients;
mod cluster;
mod configuration;
mod console;
mod dashboards;
mod database_server;
mod devices;
mod directives;
mod fuzzed;
mod hardware;
mod identity;
mod leaving;
mod links;
mod metrics;
mod peers;
mod privileges;
mod profiles;
mod remote_write;
mod reporting;
mod revocation;
mod snmpd;
mod supervision;
mod tokens;
mod web_certificate;
