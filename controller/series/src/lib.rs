//! Samples of all hosts, embedded: frames are the write-ahead log and the head.
//!
//! A frame that an agent sent is written to the log as it came, made durable, indexed and
//! acknowledged. Each hour the log is sealed: its records are grouped by host, so that a query
//! reads one place per hour. Nothing is decoded before someone asks for points.
//!
//! **Acknowledged means that fdatasync returned.** [`SeriesStore::append`] makes one write and one
//! fdatasync for all frames of the call and returns after both; callers gather frames of many
//! hosts into one call.
//!
//! The store never decides about epochs, never talks to the network and never holds SQL.

mod error;
mod frame;
mod options;
mod store;

pub use error::SeriesError;
pub use frame::{
    Appended, Damage, Frame, HostKey, Latest, RangeAnswer, SeriesPoints, SeriesStats, StoredFrame,
    VerifyReport,
};
pub use options::{Clock, QueryLimits, Sealing, SeriesOptions};
pub use store::SeriesStore;
