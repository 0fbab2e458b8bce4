//! Why the store could not do what it was asked to.

use std::io;
use std::path::PathBuf;

/// Errors of the series store.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// Another process has the folder open.
    #[error(
        "series folder {dir} is in use by {holder}; stop it, or give this controller a folder of its own"
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// The disk is full. Nothing of the call was stored, nothing acknowledged was lost; the store
    /// goes on by itself as soon as there is space.
    #[error(
        "disk of {path} is full: samples wait at the agents until space is freed or retention is shortened"
    )]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A frame or a group of frames exceeds what a record or a segment can hold.
    #[error(
        "a {what} of {bytes} bytes is above the limit of {limit} bytes: send fewer samples in one"
    )]
    TooLarge {
        /// `frame`, `group of frames` or `request`.
        what: &'static str,
        /// How many there were.
        bytes: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A query would read or return more than it may.
    #[error("query needs more than {limit} {what}: ask for a shorter time or fewer series")]
    TooMuch {
        /// What there would be too many of.
        what: &'static str,
        /// The limit that was passed.
        limit: u64,
    },
    /// Foreign samples were handed over under a key that may be a host's.
    #[error("{0} is no key of a foreign source: those are below zero")]
    NoSource(i64),
    /// A series of a source was forgotten between its check and its writing, which only a clock that
    /// is set makes possible. Nothing of the call was stored; it will be when it is made again.
    #[error("a series was forgotten while its samples were to be written: send them again")]
    Forgotten,
    /// Background work was stopped because the store is closing.
    #[error("series store is closing")]
    Closing,
}

impl SeriesError {
    /// Wraps an I/O error; a lack of space becomes [`SeriesError::Full`].
    pub(crate) fn io(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { path, source },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Whether the error says that the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
