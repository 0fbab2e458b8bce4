//! Samples of sources, as the tests hand them over and read them back.

use std::sync::Arc;
use std::time::Duration;

use xiezhi_series::{ForeignReport, ForeignSeries, SeriesError, SeriesOptions, SeriesStore};

use super::power::PowerDisk;
use super::{ManualClock, options};

pub const START: i64 = 1_700_000_000_000;

pub type Row = (&'static str, Vec<(i64, f64)>);

pub fn append(
    store: &SeriesStore,
    source: i64,
    rows: &[Row],
) -> Result<ForeignReport, SeriesError> {
    let series: Vec<ForeignSeries<'_>> = rows
        .iter()
        .map(|(text, points)| ForeignSeries { text, points })
        .collect();
    store.append_foreign(source, &series)
}

pub fn report(stored: u64, repeated: u64, contradicted: u64) -> ForeignReport {
    ForeignReport {
        stored,
        repeated,
        contradicted,
        first_contradicted: (contradicted > 0).then_some(0),
        ..ForeignReport::default()
    }
}

pub fn small(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        segment_bytes: 1200,
        ..options(clock)
    }
}

pub fn open(disk: &PowerDisk, clock: &ManualClock) -> SeriesStore {
    SeriesStore::open_on(Arc::new(disk.clone()), small(clock)).unwrap()
}

/// Makes blocks of everything but the sample that this stores.
pub fn rotate(store: &SeriesStore, clock: &ManualClock) {
    clock.advance(Duration::from_secs(3700));
    append(store, -99, &[("rotation", vec![(START, 1.0)])]).unwrap();
    clock.advance(Duration::from_secs(3700));
    append(store, -99, &[("rotation", vec![(START + 1, 1.0)])]).unwrap();
    store.maintain().unwrap();
}

pub fn points(store: &SeriesStore, source: i64, text: &str) -> Vec<(i64, f64)> {
    let found = store
        .range(source, i64::MIN, i64::MAX, &|name| name == text)
        .unwrap();
    found.into_iter().flat_map(|one| one.points).collect()
}
