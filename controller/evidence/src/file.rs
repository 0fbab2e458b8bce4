//! A chain as a file: one JSON object a line, for a check without the database.
//!
//! The first line says what it is, the last one how many entries there are and the hash of the newest.
//! Each line between is an entry with its hashes. A file proves that nothing in it was changed, removed,
//! inserted or reordered after it was written; that it was not written anew as a whole only a head shows
//! that was noted elsewhere.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::record::{Head, Record};
use crate::verify::Verifier;

/// Longest line that is read, bytes: an entry with a large detail.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// What the first line says.
const FORMAT: &str = "xiezhi-chain/1";

/// One entry of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLine {
    /// The record as it was chained.
    #[serde(flatten)]
    pub record: Record,
    /// The text that was hashed; `None` if it was erased.
    pub detail: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct First {
    format: String,
    chain: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Last {
    entries: u64,
    head: Hash,
}

impl ChainLine {
    /// As a line of the file.
    #[must_use]
    pub fn to_line(&self) -> String {
        line_of(self)
    }
}

/// The first line of a chain's file.
#[must_use]
pub fn first_line(chain: &str) -> String {
    line_of(&First {
        format: FORMAT.to_owned(),
        chain: chain.to_owned(),
    })
}

/// The last line of a chain's file.
#[must_use]
pub fn last_line(head: Head) -> String {
    line_of(&Last {
        entries: head.seq,
        head: head.hash,
    })
}

fn line_of(value: &impl Serialize) -> String {
    // Texts, numbers and digests always have a form in JSON.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// What a whole file was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainFile {
    /// Its newest entry.
    pub head: Head,
    /// Entries whose detail was erased, of which only the hash is proved.
    pub erased: u64,
    /// Number of the entry that has the expected hash; what is behind it came later.
    pub expected_at: Option<u64>,
}

/// Why a file does not hold.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// The first place where it does not hold.
    #[error("entry {entry}: {reason}")]
    Entry {
        /// Number of the entry that was expected there.
        entry: u64,
        /// What is wrong, for a person.
        reason: String,
    },
}

fn fault(entry: u64, reason: impl Into<String>) -> FileFault {
    let reason = reason.into();
    FileFault::Entry { entry, reason }
}

/// Checks a file of the chain of this name, line by line in constant memory. `expected` is the head's
/// hash that was noted elsewhere: then an entry must have it. What chains behind it came after the note, and a
/// head proves nothing of that.
///
/// # Errors
/// Names the first entry that is missing, changed, foreign or too much.
pub fn verify_file(
    chain: &str,
    mut file: impl BufRead,
    expected: Option<Hash>,
) -> Result<ChainFile, FileFault> {
    let mut line = String::new();
    let first = next(&mut file, &mut line, 0)?.then(|| exact::<First>(&line));
    let is_ours = |first: &First| first.format == FORMAT && first.chain == chain;
    if !first.flatten().is_some_and(|first| is_ours(&first)) {
        let reason = format!("the first line is not that of a file of the chain `{chain}`");
        return Err(fault(0, reason));
    }
    let genesis = Head::genesis(chain);
    let (mut erased, mut found) = (0, (Some(genesis.hash) == expected).then_some(0));
    let mut verifier = Verifier::new(genesis);
    loop {
        let number = verifier.head().seq.saturating_add(1);
        if !next(&mut file, &mut line, number)? {
            let reason = "the file ends here, without its last line: entries may be missing";
            return Err(fault(number, reason));
        }
        if let Some(last) = exact::<Last>(&line) {
            close(verifier.head(), &last)?;
            break;
        }
        let Some(entry) = exact::<ChainLine>(&line) else {
            return Err(fault(
                number,
                "it is not readable, or not as it was written",
            ));
        };
        let detail = entry.detail.as_deref().map(str::as_bytes);
        erased += u64::from(detail.is_none());
        let checked = verifier.check(&entry.record, detail);
        checked.map_err(|broken| fault(broken.seq, broken.reason.to_string()))?;
        if Some(entry.record.hash) == expected {
            found = Some(entry.record.seq);
        }
    }
    let head = verifier.head();
    if next(&mut file, &mut line, head.seq.saturating_add(1))? {
        let reason = "something follows the file's last line";
        return Err(fault(head.seq.saturating_add(1), reason));
    }
    match (expected, found) {
        (Some(_), None) => Err(fault(
            head.seq,
            "no entry has the expected hash: the chain was rewritten, or cut off before it",
        )),
        (_, expected_at) => Ok(ChainFile {
            head,
            erased,
            expected_at,
        }),
    }
}

/// Compares what was read with what the last line says.
fn close(head: Head, last: &Last) -> Result<(), FileFault> {
    if head.seq < last.entries {
        let reason = format!("it and all up to entry {} are missing", last.entries);
        return Err(fault(head.seq.saturating_add(1), reason));
    }
    if head.seq > last.entries {
        let reason = format!("the file was written with {} entries", last.entries);
        return Err(fault(last.entries.saturating_add(1), reason));
    }
    if head.hash != last.head {
        return Err(fault(
            head.seq,
            "it is not the head that the last line names",
        ));
    }
    Ok(())
}

/// Reads the next line with its end into `line`; `false` at the end of the file.
fn next(file: &mut impl BufRead, line: &mut String, entry: u64) -> Result<bool, FileFault> {
    let mut bytes = Vec::new();
    file.by_ref()
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)?;
    let is_there = !bytes.is_empty();
    let unreadable = |_| fault(entry, "it is not readable, or not as it was written");
    *line = String::from_utf8(bytes).map_err(unreadable)?;
    Ok(is_there)
}

/// What a line says, if it is byte for byte as it would be written: else a changed name of a field would
/// pass for a field that is not there.
fn exact<T: Serialize + serde::de::DeserializeOwned>(line: &str) -> Option<T> {
    let value: T = serde_json::from_str(line).ok()?;
    (line_of(&value) == line).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, append};

    /// Lines of a file with these many entries, each with its end, and the hash of the newest.
    fn file(entries: u64) -> (Vec<String>, Hash) {
        let mut head = Head::genesis("audit");
        let mut lines = vec![first_line("audit")];
        for number in 1..=entries {
            let detail = format!("{{\"number\":\"{number}\",\"why\":\"原因\"}}");
            let entry = Entry {
                time_ms: 1_790_000_000_000,
                actor: "user:王芳",
                action: "host.revoke",
                subject: "host:17",
                detail: detail.as_bytes(),
            };
            let record = append(&head, &entry).unwrap();
            head = record.head();
            let detail = Some(detail);
            lines.push(ChainLine { record, detail }.to_line());
        }
        lines.push(last_line(head));
        (lines, head.hash)
    }

    fn found(lines: &[String], expected: Option<Hash>) -> Result<ChainFile, (u64, String)> {
        let text = lines.concat();
        verify_file("audit", text.as_bytes(), expected).map_err(named)
    }

    fn named(fault: FileFault) -> (u64, String) {
        match fault {
            FileFault::Entry { entry, reason } => (entry, reason),
            FileFault::Read(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_whole_file_holds_and_names_its_head() {
        for entries in [0, 1, 5] {
            let (lines, hash) = file(entries);
            let good = found(&lines, Some(hash)).unwrap();
            assert_eq!(
                (good.head.seq, good.head.hash, good.erased),
                (entries, hash, 0)
            );
            assert_eq!(good.expected_at, Some(entries));
        }
    }

    #[test]
    fn every_single_flipped_bit_of_a_file_is_found_and_named_by_its_entry() {
        let text = file(3).0.concat();
        for at in 0..text.len() {
            // The first line belongs to no entry.
            let entry = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n');
            let entry = entry.count() as u64;
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let refused = verify_file("audit", bytes.as_slice(), None).unwrap_err();
                let (named, reason) = named(refused);
                // The last line is about the newest entry or the one that would follow.
                let near = named == entry || (entry == 4 && named >= 1);
                assert!(
                    near,
                    "byte {at} bit {bit}: {named} instead of {entry}: {reason}"
                );
            }
        }
    }

    #[test]
    fn what_was_removed_cut_off_reordered_or_added_is_named_by_its_number() {
        let (whole, hash) = file(5);
        let without = |range: std::ops::Range<usize>| {
            let mut lines = whole.clone();
            lines.drain(range);
            lines
        };
        let entry = |lines: &[String]| found(lines, None).unwrap_err().0;
        assert_eq!(entry(&without(3..4)), 3, "one in the middle");
        assert_eq!(entry(&without(4..6)), 4, "the tail");
        assert_eq!(entry(&without(4..7)), 4, "the tail with the last line");
        let mut moved = whole.clone();
        moved.swap(2, 3);
        assert_eq!(entry(&moved), 2, "two in each other's place");

        // A head that was noted says how far it reaches; what follows came after it.
        let (mut longer, _) = file(6);
        assert_eq!(found(&longer, None).unwrap().expected_at, None);
        assert_eq!(found(&longer, Some(hash)).unwrap().expected_at, Some(5));
        // A forger who chains and counts correctly is found by it.
        longer.pop();
        longer.extend(whole.last().cloned());
        assert_eq!(entry(&longer), 6, "one too much for the last line");
        let shorter = file(4).0;
        assert_eq!(
            found(&shorter, Some(hash)).unwrap_err().0,
            4,
            "cut off and closed"
        );
        let mut twice = whole.clone();
        twice.extend(whole.last().cloned());
        assert_eq!(entry(&twice), 6, "something behind the last line");
    }

    #[test]
    fn an_erased_detail_is_counted_and_a_file_of_another_chain_refused() {
        let (mut lines, _) = file(2);
        let mut line: ChainLine = serde_json::from_str(&lines[1]).unwrap();
        line.detail = None;
        lines[1] = line.to_line();
        assert_eq!(found(&lines, None).unwrap().erased, 1);
        let other = verify_file("security", lines.concat().as_bytes(), None);
        assert_eq!(named(other.unwrap_err()).0, 0);
        assert_eq!(
            named(verify_file("audit", &b""[..], None).unwrap_err()).0,
            0
        );
    }
}
