//! The hash chain that audit and evidence share: who did what to what, in an order that nobody can
//! rewrite unnoticed; and the check of a host's signature.
//!
//! Each [`Record`] holds the hash of the one before it, so a changed, removed, inserted or reordered
//! record breaks the chain at a place that [`fn@verify`] names. What a chain alone cannot show is that
//! its *newest* records were cut off: for that, keep the [`Head`] somewhere else (in another log, on
//! paper, in the next bulletin) and compare it with what [`fn@verify`] returns.
//!
//! This crate is pure: it holds no clock, no storage and no locks. The store keeps one row per record
//! and appends inside the transaction of the deed that it records: read the newest row's
//! [`Record::head`] (or [`Head::genesis`]), call [`append`], insert, commit.
//!
//! | stored column | type | from |
//! |---|---|---|
//! | seq | integer, primary key | [`Record::seq`], from 1 without gaps |
//! | previous, hash, detail_hash | text, 64 hex digits | [`struct@Hash`]'s `Display` and `FromStr` |
//! | time_ms | integer | [`Record::time_ms`] |
//! | actor, action, subject | text | byte for byte as given |
//! | detail | text, may later be erased | the bytes that were hashed; see [`Record::detail_matches`] |
//!
//! # Canonical bytes, version 1
//!
//! A record's hash is SHA-256 over exactly these bytes; numbers are big-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format version, `0x01` |
//! | 8 | sequence number, u64 |
//! | 32 | hash of the record before |
//! | 8 | time, Unix milliseconds, i64 |
//! | 4 + n | actor: length in bytes as u32, then UTF-8 |
//! | 4 + n | action, likewise |
//! | 4 + n | subject, likewise |
//! | 32 | SHA-256 over the detail's bytes |
//!
//! The first record's "hash of the record before" is SHA-256 over `xiezhi-evidence/1/` followed by the
//! chain's name, so that a record cannot be moved from one chain to the other. The detail enters only
//! as a hash: its text may be erased when its retention ends, and the chain still verifies.

mod batch;
mod file;
mod hash;
mod record;
mod signature;
mod verify;

pub use batch::{judge, signed_text};
pub use file::{ChainFile, ChainLine, FileFault, first_line, last_line, verify_file};
pub use hash::{Hash, ParseHashError};
pub use record::{AppendError, Entry, Head, MAX_TEXT_BYTES, Record, append};
pub use signature::PublicKey;
pub use verify::{Broken, Reason, Verifier, verify};
