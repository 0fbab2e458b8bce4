//! Faults against the real programs, and afterwards the proof from what is stored on both sides.
//!
//! A fault may delay data and may never lose or repeat any: once the fault is over and the agent
//! was stopped in order, every number that its spool handed out is settled, and the controller's
//! store holds each of them exactly once.

#![expect(
    clippy::indexing_slicing,
    reason = "a panic in a test is a failure that says where"
)]
#![expect(
    clippy::print_stderr,
    reason = "what was run belongs into the test's output"
)]

mod apart;
mod backend;
mod certificate;
mod clock;
mod cluster;
mod cut;
mod disk;
mod enrolment;
mod gauge;
mod kills;
mod line;
mod proof;
mod relay;
mod rollback;
mod security;
mod settings;
mod thin;
mod versions;
