//! Samples of all hosts, embedded: frames are the write-ahead log and the head.
//!
//! A frame that an agent sent is written to the log as it came, made durable, indexed and
//! acknowledged. Each hour the log is sealed: its records are grouped by host, so that a query
//! reads one place per hour. Nothing is decoded before someone asks for points.
//!
//! **Acknowledged means that fdatasync returned.** [`SeriesStore::append`] makes one write and one
//! fdatasync for all frames of the call and returns after both; callers gather frames of many
//! hosts into one call. A group that was cut short is cut off again, at once or when the store is
//! next opened. A last group that is whole although the power went before its acknowledgement
//! stays, and the agent's repetition of it is a replay.
//!
//! A frame is known by (host, epoch, sequence number) and its content checksum. The same content
//! again is a [`Appended::Replay`]; other content is a [`Appended::Conflict`], and nothing is
//! stored until the caller has opened another epoch.
//!
//! ```text
//! append → writer → log ──── an hour ───→ seal → segment ── retention ──→ gone
//!            │       └─ index: host → offsets       └─ footer: host, epoch → region
//!            └─ lanes: (host, epoch) → ranges, last 256 checksums → checkpoint at each seal
//! range  → gather (segments, logs) → chains → codec::Decoder → points
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `wal-N.log` | frames in order of arrival; the highest N is being written |
//! | `segment-N.xzs` | a sealed log, grouped by host |
//! | `dedup.checkpoint`, `dedup.previous` | what is stored, so that opening is quick |
//! | `*.tmp` | unfinished; removed when the store is opened |
//! | `*.damaged` | set aside because the header is unreadable; for a person to look at |
//!
//! The store never decides about epochs, never talks to the network and never holds SQL.

mod checkpoint;
pub mod disk;
mod engine;
mod error;
mod frame;
pub mod fuzz;
mod gather;
mod lane;
mod lock;
mod log;
mod maintain;
mod open;
mod options;
mod query;
mod recall;
mod record;
mod scan;
mod seal;
mod segment;
mod store;
mod verify;
mod writer;

pub use error::SeriesError;
pub use frame::{
    Appended, Damage, Frame, HostKey, Latest, RangeAnswer, SeriesPoints, SeriesStats, StoredFrame,
    VerifyReport,
};
pub use options::{Clock, QueryLimits, Sealing, SeriesOptions};
pub use store::SeriesStore;
