//! Samples in a sorted map. Simple, complete, not fast to fill.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::{Backend, ScriptError};
use crate::budget::Budget;
use crate::labels::Labels;
use crate::storage::{Select, Series, Storage, StorageError};

/// A storage for tests.
#[derive(Clone, Default, Debug)]
pub struct MemoryStorage {
    series: BTreeMap<Labels, Column>,
}

#[derive(Clone, Debug)]
struct Column {
    times: Arc<[i64]>,
    values: Arc<[f64]>,
}

impl MemoryStorage {
    /// The samples of `load` commands; see [`super::run_script`] for the language.
    ///
    /// # Errors
    /// If the text is no list of `load` commands.
    pub fn from_text(text: &str) -> Result<Self, ScriptError> {
        let mut storage = Self::default();
        super::run::load_all(text, &mut storage)?;
        Ok(storage)
    }

    /// Adds samples to a series, in any order; of two at the same time the later call's counts.
    pub fn insert(&mut self, labels: Labels, points: &[(i64, f64)]) {
        let mut merged: BTreeMap<i64, f64> = match self.series.get(&labels) {
            Some(old) => old
                .times
                .iter()
                .copied()
                .zip(old.values.iter().copied())
                .collect(),
            None => BTreeMap::new(),
        };
        merged.extend(points.iter().copied());
        let times: Vec<i64> = merged.keys().copied().collect();
        let shared = self
            .series
            .values()
            .next_back()
            .filter(|other| *other.times == *times);
        let times = shared.map_or_else(|| times.into(), |other| Arc::clone(&other.times));
        let column = Column {
            times,
            values: merged.values().copied().collect(),
        };
        self.series.insert(labels, column);
    }

    /// Adds a whole series whose times others may share.
    pub fn insert_column(&mut self, labels: Labels, times: Arc<[i64]>, values: Arc<[f64]>) {
        self.series.insert(labels, Column { times, values });
    }

    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn matching<'a>(
        &'a self,
        request: &'a Select,
    ) -> impl Iterator<Item = (&'a Labels, &'a Column, usize, usize)> {
        self.series.iter().filter_map(|(labels, column)| {
            let fits = |m: &crate::Matcher| m.matches(labels.get(&m.name).unwrap_or_default());
            if !request.matchers.iter().all(fits) {
                return None;
            }
            let low = column
                .times
                .partition_point(|time| *time < request.start_ms);
            let high = column.times.partition_point(|time| *time <= request.end_ms);
            (low < high).then_some((labels, column, low, high))
        })
    }
}

/// A part of a column of times.
struct Part {
    whole: Arc<[i64]>,
    low: usize,
    high: usize,
    times: Arc<[i64]>,
}

impl Part {
    fn is_of(&self, column: &Column, low: usize, high: usize) -> bool {
        Arc::ptr_eq(&self.whole, &column.times) && (self.low, self.high) == (low, high)
    }
}

impl Storage for MemoryStorage {
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError> {
        let mut out = Vec::new();
        // Series that share their times go on sharing the part that was asked for.
        let mut last: Option<Part> = None;
        for (labels, column, low, high) in self.matching(request) {
            budget.charge_samples((high - low) as u64)?;
            let times = match last.take() {
                Some(known) if known.is_of(column, low, high) => known.times,
                _ => part(&column.times, low, high),
            };
            let whole = Arc::clone(&column.times);
            last = Some(Part {
                whole,
                low,
                high,
                times: Arc::clone(&times),
            });
            let values = part(&column.values, low, high);
            out.push(Series {
                labels: labels.clone(),
                times,
                values,
                coarse: None,
            });
        }
        Ok(out)
    }

    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError> {
        budget.check()?;
        Ok(self
            .matching(request)
            .map(|(labels, ..)| labels.clone())
            .collect())
    }

    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError> {
        let sets = self.series(request, budget)?;
        let names = sets.iter().flatten().map(|label| label.name.to_string());
        Ok(sorted(names.collect()))
    }

    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError> {
        let sets = self.series(request, budget)?;
        let values = sets
            .iter()
            .filter_map(|labels| labels.get(name))
            .map(str::to_owned);
        Ok(sorted(values.collect()))
    }
}

impl Backend for MemoryStorage {
    fn clear(&mut self) {
        self.series.clear();
    }

    fn append(&mut self, labels: &Labels, points: &[(i64, f64)]) -> Result<(), String> {
        self.insert(labels.clone(), points);
        Ok(())
    }

    fn storage(&self) -> &dyn Storage {
        self
    }
}

fn part<T: Copy>(whole: &Arc<[T]>, low: usize, high: usize) -> Arc<[T]> {
    if low == 0 && high == whole.len() {
        return Arc::clone(whole);
    }
    whole.get(low..high).unwrap_or_default().into()
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    all.dedup();
    all
}
