//! A store whose hosts report half hour by half hour, each in a log of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xiezhi_series::{Appended, SeriesOptions, SeriesStore};

use super::power::PowerDisk;
use super::{ManualClock, Owned, Reporter, frames, options};

pub const HOSTS: i64 = 8;
/// Reports of half an hour.
const REPORTS: u64 = 40;
const HALF_HOUR: Duration = Duration::from_secs(1800);

/// Points by host, series and time.
pub type Told = BTreeMap<(i64, Arc<str>, i64), u64>;

/// A store whose hosts report.
pub struct Scene {
    pub clock: ManualClock,
    pub disk: PowerDisk,
    pub options: SeriesOptions,
    pub reporters: Vec<Reporter>,
    pub told: u64,
}

impl Scene {
    pub fn new(change: impl FnOnce(&mut SeriesOptions)) -> Self {
        let clock = ManualClock::new();
        let mut options = options(&clock);
        change(&mut options);
        Self {
            clock,
            disk: PowerDisk::default(),
            options,
            reporters: (1..=HOSTS).map(Reporter::new).collect(),
            told: 0,
        }
    }

    /// Half hours are told, each in a log of its own, and became blocks; then one that did not yet.
    pub fn with_blocks(half_hours: u64) -> Self {
        let mut scene = Self::new(|_| {});
        let store = scene.open();
        for _ in 0..half_hours {
            scene.tell(&store);
        }
        scene.tell(&store);
        store.maintain().unwrap();
        scene
    }

    pub fn open(&self) -> SeriesStore {
        self.open_on(&self.disk).unwrap()
    }

    pub fn open_on(&self, disk: &PowerDisk) -> Result<SeriesStore, xiezhi_series::SeriesError> {
        SeriesStore::open_on(Arc::new(disk.clone()), self.options.clone())
    }

    pub fn tell(&mut self, store: &SeriesStore) {
        self.clock.advance(HALF_HOUR);
        for seq in self.told + 1..=self.told + REPORTS {
            let group: Vec<Owned> = self
                .reporters
                .iter_mut()
                .map(|host| host.report(seq))
                .collect();
            let verdicts = store.append(&frames(&group)).unwrap();
            assert!(verdicts.iter().all(|one| *one == Appended::Stored));
        }
        self.told += REPORTS;
    }
}

/// All that is answered, and how many places it lacks.
pub fn ask(store: &SeriesStore) -> (Told, u64) {
    let (mut told, mut damaged) = (Told::new(), 0);
    for host in 1..=HOSTS {
        let report = store.range_report(host, i64::MIN, i64::MAX, &|_| true);
        let report = report.unwrap();
        damaged += report.damaged + report.undecodable;
        for series in report.series {
            for (time_ms, value) in series.points {
                told.insert((host, Arc::clone(&series.series), time_ms), value.to_bits());
            }
        }
    }
    (told, damaged)
}
