//! One record of a chain, and how the next one is made.

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// Longest actor, action or subject, in bytes; the long part of a record belongs into its detail.
pub const MAX_TEXT_BYTES: usize = 1024;

/// First byte of the canonical bytes.
const VERSION: u8 = 1;

/// What is about to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When, Unix milliseconds by the controller's clock.
    pub time_ms: i64,
    /// Who: a user's name, `host:17`, or `system`.
    pub actor: &'a str,
    /// What was done, a stable word such as `host.revoke`.
    pub action: &'a str,
    /// To what, such as `host:17`; may be empty.
    pub subject: &'a str,
    /// The rest, usually JSON text. Hashed byte for byte: store exactly these bytes.
    pub detail: &'a [u8],
}

/// Where a chain ends: the number and the hash of its newest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the newest record; 0 for an empty chain.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// One record of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the chain, from 1 without gaps.
    pub seq: u64,
    /// Hash of the record before; for the first one, of the chain's name.
    pub previous: Hash,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// SHA-256 over the detail's bytes.
    pub detail_hash: Hash,
    /// SHA-256 over [`Record::canonical_bytes`].
    pub hash: Hash,
}

/// Why an entry cannot become a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A text is longer than [`MAX_TEXT_BYTES`].
    #[error(
        "{field} has {bytes} bytes, more than the {MAX_TEXT_BYTES} allowed: move it to the detail"
    )]
    TooLong {
        /// Which of the three texts.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// The chain has 2^64 - 1 records.
    #[error("the chain is full")]
    Full,
}

impl Head {
    /// Head of the empty chain of this name; the chains in use are `audit` and `security`.
    #[must_use]
    pub fn genesis(chain: &str) -> Self {
        Self {
            seq: 0,
            hash: Hash::of(format!("xiezhi-evidence/1/{chain}").as_bytes()),
        }
    }
}

/// Makes the record that follows `head`. Nothing is stored: the caller inserts the record in the
/// transaction in which it read `head`.
///
/// # Errors
/// If one of the three texts is too long.
pub fn append(head: &Head, entry: &Entry<'_>) -> Result<Record, AppendError> {
    let texts = [
        ("actor", entry.actor),
        ("action", entry.action),
        ("subject", entry.subject),
    ];
    for (field, text) in texts {
        if text.len() > MAX_TEXT_BYTES {
            return Err(AppendError::TooLong {
                field,
                bytes: text.len(),
            });
        }
    }
    let mut record = Record {
        seq: head.seq.checked_add(1).ok_or(AppendError::Full)?,
        previous: head.hash,
        time_ms: entry.time_ms,
        actor: entry.actor.to_owned(),
        action: entry.action.to_owned(),
        subject: entry.subject.to_owned(),
        detail_hash: Hash::of(entry.detail),
        hash: Hash([0; 32]),
    };
    record.hash = Hash::of(&record.canonical_bytes());
    Ok(record)
}

impl Record {
    /// The bytes over which the record's hash is taken; the layout is in the crate's documentation.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let texts = [&self.actor, &self.action, &self.subject];
        let mut out = Vec::with_capacity(93 + texts.iter().map(|text| text.len()).sum::<usize>());
        out.push(VERSION);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.previous.0);
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        for text in texts {
            // A longer text than `append` allows can only come from a damaged row; saturating keeps
            // the bytes well defined, and the hash then differs.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.detail_hash.0);
        out
    }

    /// Whether the stored hash is the hash of the stored content.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        Hash::of(&self.canonical_bytes()) == self.hash
    }

    /// Whether these bytes are the detail that was recorded.
    #[must_use]
    pub fn detail_matches(&self, detail: &[u8]) -> bool {
        Hash::of(detail) == self.detail_hash
    }

    /// The chain's head while this record is the newest.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry<'_> = Entry {
        time_ms: 1_750_000_000_123,
        actor: "admin",
        action: "host.revoke",
        subject: "host:17",
        detail: br#"{"reason":"cloned"}"#,
    };

    #[test]
    fn the_canonical_bytes_are_those_of_the_first_release() {
        let record = append(&Head::genesis("audit"), &ENTRY).unwrap();
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 1];
        expected.extend_from_slice(&Hash::of(b"xiezhi-evidence/1/audit").0);
        expected.extend_from_slice(&1_750_000_000_123_i64.to_be_bytes());
        expected.extend_from_slice(b"\0\0\0\x05admin\0\0\0\x0bhost.revoke\0\0\0\x07host:17");
        expected.extend_from_slice(&Hash::of(ENTRY.detail).0);
        assert_eq!(record.canonical_bytes(), expected);
        assert_eq!(
            record.hash.to_string(),
            "594d06690439f724a4b689a6748908f7b84733c46ba05953ee3843772992f4b4"
        );
    }

    #[test]
    fn a_record_knows_its_own_detail_and_survives_json() {
        let record = append(&Head::genesis("audit"), &ENTRY).unwrap();
        assert!(record.is_intact());
        assert!(record.detail_matches(ENTRY.detail));
        assert!(!record.detail_matches(br#"{"reason":"lost"}"#));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn too_long_a_text_is_refused_by_name() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let result = append(
            &Head::genesis("audit"),
            &Entry {
                subject: &long,
                ..ENTRY
            },
        );
        assert_eq!(
            result,
            Err(AppendError::TooLong {
                field: "subject",
                bytes: 1025
            })
        );
        let full = Head {
            seq: u64::MAX,
            ..Head::genesis("audit")
        };
        assert_eq!(append(&full, &ENTRY), Err(AppendError::Full));
    }
}
