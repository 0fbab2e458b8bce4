//! Where samples are gone, steps answer: what the samples would have given, with a remark. In the
//! test language of Prometheus, on a store that has lost its samples to retention.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::telling::{START, Story};
use common::{ManualClock, options};
use xiezhi_promql::testing::{Backend, run_script};
use xiezhi_promql::{Engine, Labels, METRIC_NAME, Storage};
use xiezhi_series::{ForeignSeries, HostKey, HostLabels, LabelledHost, Selector, SeriesStore};

const SOURCE: HostKey = -1;
const HOUR: u64 = 3600;

#[derive(Debug)]
struct OneSource;

impl HostLabels for OneSource {
    fn all(&self) -> Arc<[LabelledHost]> {
        Arc::new([LabelledHost {
            host: SOURCE,
            labels: Vec::new(),
        }])
    }
}

/// What retention has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Samples,
    FiveMinutes,
    Hours,
}

/// A store whose samples age as soon as they are asked about.
struct Aged {
    clock: ManualClock,
    store: SeriesStore,
    selector: Selector,
    is_aged: Cell<bool>,
}

impl Aged {
    fn new(left: Left) -> Self {
        let clock = ManualClock::new();
        let hours = |kept: bool| Duration::from_secs(if kept { 1000 * HOUR } else { HOUR });
        let mut options = options(&clock);
        options.retention = hours(left == Left::Samples);
        options.retention_5m = hours(left != Left::Hours);
        options.retention_1h = hours(true);
        let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
        let selector = Selector::new(store.clone(), Arc::new(OneSource));
        Self {
            clock,
            store,
            selector,
            is_aged: Cell::new(false),
        }
    }

    /// Two hours pass, again and again: what was there becomes a block, and then it is too old.
    fn age(&self) {
        for turn in 0..3 {
            self.clock.advance(Duration::from_secs(2 * HOUR));
            let turn = [(turn, 1.0)];
            let series = ForeignSeries {
                text: "turn",
                points: &turn,
            };
            self.store.append_foreign(SOURCE, &[series]).unwrap();
            self.store.maintain().unwrap();
        }
    }
}

impl Backend for Aged {
    fn clear(&mut self) {}

    fn append(&mut self, labels: &Labels, points: &[(i64, f64)]) -> Result<(), String> {
        let others = labels.iter().filter(|label| &*label.name != METRIC_NAME);
        let pairs: Vec<String> = others
            .map(|label| format!("{}=\"{}\"", label.name, label.value))
            .collect();
        let text = match pairs.is_empty() {
            true => labels.metric_name().to_owned(),
            false => format!("{}{{{}}}", labels.metric_name(), pairs.join(",")),
        };
        let text = &text;
        let report = self
            .store
            .append_foreign(SOURCE, &[ForeignSeries { text, points }]);
        assert_eq!(report.unwrap().stored, points.len() as u64);
        Ok(())
    }

    fn storage(&self) -> &dyn Storage {
        if !self.is_aged.replace(true) {
            self.age();
        }
        &self.selector
    }
}

fn run(script: &str, left: Left) {
    let mut aged = Aged::new(left);
    let report = run_script(script, &Engine::default(), &mut aged).unwrap();
    let failed = report.failed();
    let failed: Vec<String> = failed
        .map(|(case, why)| format!("line {}: {}\n  {why}", case.line, case.query))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(report.passed() >= 2);
    let stats = aged.store.stats();
    assert_eq!(stats.rollups > 0, left != Left::Samples, "{stats:?}");
}

#[test]
fn steps_of_five_minutes_give_what_the_samples_gave_and_say_so() {
    run(include_str!("scripts/steps.test"), Left::FiveMinutes);
}

#[test]
fn steps_of_an_hour_give_what_the_samples_gave_and_say_so() {
    run(include_str!("scripts/hours.test"), Left::Hours);
}

#[test]
fn samples_answer_without_a_remark() {
    run(include_str!("scripts/samples.test"), Left::Samples);
}

/// A day is removed for want of space after it was rolled up, and the agents, whose spools were put back
/// from old copies, send all of it again.
#[test]
fn what_was_removed_for_want_of_space_and_comes_again_counts_once() {
    let (clock, disk) = (ManualClock::new(), PowerDisk::default());
    let open = |max_bytes| {
        let mut options = options(&clock);
        options.max_bytes = max_bytes;
        SeriesStore::open_on(Arc::new(disk.clone()), options).unwrap()
    };
    let store = open(None);
    let mut story = Story::default();
    // A block has grown to a day and has its steps; 300 reports are more than memory knows.
    for _ in 0..100 {
        story.tell(&store, &clock);
        store.maintain().unwrap();
    }
    assert_eq!(store.stats().rollups, 4);
    let bytes = store.stats().bytes;
    drop(store);
    let store = open(Some(bytes - 1));
    assert_eq!(store.kept_since_ms(), i64::MIN);
    store.maintain().unwrap();
    assert_eq!(store.stats().rollups, 4);
    let day_ms = 86_400_000;
    let kept_since_ms = store.kept_since_ms();
    assert!(kept_since_ms > START && kept_since_ms < START + 2 * day_ms);
    let oldest = store.range(1, i64::MIN, i64::MAX, &|_| true).unwrap();
    assert!(
        oldest[0].points[0].0 > START + day_ms / 2,
        "nothing was removed"
    );
    story.check(&store);
    story.check_frames(&store);
    drop(store);
    let store = open(None);
    for _ in 0..60 {
        story.tell(&store, &clock);
        store.maintain().unwrap();
    }
    assert_eq!(store.stats().rollups, 6);
    story.check(&store);
    story.check_frames(&store);
}
