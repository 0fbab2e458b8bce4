//! The privilege table: one row per kind of process.

/// What one kind of process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of the process, as in `/proc/PID/comm`.
    pub process: &'static str,
    /// User that it runs as: `root` or the agent's own.
    pub user: &'static str,
    /// Effective capabilities.
    pub effective: &'static [&'static str],
    /// Permitted capabilities: what it could make effective.
    pub permitted: &'static [&'static str],
    /// Bounding set: the most that a program it starts could get.
    pub bounding: &'static [&'static str],
    /// System calls beyond reading files that it needs, in words.
    pub system_calls: &'static str,
    /// Sockets that it holds.
    pub sockets: &'static str,
    /// What somebody who takes it over gets.
    pub compromise: &'static str,
}

/// Every kind of process of the agent.
#[must_use]
pub fn table() -> &'static [Row] {
    &[]
}

/// The table as ARCHITECTURE.md shows it.
#[must_use]
pub fn markdown() -> String {
    String::new()
}
