//! Samples of all hosts, embedded: frames are the write-ahead log, columns are the head and the blocks.
//!
//! A frame that an agent sent is written to the log as it came, made durable and acknowledged; then
//! its samples are kept in memory, by host and column. Each half hour the log and what the head holds
//! of it become a block, laid out by series and then host, so that a metric of all hosts is read in
//! one go and a series of one host by two small reads. Blocks that follow each other are merged, up
//! to a day. Why so: docs/adr/011.
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
//! Samples of others than our agents come decoded, by [`SeriesStore::append_foreign`], and are known by
//! series and time instead; from the log on they go the same way.
//!
//! ```text
//! append → writer → log ── half an hour ──→ cut → block ── merge → block of a day ── retention ──→ gone
//!            │       └─→ head: host → chain → runs of columns ┘
//!            └─ lanes: (host, epoch) → ranges, last 256 checksums → checkpoint at each cut
//! range  → reading (heads, then blocks) → points
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `wal-N.log` | frames and foreign samples in order of arrival; the highest N is being written, and one that a block has is held for who follows |
//! | `block-N-M.xzb` | the samples of logs N to M as columns, and which frames those were |
//! | `rollup-N-M-S.xzb` | the same in steps of S seconds |
//! | `segment-N.xzs` | a log of the first format, grouped by host; read until retention removes it |
//! | `dedup.checkpoint`, `dedup.previous` | what is stored, so that opening is quick |
//! | `*.tmp` | unfinished; removed when the store is opened |
//! | `*.torn` | what was cut off the end of a log; goes when all samples of its time are gone |
//! | `*.damaged` | set aside because it is unreadable; for a person to look at |
//!
//! | module | what it does |
//! |---|---|
//! | `column`, `chunk` | values as few bytes, and their times; pure |
//! | `head` | frames become columns in memory: texts, chains, runs; tails of foreign series |
//! | `foreign` | samples of sources that are no hosts: judged by series and time |
//! | `block` | columns on disk: pages, directory, ledger, footer |
//! | `cut`, `merge`, `rollup`, `maintain` | log → block → larger block → rollups → retention |
//! | `stepless` | samples that are due to go while there is no room for their steps |
//! | `tail`, `held` | following the log, for who sends samples on |
//! | `damage` | which places are damaged, each told once; what is kept for a person |
//! | `refused` | places that the disk refuses to read, which become damage |
//! | `lacking` | what an answer lacks, and says so |
//! | `stray` | what is named as a file of ours and is none |
//! | `unread`, `unsent` | files that it refused at the start, which wait until it gives them; what a follower missed of them |
//! | `verify`, `backup`, `check` | reading everything; a copy while the store runs, and whether it is whole |
//! | `reading`, `query`, `select` | what callers ask: points of a host, series by label |
//! | `writer`, `log`, `record`, `scan`, `lane`, `recall`, `checkpoint`, `open` | durability and de-duplication |
//! | `segment`, `gather`, `legacy` | the first format |
//!
//! The store never decides about epochs, never talks to the network and never holds SQL.

mod arrivals;
mod backup;
mod block;
mod check;
mod checkpoint;
mod chunk;
mod column;
mod cut;
mod damage;
pub mod disk;
mod engine;
mod error;
mod foreign;
mod frame;
pub mod fuzz;
mod gather;
mod head;
mod held;
mod lacking;
mod lane;
mod late;
mod legacy;
mod lock;
mod log;
mod maintain;
mod merge;
mod open;
mod options;
mod output;
mod query;
mod reading;
mod recall;
mod record;
mod refused;
mod rollup;
mod scan;
mod segment;
mod select;
mod stepless;
mod store;
mod stray;
mod tail;
mod unread;
mod unsent;
mod verify;
mod writer;

pub use check::{BackupCheck, check_backup};
pub use error::SeriesError;
pub use foreign::{ForeignReport, ForeignSeries, ForeignSource, SeriesRefusal};
pub use frame::{
    Appended, BackupReport, Damage, DamageMet, Frame, HostKey, Latest, RangeAnswer, SealingTrouble,
    SeriesPoints, SeriesStats, StoredFrame, Undecoded, VerifyReport, WithoutSteps, device_key,
    device_of,
};
pub use head::left_out::LeftOut;
pub use options::{AskAgain, Clock, QueryLimits, Sealing, SeriesLimits, SeriesOptions};
pub use select::{HostLabels, LabelledHost, Selector};
pub use store::SeriesStore;
pub use tail::{Missed, Place, Tail, TailReport};
