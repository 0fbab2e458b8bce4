//! What a watcher is.

/// One source of security events.
pub(crate) trait Watcher: Send {}
