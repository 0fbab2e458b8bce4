//! Polls: what a host read of one device of the network at one time.
//!
//! A poll stands alone: no chain, no dictionary of a session. A damaged or lost poll costs itself, and a poll
//! that comes twice changes nothing, because the controller knows its samples by device, series and time.
//! It holds tables and no series: names of labels, a row of label values for each port or sensor, and columns
//! of values. The controller makes series of them and adds the labels that say whose they are, so nothing
//! here can name another host's device.
//!
//! ```text
//! batch   = 1:u8  seq:varint  time:signed  content  checksum:u32le   of seq, time and the content's bytes
//! content = 1:u8  part:varint  parts:varint  length:varint  deflated body
//! body    = source:text  about:text  tables:varint  table*           about is JSON, empty for none
//! table   = labels:varint text*  rows:varint  (labels × rows):text*  columns:varint  column*
//! column  = kind:u8  name:text  [ presence: a bit per row, the first lowest ]  value*
//! kind    = 0 integers | 1 unsigned | 2 real | 3 mixed;  + 4: a counter;  + 8: with presence
//! value   = signed | varint | bits:u64le | number of its kind:u8 and then as that
//! text    = length:varint  UTF-8
//! ```
//!
//! The time of a poll is that of its batch and is written there only.
//!
//! # Who uses what
//!
//! The program that polls calls [`Poll::encode_parts`] and hands each content with the poll's time to the
//! agent's worker. That one calls [`encode_poll`], which looks at nothing but the length: what a device
//! answered is never decoded by the process that holds the host's identity. The controller calls
//! [`read_poll`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod about;
mod batch;
mod body;
mod parts;

pub use batch::{encode_poll, peek_poll, read_poll};

/// Version byte of batches of polls, and of their contents.
pub const POLL_VERSION: u8 = 1;

/// Longest content of one batch; a longer poll is several, see [`Poll::encode_parts`].
pub const MAX_POLL_BYTES: usize = 160 << 10;

/// Longest body before it is deflated. Nothing above it is unfolded.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Most values of one content, those that are absent included.
pub const MAX_SERIES_PER_POLL: usize = 20_000;

/// Most label values of one content.
pub const MAX_LABEL_VALUES: usize = 1 << 16;

/// Most tables of one content.
pub const MAX_TABLES: usize = 256;

/// Most labels, and most columns, of one table.
pub const MAX_WIDTH: usize = 256;

/// Most parts of one poll.
pub const MAX_PARTS: u16 = 64;

/// Most ports that [`About`] tells of.
pub const MAX_PORTS: usize = 2_000;

/// Most entries of [`About::facts`], and of [`About::left_out`].
pub const MAX_FACTS: usize = 64;

/// Most names of samples that are explained.
pub const MAX_MEASURES: usize = 256;

/// Most states of one of them.
pub const MAX_STATES: usize = 64;

/// Longest label value and text of [`About`], in bytes. A longer one is cut when it is written.
pub const MAX_TEXT_BYTES: usize = 512;

/// Longest name of a metric or a label, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// Longest name of a device, in bytes.
pub const MAX_DEVICE_BYTES: usize = 63;

/// Why a poll could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The bytes end early, run on or contradict themselves.
    #[error("poll is truncated or malformed")]
    Malformed,
    /// A version that this build does not know.
    #[error("poll has unknown version {0}")]
    Version(u8),
    /// More than a content may hold; a sender splits before it.
    #[error("poll has more {0} than one content may hold")]
    TooLarge(&'static str),
    /// The name of the source is none: lower-case letters, digits, `.`, `_` and `-`, a letter or digit first;
    /// that of a link with `link:` before it.
    #[error("{0:?} is no name of a device or a link")]
    Device(String),
    /// A metric or a label has no name that Prometheus would take.
    #[error("{0:?} is no name of a metric or a label")]
    Name(String),
    /// A row has not one value per label, or a column not one per row.
    #[error("a table's rows or columns are not of one length")]
    Shape,
    /// Neither NaN nor an infinity is a sample.
    #[error("a value of {0:?} is not a finite number")]
    NotFinite(String),
    /// The content does not match its checksum.
    #[error("poll does not match its checksum")]
    Checksum,
    /// The body does not unfold.
    #[error("poll does not decompress")]
    Compression(#[source] std::io::Error),
    /// What is said of the device is no JSON of ours.
    #[error("what the poll says of its device is not readable")]
    About(#[source] serde_json::Error),
}

/// What a host read of a device at one time, or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Poll {
    /// The device's name on the host that polls it: see [`is_device_name`]. Of a link that is measured, its name
    /// with `link:` before it: see [`link_source`].
    pub device: String,
    /// When the poll began by the host's clock, Unix milliseconds.
    pub time_ms: i64,
    /// Which part this is, from 0, and of how many; `(0, 1)` for a whole poll.
    pub part: (u16, u16),
    /// What the device is and how it answered: in the first part only.
    pub about: Option<About>,
    /// What it told.
    pub tables: Vec<PollTable>,
}

/// How a device answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It answered all that was asked.
    Answered,
    /// It answered, but not all that was asked.
    Partial,
    /// It was asked and said nothing.
    Silent,
    /// It refused the credentials.
    Refused,
    /// The network said that there is no way to it, or that nobody listens there.
    Unreachable,
    /// Nothing was asked, or a newer agent says what this build does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a device is and how it answered.
///
/// Unknown fields are ignored and missing ones are empty, so that older and newer peers understand each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// How it answered.
    pub state: DeviceState,
    /// Why it did not answer, or not all: a word of a closed list (`no_answer`, `wrong_password`,
    /// `deadline`, …); empty for one that answered.
    pub problem: String,
    /// Where it was asked: address and port.
    pub address: String,
    /// The profile by which it was read.
    pub profile: String,
    /// Version of that profile.
    pub profile_version: u32,
    /// What kind of device it is: `ups`, `switch`, …
    pub kind: String,
    /// The profile's label in Chinese.
    pub label_zh: String,
    /// The profile's label in English.
    pub label_en: String,
    /// sysName.
    pub name: String,
    /// sysDescr.
    pub description: String,
    /// sysObjectID, dotted.
    pub object_id: String,
    /// Model, serial number, firmware and the like, by name. At most [`MAX_FACTS`].
    #[serde(deserialize_with = "about::facts")]
    pub facts: BTreeMap<String, String>,
    /// For how long the device is up, seconds.
    pub uptime_s: Option<u64>,
    /// Seconds between polls.
    pub every_s: u32,
    /// Its ports, at most [`MAX_PORTS`].
    #[serde(deserialize_with = "about::ports")]
    pub ports: Vec<PortAbout>,
    /// What its samples are called, at most [`MAX_MEASURES`].
    #[serde(
        deserialize_with = "about::measures",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub measures: Vec<MeasureAbout>,
    /// Values without a sample, by reason. At most [`MAX_FACTS`] reasons.
    #[serde(deserialize_with = "about::left_out")]
    pub left_out: BTreeMap<String, u64>,
    /// No profile knows this device: it was read by what all devices have in common.
    pub needs_profile: bool,
}

/// What people call the samples of a name, so that nobody has to know the vendor's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasureAbout {
    /// Name of the samples.
    pub name: String,
    /// Their label `measure`; empty where the name says enough.
    pub measure: String,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
    /// What it is counted in, a word of profiles: `percent`, `celsius`; empty for a plain number.
    pub unit: String,
    /// What its numbers mean, if it is a state; at most [`MAX_STATES`].
    #[serde(
        deserialize_with = "about::states",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub states: Vec<StateAbout>,
}

/// What one number of a state means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateAbout {
    /// The number.
    pub value: i64,
    /// How bad it is: `ok`, `unknown`, `warning` or `critical`.
    pub level: String,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// A port of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortAbout {
    /// Its stable name, which its samples carry as `ifName`.
    pub name: String,
    /// What the network's people call it: ifAlias.
    pub alias: String,
    /// ifDescr.
    pub descr: String,
    /// ifType as a word.
    pub kind: String,
    /// Hardware address.
    pub mac: String,
    /// Bits per second; 0 where unknown.
    pub speed: u64,
    /// Whether somebody wants it up: ifAdminStatus.
    pub enabled: bool,
    /// ifOperStatus as a word.
    pub state: String,
}

/// Values of one table of a device. What a device has once is a table without labels, of one empty row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollTable {
    /// Names of the labels.
    pub labels: Vec<String>,
    /// For each row a value for each label; an empty one is a label that the row has not.
    pub rows: Vec<Vec<String>>,
    /// The metrics.
    pub columns: Vec<PollColumn>,
}

/// Values of one metric, one for each row of its table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PollColumn {
    /// Name of the metric.
    pub name: String,
    /// Whether it only grows until the device starts again.
    pub counter: bool,
    /// The values; `None` where there is no sample.
    pub values: Vec<Option<PollValue>>,
}

/// One value. Integers stay integers until the controller stores them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PollValue {
    /// A signed integer.
    Integer(i64),
    /// An unsigned one: counters of 64 bits.
    Unsigned(u64),
    /// Anything else that is a finite number.
    Real(f64),
}

impl PollValue {
    /// The value as samples are kept: beyond 2^53 an integer loses its last digits.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

impl Poll {
    /// Appends the content of this poll, or of this part of one, to `out`.
    ///
    /// # Errors
    /// A name that is none, a value that is no number, rows of different lengths, or more than one content
    /// may hold; `out` is then as it was. Texts that are too long are cut and no error.
    pub fn encode_content(&self, out: &mut Vec<u8>) -> Result<(), PollError> {
        let body = body::encode(&self.device, self.about.as_ref(), &self.tables)?;
        body.write(self.part, out)
    }

    /// The contents of this poll: one, or several if it is too large for one. [`Poll::part`] is not looked
    /// at. All of them belong into batches of this poll's time, in their order.
    ///
    /// # Errors
    /// As [`Poll::encode_content`], and [`PollError::TooLarge`] if not even a single row fits, or if there
    /// would be more than [`MAX_PARTS`].
    pub fn encode_parts(&self) -> Result<Vec<Vec<u8>>, PollError> {
        parts::encode(self)
    }

    /// Number of samples: values that are not absent.
    #[must_use]
    pub fn samples(&self) -> usize {
        let columns = self.tables.iter().flat_map(|table| &table.columns);
        columns
            .map(|column| column.values.iter().flatten().count())
            .sum()
    }
}

impl DeviceState {
    /// Lower-case word for logs, rows and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Partial => "partial",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a text may name a device: 1 to 63 lower-case letters, digits, `.`, `_` and `-`, of which the first
/// is a letter or a digit.
#[must_use]
pub fn is_device_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_DEVICE_BYTES
        && bytes.next().is_some_and(is_plain)
        && bytes.all(|byte| is_plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// What polls of a link have in the place of a device's name: what is measured of a line between two places
/// comes as what is read of a device does. No device has such a name.
#[must_use]
pub fn link_source(link: &str) -> String {
    format!("{LINK}{link}")
}

/// The name of the link whose polls have this in the place of a device's name; `None` for a device.
#[must_use]
pub fn link_of(source: &str) -> Option<&str> {
    source.strip_prefix(LINK)
}

/// Whether a text may stand in the place of a device's name: a device, or a link.
#[must_use]
pub fn is_source_name(text: &str) -> bool {
    is_device_name(link_of(text).unwrap_or(text))
}

/// What the names of links have before them.
const LINK: &str = "link:";

/// Whether a text may name a metric of a poll: as Prometheus has it, without colons.
#[must_use]
pub fn is_metric_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.len() <= MAX_NAME_BYTES
        && bytes.next().is_some_and(is_letter)
        && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// Whether a text may name a label of a poll: as a metric, but those that begin with `__` are Prometheus's own.
#[must_use]
pub fn is_label_name(text: &str) -> bool {
    is_metric_name(text) && !text.starts_with("__")
}

/// A text as it may travel: control characters are spaces, and it is cut at [`MAX_TEXT_BYTES`].
#[must_use]
pub fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let kept = text.get(..end).unwrap_or_default();
    kept.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect()
}

#[cfg(test)]
mod tests;
