//! Entry points for fuzzing: the readers of this crate's files, over arbitrary bytes.

use crate::record::HEADER_BYTES;
use crate::scan::{Scanner, Step};
use crate::{checkpoint, record};

/// Walks `bytes` as the records of a log or a sealed segment; returns how many are intact.
///
/// # Panics
/// If the walk does not cover every byte exactly once, which no input may achieve.
#[must_use]
pub fn records(bytes: &[u8], seed: u32) -> usize {
    let mut scanner = Scanner::new(bytes, seed, 0, bytes.len() as u64);
    let (mut records, mut position) = (0, 0);
    // Reading a slice does not fail.
    while let Ok(Some(step)) = scanner.step() {
        let (offset, length) = match step {
            Step::Record { offset, length, .. } => (offset, u64::from(length)),
            Step::Damaged { offset, length } => (offset, length),
        };
        assert_eq!(offset, position, "the walk skipped or repeated bytes");
        position += length;
        records += usize::from(matches!(step, Step::Record { .. }));
    }
    assert_eq!(position, bytes.len() as u64, "the walk ended early");
    records
}

/// Reads `bytes` as a file header and as a de-duplication checkpoint; returns whether it was one.
#[must_use]
pub fn checkpoint(bytes: &[u8]) -> bool {
    let header = bytes.get(..HEADER_BYTES as usize).unwrap_or(bytes);
    let is_header = record::read_header(header, record::FileKind::Sealed, 1).is_some();
    is_header || checkpoint::parse(bytes).is_some()
}
