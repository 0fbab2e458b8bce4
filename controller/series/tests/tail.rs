//! Following the log: whatever cuts, restarts and cursors do, a follower sees every stored frame, in
//! each host's order.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, Owned, Reporter, frames, options};
use proptest::prelude::*;
use xiezhi_series::{Place, SeriesOptions, SeriesStore, Tail, TailReport};

const DAY: Duration = Duration::from_secs(86_400);

struct Setting {
    clock: ManualClock,
    disk: PowerDisk,
    options: SeriesOptions,
    store: Option<SeriesStore>,
}

impl Setting {
    fn new(hold: Option<Duration>) -> Self {
        let (clock, disk) = (ManualClock::new(), PowerDisk::default());
        let options = SeriesOptions {
            hold,
            ..options(&clock)
        };
        let mut setting = Self {
            clock,
            disk,
            options,
            store: None,
        };
        setting.reopen();
        setting
    }

    fn reopen(&mut self) {
        self.store = None;
        let disk = Arc::new(self.disk.clone());
        self.store = Some(SeriesStore::open_on(disk, self.options.clone()).unwrap());
    }

    fn store(&self) -> &SeriesStore {
        self.store.as_ref().unwrap()
    }

    fn append(&self, owned: &[Owned]) {
        self.store().append(&frames(owned)).unwrap();
    }

    /// The next frame begins another log, and those before it become blocks.
    fn cut(&self, reporter: &mut Reporter, seq: u64) {
        self.clock.advance(Duration::from_secs(1801));
        self.append(&[reporter.report(seq)]);
        self.store().maintain().unwrap();
    }
}

fn all(tail: &mut Tail, most: usize) -> Vec<TailReport> {
    let mut out = Vec::new();
    while tail.read(most, &mut out).unwrap() {}
    out
}

/// The number of a report, from its time.
fn seq_of(report: &TailReport) -> u64 {
    ((report.time_ms - 1_700_000_010_000) / 15_000) as u64
}

fn check_values(report: &TailReport) {
    let expected = Reporter::values(report.host, seq_of(report));
    let mut found: Vec<(String, f64)> = report
        .samples
        .iter()
        .map(|(text, value)| (text.to_string(), *value))
        .collect();
    let mut expected = expected;
    expected.sort_by(|left, right| left.0.cmp(&right.0));
    found.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(
        found,
        expected,
        "host {} seq {}",
        report.host,
        seq_of(report)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_frame_is_followed_once_and_in_order(
        steps in prop::collection::vec((0u8..6, 1u64..5, 1usize..200), 1..40),
    ) {
        let mut setting = Setting::new(Some(DAY));
        let mut reporters: Vec<Reporter> = (1..=3).map(Reporter::new).collect();
        let mut next = [1u64; 3];
        let mut tail = setting.store().tail(Place::default());
        let mut seen: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (what, amount, most) in steps {
            match what {
                0 | 1 => for _ in 0..amount {
                    let reports: Vec<Owned> = reporters.iter_mut().zip(&mut next).map(|(reporter, next)| {
                        *next += 1;
                        reporter.report(*next - 1)
                    }).collect();
                    setting.append(&reports);
                },
                2 => {
                    next[0] += 1;
                    setting.cut(&mut reporters[0], next[0] - 1);
                }
                3 => {
                    // A restart: only the place is kept, and agents come back with key frames.
                    reporters = (1..=3).map(Reporter::new).collect();
                    let place = tail.place();
                    drop(tail);
                    setting.reopen();
                    tail = setting.store().tail(place);
                }
                4 => {
                    setting.store().release(tail.place());
                    setting.store().maintain().unwrap();
                }
                _ => {
                    let mut out = Vec::new();
                    tail.read(most, &mut out).unwrap();
                    for report in &out {
                        check_values(report);
                        seen.entry(report.host).or_default().push(seq_of(report));
                    }
                }
            }
        }
        for report in all(&mut tail, 50) {
            check_values(&report);
            seen.entry(report.host).or_default().push(seq_of(&report));
        }
        for (host, next) in (1..=3i64).zip(next) {
            let expected: Vec<u64> = (1..next).collect();
            prop_assert_eq!(seen.remove(&host).unwrap_or_default(), expected, "host {}", host);
        }
        prop_assert_eq!(tail.missed(), Default::default());
        prop_assert_eq!(setting.store().stats().unfollowed, 0);
    }
}

#[test]
fn logs_stay_until_they_were_followed_and_no_longer() {
    let setting = Setting::new(Some(DAY));
    let mut reporter = Reporter::new(1);
    for seq in 1..=6 {
        setting.cut(&mut reporter, seq);
    }
    assert_eq!(setting.store().stats().held_logs, 5);
    let mut tail = setting.store().tail(Place::default());
    assert_eq!(all(&mut tail, 1000).len(), 6);
    setting.store().release(tail.place());
    setting.store().maintain().unwrap();
    let stats = setting.store().stats();
    assert_eq!((stats.held_logs, stats.unfollowed), (0, 0));
}

#[test]
fn what_nobody_follows_goes_after_its_time_and_is_counted() {
    let setting = Setting::new(Some(Duration::from_secs(2 * 3600)));
    let mut reporter = Reporter::new(1);
    for seq in 1..=3 {
        setting.cut(&mut reporter, seq);
    }
    let mut tail = setting.store().tail(Place::default());
    let mut first = Vec::new();
    tail.read(1, &mut first).unwrap();
    setting.store().release(first[0].end);
    for seq in 4..=9 {
        setting.cut(&mut reporter, seq);
    }
    // The first frame was followed; of the others some were too old.
    let lost = setting.store().stats().unfollowed;
    assert!((1..=7).contains(&lost), "{lost}");
    let mut late = setting.store().tail(first[0].end);
    let seen = all(&mut late, 1000).len() as u64;
    assert_eq!((seen + lost, late.missed().gaps), (8, 1));
    // Nothing of it is missing here.
    let points = setting.store().range(1, 0, i64::MAX, &|_| true).unwrap();
    assert!(points.iter().all(|series| series.points.len() == 9));
}

#[test]
fn without_a_follower_no_log_outlives_its_block() {
    let setting = Setting::new(None);
    let mut reporter = Reporter::new(1);
    for seq in 1..=3 {
        setting.cut(&mut reporter, seq);
    }
    assert_eq!(setting.store().stats().held_logs, 0);
    let logs = setting.disk_names().into_iter();
    assert_eq!(logs.filter(|name| name.starts_with("wal-")).count(), 1);
}

impl Setting {
    fn disk_names(&self) -> Vec<String> {
        xiezhi_series::disk::Disk::list(&self.disk).unwrap()
    }
}

#[test]
fn a_place_of_another_store_is_no_place_here() {
    let setting = Setting::new(Some(DAY));
    let mut reporter = Reporter::new(1);
    setting.append(&[reporter.report(1), reporter.report(2)]);
    let mut tail = setting.store().tail(Place::default());
    all(&mut tail, 1000);
    let foreign = Place {
        mark: tail.place().mark ^ 1,
        ..tail.place()
    };
    for place in [
        foreign,
        Place {
            log: 99,
            offset: 7,
            mark: 3,
        },
    ] {
        let mut again = setting.store().tail(place);
        assert_eq!(all(&mut again, 1000).len(), 2, "{place:?}");
    }
}

#[test]
fn samples_of_foreign_sources_are_followed_too() {
    let mut setting = Setting::new(Some(DAY));
    let mut reporter = Reporter::new(1);
    let push = |setting: &Setting, from: i64| {
        let points: Vec<(i64, f64)> = (from..from + 3).map(|at| (at * 1000, at as f64)).collect();
        let series = ["a{x=\"1\"}", "b"].map(|text| xiezhi_series::ForeignSeries {
            text,
            points: &points,
        });
        setting.store().append_foreign(-7, &series).unwrap();
    };
    push(&setting, 1_700_000_000);
    let mut tail = setting.store().tail(Place::default());
    let mut first = Vec::new();
    tail.read(1, &mut first).unwrap();
    // A record goes on as a whole, and numbers that it gave are known behind it.
    assert_eq!(first.len(), 3);
    let place = tail.place();
    setting.reopen();
    push(&setting, 1_700_000_003);
    setting.cut(&mut reporter, 1);
    let mut tail = setting.store().tail(place);
    let rest = all(&mut tail, 1000);
    let of_source = rest.iter().filter(|report| report.host == -7);
    let mut points: Vec<(i64, String, f64)> = first
        .iter()
        .chain(of_source)
        .flat_map(|report| {
            let samples = report.samples.iter();
            samples.map(|(text, value)| (report.time_ms, text.to_string(), *value))
        })
        .collect();
    points.sort_by(|left, right| left.partial_cmp(right).unwrap());
    let expected: Vec<(i64, String, f64)> = (1_700_000_000..1_700_000_006)
        .flat_map(|at| ["a{x=\"1\"}", "b"].map(|text| (at * 1000, text.to_owned(), at as f64)))
        .collect();
    assert_eq!(points, expected);
    assert_eq!(tail.missed(), Default::default());
}

/// A log that waits for the disk, behind it another one, and how many frames the first has.
fn with_a_waiting_log() -> (Setting, u64) {
    let setting = Setting::new(Some(DAY));
    let mut reporters: Vec<Reporter> = (1..=3).map(Reporter::new).collect();
    for seq in 1..=200 {
        let group: Vec<Owned> = reporters.iter_mut().map(|one| one.report(seq)).collect();
        setting.append(&group);
    }
    setting.clock.advance(Duration::from_secs(1801));
    for seq in 201..=203 {
        let group: Vec<Owned> = reporters.iter_mut().map(|one| one.report(seq)).collect();
        setting.append(&group);
    }
    (setting, 600)
}

#[test]
fn of_a_log_that_comes_back_late_what_was_not_sent_is_counted_and_nothing_else() {
    const LOG: &str = "wal-0000000001.log";
    let (setting, frames) = with_a_waiting_log();
    let mut tail = setting.store().tail(Place::default());
    let mut half = Vec::new();
    tail.read(frames as usize / 2 * 40, &mut half).unwrap();
    let middle = tail.place();
    all(&mut tail, 1000);
    let (end, sectors) = (tail.place(), setting.disk.sectors(LOG));
    assert!(middle.log == 1 && end.log == 2 && sectors > 8, "{sectors}");
    drop(tail);

    let mut kinds = [0; 3];
    for (kind, from) in [Place::default(), middle, end].into_iter().enumerate() {
        for sector in [None, Some(0), Some(1), Some(sectors / 2), Some(sectors - 1)] {
            let disk = setting.disk.after_kill();
            disk.refuse(LOG, sector);
            let disk_of = Arc::new(disk.clone());
            let store = SeriesStore::open_on(disk_of, setting.options.clone()).unwrap();
            store.release(from);
            let mut tail = store.tail(from);
            let sent = all(&mut tail, 1000);
            let sent_of_log = sent.iter().filter(|one| seq_of(one) <= 200).count() as u64;
            store.release(tail.place());
            assert_eq!(tail.place().log, 2, "{sector:?}");
            disk.relent_after(0);
            store.maintain().unwrap();
            assert!(store.damage_met().is_none(), "{:?}", store.damage_met());
            // What lay before the place was sent by the run before.
            let before = match kind {
                0 => 0,
                1 => half.len() as u64,
                _ => frames,
            };
            let unsent = frames - before - sent_of_log;
            assert_eq!(store.held().1, unsent, "{sector:?} from {from:?}");
            kinds[kind] += unsent;
        }
    }
    assert!(
        kinds[0] > kinds[1] && kinds[1] > 0 && kinds[2] == 0,
        "{kinds:?}"
    );
}
