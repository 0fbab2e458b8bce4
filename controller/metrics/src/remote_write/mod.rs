//! Remote write: what Prometheus, vmagent or categraf send, checked series by series.
//!
//! Two things are kept apart. A body that cannot be read at all ([`BodyError`]) is refused whole: its
//! sender has a fault, and to send it again changes nothing. A body that can be read is taken series
//! by series: what breaks a rule is counted with a [`Refusal`] and an example, and the rest is stored.
//! Prometheus refuses a whole request for one bad series; a sender then loses what was good in it.
//!
//! Versions 1.0 and 2.0 of the protocol are read, without exemplars and native histograms, which are
//! counted as refused rather than lost in silence.
//!
//! What was read is stored by [`receive()`], under the rules of `xiezhi_series` for foreign sources; what a
//! sender tells of its metrics is kept in memory ([`Described`]), since senders tell it every minute.
//!
//! Sources: the specifications "Prometheus Remote-Write 1.0" and "2.0"; the snappy block format.

mod body;
mod check;
mod describe;
pub mod encode;
mod message;
mod receive;

pub use body::{BodyError, MAX_BODY_BYTES, MAX_DECODED_BYTES, MAX_SYMBOL_BYTES, Protocol, decode};
pub use check::{
    Checked, Doubled, MAX_LABEL_BYTES, MAX_LABELS, MAX_SERIES_TEXT_BYTES, Refusal, Refusals, Rules,
    Written, check,
};
pub use describe::{Described, Description, descriptions};
pub use receive::{Receipt, ReceiveError, receive};
