//! One column while it is walked.

use std::collections::HashSet;

use xiezhi_profiles::{Oid, Value};

use crate::ask::Problem;
use crate::message::Cell;

/// A column of which not all rows are known.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) object: Oid,
    pub(super) rows: Vec<(Oid, Value)>,
    /// Index of the last row that was told; none before the first.
    last: Option<Oid>,
    /// Names that were told, also those that are no rows.
    told: usize,
    end: Option<Result<(), Problem>>,
    /// Only for devices without order: what was told, and from where it was asked on.
    seen: Option<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    rows: HashSet<Oid>,
    cursors: HashSet<Oid>,
}

impl Column {
    pub(super) fn new(object: Oid, unordered: bool) -> Self {
        Self {
            object,
            rows: Vec::new(),
            last: None,
            told: 0,
            end: None,
            seen: unordered.then(Seen::default),
        }
    }

    /// What is asked for next: whatever comes after this.
    pub(super) fn cursor(&self) -> Oid {
        match &self.last {
            Some(index) => self.object.at(index),
            None => self.object.clone(),
        }
    }

    /// Names told so far.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&self) -> Option<Result<(), Problem>> {
        self.end
    }

    /// Ends it.
    pub(super) fn finish(&mut self, how: Result<(), Problem>) {
        self.end.get_or_insert(how);
    }

    /// Takes what the device told at this column's place; `most` rows are allowed.
    pub(super) fn take(&mut self, name: &[u32], cell: Cell, most: usize) {
        if self.end.is_some() {
            // What a device tells beyond the end of a column is another object's.
            return;
        }
        if matches!(cell, Cell::End | Cell::Missing) {
            return self.finish(Ok(()));
        }
        let Some(index) = name.strip_prefix(self.object.arcs()) else {
            return self.finish(Ok(()));
        };
        let forward = match &self.last {
            Some(last) => index > last.arcs(),
            None => !index.is_empty(),
        };
        if !forward && self.seen.is_none() {
            return self.finish(Err(Problem::Loop));
        }
        if self.told >= most {
            return self.finish(Err(Problem::Endless));
        }
        self.told += 1;
        let index = Oid::new(index);
        let is_new = match &mut self.seen {
            Some(seen) => seen.rows.insert(index.clone()),
            None => true,
        };
        if let (true, Cell::Value(value)) = (is_new, cell) {
            self.rows.push((index.clone(), value));
        }
        self.last = Some(index);
    }

    /// An answer was taken: a device without order goes round in circles if it is to be asked from a
    /// place from where it was asked before.
    pub(super) fn answered(&mut self) {
        let (Some(seen), Some(last)) = (&mut self.seen, &self.last) else {
            return;
        };
        if !seen.cursors.insert(last.clone()) {
            self.finish(Err(Problem::Loop));
        }
    }
}
