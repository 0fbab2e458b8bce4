//! A storage that notices when a query reads native histograms, which are not stored.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::budget::Budget;
use crate::labels::Labels;
use crate::storage::{Select, Series, Storage, StorageError};

/// Another storage, and the times at which native histograms would be.
pub(super) struct Watch<'a> {
    pub(super) inner: &'a dyn Storage,
    pub(super) histograms: &'a [(Labels, Vec<i64>)],
    pub(super) touched: AtomicBool,
}

impl Watch<'_> {
    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }
}

impl Storage for Watch<'_> {
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError> {
        let reads = |(labels, times): &(Labels, Vec<i64>)| {
            let span = request.start_ms..=request.end_ms;
            times.iter().any(|time| span.contains(time))
                && request
                    .matchers
                    .iter()
                    .all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        };
        if self.histograms.iter().any(reads) {
            self.touched.store(true, Ordering::Relaxed);
        }
        self.inner.select(request, budget)
    }

    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError> {
        self.inner.series(request, budget)
    }

    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError> {
        self.inner.label_names(request, budget)
    }

    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError> {
        self.inner.label_values(name, request, budget)
    }
}
