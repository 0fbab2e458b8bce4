//! What only root can read, asked for by a closed set of fixed-size requests.
//!
//! The watchers run without any capability. They ask a [`Privileged`], which in production is the
//! client of the agent's warden (it starts one short-lived helper process per request) and in
//! tests [`Direct`]. The functions that the helpers run live here too ([`serve`]), so that asking
//! and answering stay in one place. An answer is a bounded run of bytes; it never contains
//! a secret: keys are answered as fingerprints, files as metadata.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest answer that is kept; a longer one is cut and counts as failed.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Log files that are readable by root only on some distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootLog {
    /// `/var/log/audit/audit.log`.
    Audit,
    /// `/var/log/secure` (Red Hat family, openEuler, Kylin server).
    Secure,
    /// `/var/log/auth.log` (Debian family, UOS, Kylin desktop).
    AuthLog,
}

impl RootLog {
    /// Path below the host's root folder.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Audit => "var/log/audit/audit.log",
            Self::Secure => "var/log/secure",
            Self::AuthLog => "var/log/auth.log",
        }
    }
}

/// A place in a log file that survives rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Inode of the file when it was read last.
    pub inode: u64,
    /// Bytes already consumed; always the end of a line.
    pub offset: u64,
    /// CRC-32 of the file's first `head_len` bytes: tells a truncated and regrown file from the
    /// one that was read.
    pub head_crc: u32,
    /// How many bytes `head_crc` covers.
    pub head_len: u32,
}

/// One privileged request. Closed: nothing else can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The bytes of a log after a position; `None` asks for the position of its end.
    LogTail(RootLog, Option<Position>),
    /// Every authorised key of every local account, as fingerprints.
    AuthorizedKeys,
    /// Every setuid and setgid file on local file systems, as metadata.
    SetuidScan,
    /// Serial numbers of the machine from `/sys/class/dmi/id`.
    Dmi,
}

/// Words that an encoded [`Ask`] takes.
pub const ASK_WORDS: usize = 6;

/// Why a privileged request was not served.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegedError {
    /// The agent runs without a warden (not started as root).
    #[error("no privileged helper: the agent was not started as root")]
    Unavailable,
    /// Too many requests are under way; ask again later.
    #[error("privileged helper is busy")]
    Busy,
    /// The connection to the warden broke.
    #[error("cannot talk to the warden")]
    Connection(#[source] io::Error),
}

/// An answer that is complete, or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What [`Privileged::ask`] returned.
    pub id: u64,
    /// All bytes, or the reason in words.
    pub result: Result<Vec<u8>, String>,
}

/// Serves privileged requests without blocking the caller.
pub trait Privileged: Send {
    /// Starts a request and returns its number.
    ///
    /// # Errors
    /// If it cannot be started; the caller states the loss and may ask again later.
    fn ask(&mut self, ask: Ask) -> Result<u64, PrivilegedError>;

    /// Answers that became complete since the last call; never blocks.
    fn take(&mut self) -> Vec<Answer>;
}

/// No helper at all: every request is refused, every loss is stated.
#[derive(Debug, Default)]
pub struct Unprivileged;

impl Privileged for Unprivileged {
    fn ask(&mut self, _ask: Ask) -> Result<u64, PrivilegedError> {
        Err(PrivilegedError::Unavailable)
    }

    fn take(&mut self) -> Vec<Answer> {
        Vec::new()
    }
}

/// Serves in this process with this process's rights: for tests.
#[derive(Debug)]
pub struct Direct {
    root: PathBuf,
    next: u64,
    done: Vec<Answer>,
}

impl Direct {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            next: 0,
            done: Vec::new(),
        }
    }
}

impl Privileged for Direct {
    fn ask(&mut self, ask: Ask) -> Result<u64, PrivilegedError> {
        self.next += 1;
        let mut out = Vec::new();
        let result = serve(ask, &self.root, &mut || {}, &mut out)
            .map(|()| out)
            .map_err(|e| e.to_string());
        self.done.push(Answer {
            id: self.next,
            result,
        });
        Ok(self.next)
    }

    fn take(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.done)
    }
}

/// Answers one request: what a helper process does.
///
/// `pause` is called every few milliseconds of work, so that a long scan can be made gentle.
///
/// # Errors
/// If the source cannot be read or `out` cannot be written.
pub fn serve(
    ask: Ask,
    root: &Path,
    pause: &mut dyn FnMut(),
    out: &mut dyn Write,
) -> io::Result<()> {
    match ask {
        Ask::LogTail(log, position) => super::logfile::serve(&root.join(log.path()), position, out),
        Ask::AuthorizedKeys => super::keys::serve(root, pause, out),
        Ask::SetuidScan => super::setuid::serve(root, pause, out),
        Ask::Dmi => serve_dmi(root, out),
    }
}

/// Serial numbers as `name=value` lines; those that a machine lacks are left out.
fn serve_dmi(root: &Path, out: &mut dyn Write) -> io::Result<()> {
    for name in [
        "product_serial",
        "product_uuid",
        "board_serial",
        "chassis_serial",
    ] {
        let path = root.join("sys/class/dmi/id").join(name);
        if let Ok(text) = super::read_bounded(&path, 4096) {
            let value: String = text
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(128)
                .collect();
            writeln!(out, "{name}={value}")?;
        }
    }
    Ok(())
}

impl Ask {
    /// The name of the helper that serves it, and its row in the privilege table.
    #[must_use]
    pub const fn helper(&self) -> &'static str {
        match self {
            Self::LogTail(..) => "log-tail",
            Self::AuthorizedKeys => "authorized-keys",
            Self::SetuidScan => "setuid-scan",
            Self::Dmi => "dmi",
        }
    }

    /// The request as words of fixed number: kind, log, position.
    #[must_use]
    pub fn encode(&self) -> [u64; ASK_WORDS] {
        match *self {
            Self::LogTail(log, position) => {
                let log = match log {
                    RootLog::Audit => 1,
                    RootLog::Secure => 2,
                    RootLog::AuthLog => 3,
                };
                match position {
                    None => [1, log, 0, 0, 0, 0],
                    Some(at) => {
                        let head = u64::from(at.head_crc) << 32 | u64::from(at.head_len);
                        [1, log, 1, at.inode, at.offset, head]
                    }
                }
            }
            Self::AuthorizedKeys => [2, 0, 0, 0, 0, 0],
            Self::SetuidScan => [3, 0, 0, 0, 0, 0],
            Self::Dmi => [4, 0, 0, 0, 0, 0],
        }
    }

    /// Reads what [`Ask::encode`] gave; `None` for anything else.
    #[must_use]
    pub fn decode(words: [u64; ASK_WORDS]) -> Option<Self> {
        let log = |number| match number {
            1 => Some(RootLog::Audit),
            2 => Some(RootLog::Secure),
            3 => Some(RootLog::AuthLog),
            _ => None,
        };
        match words {
            [1, number, 0, 0, 0, 0] => Some(Self::LogTail(log(number)?, None)),
            [1, number, 1, inode, offset, head] => {
                let head_crc = u32::try_from(head >> 32).ok()?;
                let head_len = u32::try_from(head & u64::from(u32::MAX)).ok()?;
                let position = Position {
                    inode,
                    offset,
                    head_crc,
                    head_len,
                };
                Some(Self::LogTail(log(number)?, Some(position)))
            }
            [2, 0, 0, 0, 0, 0] => Some(Self::AuthorizedKeys),
            [3, 0, 0, 0, 0, 0] => Some(Self::SetuidScan),
            [4, 0, 0, 0, 0, 0] => Some(Self::Dmi),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_come_back_as_they_went(inode: u64, offset: u64, head_crc: u32, head_len: u32) {
            let position = Position { inode, offset, head_crc, head_len };
            for log in [RootLog::Audit, RootLog::Secure, RootLog::AuthLog] {
                for ask in [Ask::LogTail(log, Some(position)), Ask::LogTail(log, None)] {
                    prop_assert_eq!(Ask::decode(ask.encode()), Some(ask));
                }
            }
        }

        #[test]
        fn arbitrary_words_are_a_request_or_refused(words: [u64; ASK_WORDS]) {
            if let Some(ask) = Ask::decode(words) {
                prop_assert_eq!(ask.encode(), words);
            }
        }
    }
}
