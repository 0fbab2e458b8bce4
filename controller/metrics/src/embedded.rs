//! The evaluator's view of the embedded engine, narrowed to what a caller may see.

use std::collections::BTreeSet;
use std::sync::Arc;

use xiezhi_promql::{Budget, Labels, METRIC_NAME, Matcher, Select, Series, Storage, StorageError};
use xiezhi_protocol::report::parse_series;
use xiezhi_series::{SeriesError, SeriesPoints, SeriesStore};

use crate::directory::{Directory, Origin, Scope};

/// Samples of the embedded engine within one caller's scope.
pub(crate) struct Embedded<'a> {
    pub(crate) series: &'a SeriesStore,
    pub(crate) directory: &'a dyn Directory,
    pub(crate) scope: &'a Scope,
}

impl Embedded<'_> {
    /// Calls `take` with each series that satisfies the matchers and has samples in the span.
    fn each(
        &self,
        request: &Select,
        budget: &Budget,
        mut take: impl FnMut(Labels, SeriesPoints) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for origin in self.directory.origins().iter() {
            budget.check()?;
            if !self.scope.sees(origin.site) {
                continue;
            }
            let Some(rest) = left_over(origin, &request.matchers) else {
                continue;
            };
            let want = |text: &str| matches(text, &rest);
            let found = self
                .series
                .range(origin.key, request.start_ms, request.end_ms, &want)
                .map_err(failed)?;
            for points in found {
                let Some(labels) = labels(origin, &points.series) else {
                    continue;
                };
                budget.charge_samples(points.points.len() as u64)?;
                take(labels, points)?;
            }
        }
        Ok(())
    }
}

impl Storage for Embedded<'_> {
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError> {
        let mut all = Vec::new();
        self.each(request, budget, |labels, points| {
            budget.charge_bytes(16 * points.points.len() as u64)?;
            let (times, values): (Vec<i64>, Vec<f64>) = points.points.into_iter().unzip();
            all.push(Series {
                labels,
                times: times.into(),
                values: values.into(),
            });
            Ok(())
        })?;
        Ok(all)
    }

    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError> {
        let mut all = Vec::new();
        self.each(request, budget, |labels, _| {
            all.push(labels);
            Ok(())
        })?;
        Ok(all)
    }

    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError> {
        let mut names = BTreeSet::new();
        self.each(request, budget, |labels, _| {
            names.extend(labels.iter().map(|label| Arc::clone(&label.name)));
            Ok(())
        })?;
        Ok(names.into_iter().map(|name| name.to_string()).collect())
    }

    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError> {
        let mut values = BTreeSet::new();
        self.each(request, budget, |labels, _| {
            values.extend(labels.label(name).map(|label| Arc::clone(&label.value)));
            Ok(())
        })?;
        Ok(values.into_iter().map(|value| value.to_string()).collect())
    }
}

fn failed(error: SeriesError) -> StorageError {
    StorageError::Failed(Box::new(error))
}

/// The matchers that the origin's own labels do not decide; `None` if one of those refuses it.
fn left_over<'a>(origin: &Origin, matchers: &'a [Matcher]) -> Option<Vec<&'a Matcher>> {
    let mut rest = Vec::new();
    for matcher in matchers {
        match origin.labels.get(&matcher.name) {
            Some(value) if !matcher.matches(value) => return None,
            Some(_) => {}
            None => rest.push(matcher),
        }
    }
    Some(rest)
}

fn matches(series: &str, matchers: &[&Matcher]) -> bool {
    let name = series.split_once('{').map_or(series, |(name, _)| name);
    let by_name = |matcher: &&&Matcher| &*matcher.name == METRIC_NAME;
    if !matchers.iter().filter(by_name).all(|m| m.matches(name)) {
        return false;
    }
    if matchers.iter().all(|matcher| by_name(&matcher)) {
        return true;
    }
    let Some((_, labels)) = parse_series(series) else {
        return false;
    };
    let value = |name: &str| {
        let found = labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let mut others = matchers.iter().filter(|matcher| !by_name(matcher));
    others.all(|matcher| matcher.matches(value(&matcher.name)))
}

/// The series' own labels under those that the controller gives.
fn labels(origin: &Origin, series: &str) -> Option<Labels> {
    let (name, own) = parse_series(series)?;
    let mut builder = origin.labels.to_builder();
    for (label, value) in own {
        // What the host says about itself never covers what the controller knows of it.
        if origin.labels.get(label).is_none() {
            builder.set(label, value);
        }
    }
    builder.set(METRIC_NAME, name);
    Some(builder.build())
}
