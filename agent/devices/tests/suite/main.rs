//! Polling over real sockets: a device that does wrong what it is told to, net-snmp's daemon, and
//! snmpsim with a recording.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod faults;
mod many;
mod relay;
mod snmpd;
mod snmpsim;
mod support;
