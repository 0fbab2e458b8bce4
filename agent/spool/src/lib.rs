//! The agent's bounded, durable queue of batches.
//!
//! A batch is appended before it is sent and stays until the controller acknowledged it, so a cut
//! line, a killed agent or a stopped controller loses nothing. When the queue reaches its bound the
//! oldest samples give way first, then events, security events last, and every batch that is given
//! up is counted with its numbers, times and reason.
//!
//! | what happens | what is lost |
//! |---|---|
//! | the agent is killed at any moment | nothing |
//! | the power is cut | samples and ordinary events of the last minute; no security event |
//! | the disk is full | nothing while 256 KiB in memory last; then the oldest, counted |
//! | a record is damaged | that record; of samples the rest of its chain, at most 240 frames |
//! | the folder is restored from an old copy | nothing: the controller notices and opens an epoch |
//!
//! After a power cut up to 1,000 sequence numbers of a stream may be passed over, because numbers
//! beyond the last durable record may have been sent and must not be used again.
//!
//! It never decodes a batch and never touches the network. Calls block on the disk for as long as a
//! write or sync takes.

mod disk;
mod drops;
mod error;
mod lane;
mod open;
mod ranges;
mod read;
mod room;
mod segment;
mod spool;
mod state;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use error::{Limits, SpoolError};
pub use read::{Cursor, Record};
pub use spool::{Counters, Spool};
