//! An answer says what it may lack: files of its time that were set aside, that the disk refuses, or that
//! are damaged. An answer about another time does not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, Owned, Reporter, options};
use xiezhi_promql::{Budget, Engine, Label, Limits, Matcher, Select, SelectHint, Storage as _};
use xiezhi_series::{HostLabels, LabelledHost, Selector, SeriesOptions, SeriesStore};

const HALF_HOUR: i64 = 1_800_000;
/// Reports of half an hour.
const REPORTS: u64 = 12;
const HOSTS: i64 = 2;

struct Hosts;

impl HostLabels for Hosts {
    fn all(&self) -> Arc<[LabelledHost]> {
        let labelled = |host: i64| LabelledHost {
            host,
            labels: vec![Label {
                name: "host".into(),
                value: host.to_string().into(),
            }],
        };
        (1..=HOSTS).map(labelled).collect()
    }
}

/// A store whose hosts report when its clock says so.
struct Scene {
    disk: PowerDisk,
    clock: ManualClock,
    options: SeriesOptions,
    begin_ms: i64,
}

impl Scene {
    /// So many half hours, each in a log of its own; the last is no block yet.
    fn after(half_hours: i64) -> Self {
        let clock = ManualClock::new();
        let options = options(&clock);
        let scene = Self {
            disk: PowerDisk::default(),
            begin_ms: options.clock.now_ms(),
            options,
            clock,
        };
        let store = scene.open();
        for half_hour in 0..half_hours {
            scene.tell(&store, half_hour);
        }
        scene
    }

    fn tell(&self, store: &SeriesStore, half_hour: i64) {
        for host in 1..=HOSTS {
            // A chain for each half hour.
            let mut reporter = Reporter::new(host);
            for number in 1..=REPORTS {
                let time_ms = self.begin_ms + half_hour * HALF_HOUR + number as i64 * 60_000;
                let mut report: Owned = reporter.report_at(number, time_ms);
                report.epoch = half_hour as u64 + 1;
                store.append(&[report.frame()]).unwrap();
            }
        }
        store.maintain().unwrap();
        self.clock.advance(Duration::from_millis(HALF_HOUR as u64));
    }

    fn open(&self) -> SeriesStore {
        SeriesStore::open_on(Arc::new(self.disk.clone()), self.options.clone()).unwrap()
    }

    /// What an answer about a half hour says it lacks, by each way of asking.
    fn lacking(&self, store: &SeriesStore, half_hour: i64) -> Vec<String> {
        let from_ms = self.begin_ms + half_hour * HALF_HOUR + 30_000;
        let to_ms = from_ms + 20 * 60_000;
        let of_host = store.range_report(1, from_ms, to_ms, &|_| true).unwrap();
        let selector = Selector::new(store.clone(), Arc::new(Hosts));
        let budget = Budget::new(Limits::default());
        let query = "last_over_time({__name__=~\"metric_.+\"}[19m])";
        let answer = Engine::default().instant(&selector, query, to_ms, &budget);
        let told = answer.unwrap().warnings();
        // Lists say so as well.
        let request = Select {
            matchers: vec![Matcher::equal("__name__", "metric_0_total")],
            start_ms: from_ms,
            end_ms: to_ms,
            hint: SelectHint::default(),
        };
        selector.series(&request, &budget).unwrap();
        let listed = selector.left_out();
        assert_eq!(told.is_empty(), of_host.lacking.is_empty(), "{told:?}");
        assert_eq!(told.is_empty(), listed.is_empty(), "{told:?} {listed:?}");
        told
    }

    fn says_nothing(&self, store: &SeriesStore, half_hours: impl Iterator<Item = i64>) {
        for half_hour in half_hours {
            let told = self.lacking(store, half_hour);
            assert_eq!(told, [""; 0], "half hour {half_hour}");
        }
    }

    fn says(&self, store: &SeriesStore, half_hour: i64, words: &[&str]) {
        let told = self.lacking(store, half_hour).join("\n");
        for word in words {
            assert!(told.contains(word), "half hour {half_hour}: {told}: {word}");
        }
    }
}

const SECOND: &str = "block-0000000002-0000000002.xzb";

/// Destroys both ends of a file.
fn behead(disk: &PowerDisk, name: &str) {
    disk.spoil(name, 0, 4096, true);
    let last = disk.sectors(name) as usize - 1;
    disk.spoil(name, last, 4096, true);
}

#[test]
fn an_answer_of_the_time_of_a_file_that_was_set_aside_says_so() {
    let scene = Scene::after(5);
    scene.says_nothing(&scene.open(), 0..5);
    behead(&scene.disk, SECOND);
    for _ in 0..2 {
        let store = scene.open();
        assert_eq!(store.stats().set_aside, 1);
        // Its ends are gone: that it is no newer than what arrived after it is all that is known.
        let words = ["was set aside", SECOND, "samples up to 2023-11-14T23:1"];
        scene.says(&store, 0, &words);
        scene.says(&store, 1, &words);
        scene.says_nothing(&store, 2..5);
    }
    let store = scene.open();
    scene.disk.remove_file(&format!("{SECOND}.damaged"));
    // Whoever looks at the store sees that it was moved away.
    assert!(store.damage_met().is_none());
    scene.says_nothing(&store, 0..5);
}

#[test]
fn an_answer_of_the_time_of_a_damaged_source_of_a_merge_says_so() {
    let scene = Scene::after(6);
    let store = scene.open();
    scene.disk.flip(SECOND, 200);
    scene.tell(&store, 6);
    assert!(
        !scene.disk.names().iter().any(|name| name == SECOND),
        "merged"
    );
    for store in [store, scene.open()] {
        let words = [
            "was set aside",
            SECOND,
            "from 2023-11-14T22:44",
            "to 2023-11-14T22:55",
        ];
        scene.says(&store, 1, &words);
        scene.says_nothing(&store, [0, 2, 3, 4, 5, 6].into_iter());
    }
}

#[test]
fn an_answer_of_the_time_of_a_file_that_the_disk_refuses_says_so_while_it_does() {
    let scene = Scene::after(5);
    scene.disk.refuse(SECOND, None);
    let store = scene.open();
    let words = ["the disk refuses to read", SECOND];
    scene.says(&store, 1, &words);
    scene.says_nothing(&store, 2..5);
    scene.disk.relent_after(0);
    store.maintain().unwrap();
    scene.says_nothing(&store, 0..5);
}

#[test]
fn an_answer_of_the_time_of_a_damaged_log_says_so() {
    let scene = Scene::after(5);
    let log = "wal-0000000005.log";
    // Records begin behind the second copy of the header.
    scene.disk.flip(log, (4_096 + scene.disk.length(log)) / 2);
    let store = scene.open();
    scene.says(&store, 4, &[log, "is damaged"]);
    scene.says_nothing(&store, 0..4);
    // It becomes a block, and is set aside.
    scene.tell(&store, 5);
    for store in [store, scene.open()] {
        scene.says(&store, 4, &[log, "was set aside"]);
        scene.says_nothing(&store, [0, 1, 2, 3, 5].into_iter());
    }
}

#[test]
fn an_answer_without_reports_that_cannot_be_decoded_says_so() {
    let scene = Scene::after(5);
    let log = "wal-0000000005.log";
    // The key frame of host 1.
    scene.disk.flip(log, 4_300);
    let store = scene.open();
    scene.says(&store, 4, &[log, "11 stored reports cannot be decoded"]);
    scene.tell(&store, 5);
    for store in [store, scene.open()] {
        scene.says(&store, 4, &["11 stored reports cannot be decoded"]);
        scene.says_nothing(&store, [0, 1, 2, 3, 5].into_iter());
    }
}

#[test]
fn an_answer_says_so_when_nobody_knows_what_was_set_aside() {
    let scene = Scene::after(3);
    let store = scene.open();
    scene.disk.refuse_listing(true);
    assert!(store.damage_met().is_unlisted && !store.damage_met().is_none());
    scene.says(&store, 1, &["the folder of samples cannot be listed"]);
    scene.disk.refuse_listing(false);
    assert!(store.damage_met().is_none());
    scene.says_nothing(&store, 0..3);
}
