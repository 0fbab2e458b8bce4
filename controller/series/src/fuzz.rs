//! Entry points for fuzzing: the readers of this crate's files, over arbitrary bytes.

use std::ops::ControlFlow;

use crate::block::page::Page;
use crate::block::{directory, footer, ledger};
use crate::chunk::{self, Encoder, Grid, Points};
use crate::column::{self, Scratch};
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

/// Reads `bytes` as the beginning of a file and as a de-duplication checkpoint; returns whether it was one.
#[must_use]
pub fn checkpoint(bytes: &[u8]) -> bool {
    let is_header = record::read_old_header(bytes, record::FileKind::Sealed, 1).is_some()
        || record::read_log_head(bytes, 1).is_some();
    is_header || checkpoint::parse(bytes).is_some()
}

/// Reads `bytes` as a chunk, and as values that a column is made of; returns how many points they
/// were.
///
/// # Panics
/// If what was accepted, or any values, do not come back as they went.
#[must_use]
pub fn chunks(bytes: &[u8]) -> usize {
    let grid = Grid {
        base_ms: 1_700_000_000_000,
        step_ms: 15_000,
    };
    let mut points = Points::default();
    let decoded = chunk::decode(grid, bytes, &mut points);
    let _extent = chunk::extent(grid, bytes);
    let ascends = points
        .times
        .windows(2)
        .all(|pair| matches!(pair, [left, right] if left < right));
    if decoded.is_some() && ascends && !points.is_empty() {
        let (mut again, mut back) = (Vec::new(), Points::default());
        Encoder::default().encode(grid, &points.times, &points.values, &mut again);
        assert!(
            chunk::decode(grid, &again, &mut back).is_some(),
            "a chunk is not read again"
        );
        assert_eq!(back.times, points.times);
        assert_eq!(bits(&back.values), bits(&points.values));
    }
    let values = bytes
        .chunks_exact(8)
        .filter_map(|eight| eight.first_chunk());
    let rows: Vec<f64> = values
        .map(|eight| f64::from_le_bytes(*eight))
        .take(column::MAX_ROWS)
        .collect();
    let (mut column, mut back) = (Vec::new(), Vec::new());
    column::encode(&rows, &mut Scratch::default(), &mut column);
    assert!(
        column::decode(&column, rows.len(), &mut back).is_some(),
        "a column is not read again"
    );
    assert_eq!(bits(&back), bits(&rows));
    points.len()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Reads `bytes` as the content of each piece of a block, as if its checksum held; returns how many
/// entries were read.
#[must_use]
pub fn pieces(bytes: &[u8]) -> usize {
    let mut read = 0;
    if let Some(page) = Page::parse(bytes) {
        let mut points = Points::default();
        let grid = page.grid;
        for (_, chunk) in page {
            points.clear();
            read += usize::from(chunk::decode(grid, chunk, &mut points).is_some());
        }
    }
    let _walked = directory::each(bytes, &mut |_, _, _| {
        read += 1;
        ControlFlow::Continue(())
    });
    read += ledger::groups(bytes)
        .filter(|group| group.frames().is_some())
        .count();
    read + usize::from(footer::Footer::parse(bytes).is_some())
}
