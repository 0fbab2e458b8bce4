//! What a device told in one poll: for every object that was asked for, its rows.

use std::collections::BTreeMap;

use crate::oid::Oid;
use crate::value::Value;

/// Answers by object. An object is a column of a table, with a row for each index, or an exact
/// instance such as `1.3.6.1.2.1.1.3.0`, whose one row has the empty index.
///
/// A profile is read from this alone, so a recorded walk and a live device are read by the same
/// code. An object that was asked for and has no rows is one that the device does not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    objects: BTreeMap<Oid, Vec<(Oid, Value)>>,
}

impl Answers {
    /// Nothing told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the rows of `object`, each an index and a value; sorted here if they are not.
    pub fn add(&mut self, object: Oid, mut rows: Vec<(Oid, Value)>) {
        if !rows.is_sorted_by(|(a, _), (b, _)| a < b) {
            rows.sort_by(|(a, _), (b, _)| a.cmp(b));
            rows.dedup_by(|(later, _), (earlier, _)| later == earlier);
        }
        self.objects.insert(object, rows);
    }

    /// The rows of `object` by index; empty if it has none or was not asked for.
    #[must_use]
    pub fn rows(&self, object: &Oid) -> &[(Oid, Value)] {
        self.objects.get(object).map_or(&[], Vec::as_slice)
    }

    /// The value of `object` at `index`.
    #[must_use]
    pub fn cell(&self, object: &Oid, index: &Oid) -> Option<&Value> {
        let rows = self.rows(object);
        let place = rows.binary_search_by(|(at, _)| at.cmp(index)).ok()?;
        rows.get(place).map(|(_, value)| value)
    }

    /// The value of exactly `instance`.
    #[must_use]
    pub fn scalar(&self, instance: &Oid) -> Option<&Value> {
        self.cell(instance, &Oid::default())
    }

    /// How many values there are in all.
    #[must_use]
    pub fn values(&self) -> usize {
        self.objects.values().map(Vec::len).sum()
    }
}
