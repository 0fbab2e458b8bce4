//! The worker's side of the warden's socket.

use std::time::Duration;

use xiezhi_collect::security::privileged::{Answer, Ask, Privileged, PrivilegedError};

/// Asks the warden for privileged answers. Never blocks unless told to.
#[derive(Debug)]
pub struct PrivilegedClient {}

impl PrivilegedClient {
    /// The client for the socket that the warden left as standard input; `None` if this process
    /// was not started by a warden.
    #[must_use]
    pub fn from_stdin() -> Option<Self> {
        None
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    /// As [`Privileged::ask`], or a description of what the helper could not do.
    pub fn request(&mut self, ask: Ask, timeout: Duration) -> Result<Vec<u8>, PrivilegedError> {
        let _ = (ask, timeout);
        Err(PrivilegedError::Unavailable)
    }
}

impl Privileged for PrivilegedClient {
    fn ask(&mut self, _ask: Ask) -> Result<u64, PrivilegedError> {
        Err(PrivilegedError::Unavailable)
    }

    fn take(&mut self) -> Vec<Answer> {
        Vec::new()
    }
}
