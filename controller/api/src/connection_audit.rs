//! The browsers' port tells the audit record which connections it ended, and for what.
//!
//! At a bounded rate: see [`crate::refused`], which counts what comes again.

use std::net::IpAddr;
use std::sync::Weak;

use crate::refused;
use crate::state::Inner;

/// Where a port tells of connections that it ended; by default nowhere.
#[derive(Debug, Clone, Default)]
pub struct ConnectionAudit(Weak<Inner>);

impl ConnectionAudit {
    pub(crate) fn of(inner: Weak<Inner>) -> Self {
        Self(inner)
    }

    /// Takes note of a connection that was ended for this reason, where that says something about who is at
    /// its other end.
    pub(crate) fn note(&self, reason: &str, address: IpAddr) {
        let code = match reason {
            "late_handshake" => "slow_handshake",
            "head" => "slow_head",
            "stalled" => "stalled",
            "address" | "handshakes" => "too_many_connections",
            // A page that was left open, a scanner, a spare connection of a browser.
            _ => return,
        };
        if let Some(inner) = self.0.upgrade() {
            refused::connection(&inner, code, address);
        }
    }
}
