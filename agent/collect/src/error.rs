//! What can go wrong while reading a host.
//!
//! A collector returns at most one error; whatever it could read has been pushed before. The
//! texts name the file and the step but never its content, so that the same trouble has the same
//! text every time and is logged once.

use std::io;

use xiezhi_protocol::report::Refusal;

/// Largest file that a collector reads, in bytes. The largest ordinary one is `/proc/stat` of a
/// machine with thousands of interrupt lines, about 200 kB.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// Why a collector's data is missing or incomplete.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A file or folder could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The path below `/proc`, `/sys` or `/`.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file exceeds [`MAX_FILE_BYTES`]; its beginning was used.
    #[error("{path} is larger than {MAX_FILE_BYTES} bytes; the rest was not read")]
    TooLarge {
        /// The path below `/proc`, `/sys` or `/`.
        path: String,
    },
    /// A line or value does not have the form that the kernel's documentation gives it.
    #[error("{path}: {what}")]
    Malformed {
        /// The path below `/proc`, `/sys` or `/`.
        path: &'static str,
        /// What was expected.
        what: &'static str,
    },
    /// A system call or a service did not answer.
    #[error("{what} failed")]
    Call {
        /// The call.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This host does not offer the data at all; the text says what is lost by that.
    #[error("not offered by this host: {0}")]
    NoData(&'static str),
    /// More things than the collector's bound; the first ones were reported.
    #[error("{what}: only the first {limit} are reported")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The report refused samples.
    #[error("{count} samples were refused")]
    Refused {
        /// How many.
        count: u32,
        /// Why the first one was.
        #[source]
        first: Refusal,
    },
    /// Several things went wrong in one run.
    #[error("{count} problems, the first of them follows")]
    Several {
        /// How many.
        count: u32,
        /// The first.
        #[source]
        first: Box<CollectError>,
    },
}

impl CollectError {
    /// Whether nothing is wrong with the host: it only lacks this feature.
    #[must_use]
    pub fn is_no_data(&self) -> bool {
        matches!(self, Self::NoData(_))
    }

    /// Whether a file or folder was missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The error with all its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Gathers the problems of one run, so that the readings after the first problem still happen.
#[derive(Debug, Default)]
pub struct Problems {
    first: Option<CollectError>,
    count: u32,
}

impl Problems {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one.
    pub fn add(&mut self, error: CollectError) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert(error);
    }

    /// Notes that `path` does not have the expected form.
    pub fn malformed(&mut self, path: &'static str, what: &'static str) {
        self.add(CollectError::Malformed { path, what });
    }

    /// The value, or `None` after noting the error.
    pub fn check<T>(&mut self, result: Result<T, CollectError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// What the run ends with.
    ///
    /// # Errors
    /// The only problem, or [`CollectError::Several`].
    pub fn finish(self) -> Result<(), CollectError> {
        match (self.first, self.count) {
            (None, _) => Ok(()),
            (Some(only), 0 | 1) => Err(only),
            (Some(first), count) => Err(CollectError::Several {
                count,
                first: Box::new(first),
            }),
        }
    }
}
