//! What can go wrong with a spool, and its limits.

use std::path::{Path, PathBuf};

/// How much a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk of all streams together.
    pub max_bytes: u64,
    /// Age of a batch in milliseconds, counted only while the agent runs: a host that was off for
    /// a week, or whose clock was set two years ahead, loses nothing by it.
    pub max_age_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_age_ms: 7 * 24 * 3600 * 1000,
        }
    }
}

/// Why the spool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process holds the folder.
    #[error("spool {path} is in use by another agent: stop it first")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A delta frame without the frame before it: encode the batch again as a key frame.
    #[error("batch {seq} does not continue the open chain: encode it as a key frame")]
    NeedsKey {
        /// Its number.
        seq: u64,
    },
    /// Not the number that [`crate::Spool::next_seq`] gave.
    #[error("sequence number {seq} is not the next one, {expected}")]
    OutOfOrder {
        /// Number that was given.
        seq: u64,
        /// Number that was expected.
        expected: u64,
    },
    /// No room for this batch: all that would have to give way matters more. It is counted.
    #[error("spool is full: batch {seq} was given up")]
    Full {
        /// Its number.
        seq: u64,
    },
    /// The batch or text alone exceeds what a record may hold; nothing was changed.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Epoch, session or sequence numbers could not be made durable.
    #[error("cannot make the spool's state durable")]
    State(#[source] std::io::Error),
}

impl SpoolError {
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
