//! What comes out is what a plain list of samples would answer.
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
use common::{ManualClock, Owned, frames, options};
use proptest::prelude::*;
use xiezhi_protocol::codec::{Decoder, Encoder};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Appended, QueryLimits, SeriesError, SeriesOptions, SeriesStore};

const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;

/// A host that reports, loses its line, and sends a backlog behind the live lane.
struct Agent {
    host: i64,
    epoch: u64,
    next: u64,
    encoder: Encoder,
    /// What the spool holds: frames as they were first encoded.
    spool: Vec<Owned>,
}

impl Agent {
    fn new(host: i64, epoch: u64) -> Self {
        Self {
            host,
            epoch,
            next: 1,
            encoder: Encoder::new(15_000),
            spool: Vec::new(),
        }
    }

    fn report(&mut self, time_ms: i64) -> Owned {
        let seq = self.next;
        self.next += 1;
        let mut report = Report::new();
        report.start(time_ms);
        for (series, value) in values(self.host, seq) {
            report.push(&series, &[], value).unwrap();
        }
        let mut bytes = Vec::new();
        let batch = self.encoder.encode(seq, &report, &mut bytes);
        let key = xiezhi_protocol::codec::peek(&bytes).unwrap().key;
        let frame = Owned {
            host: self.host,
            epoch: self.epoch,
            batch,
            key,
            bytes,
        };
        self.spool.push(frame.clone());
        frame
    }

    /// The frames `from..to` as a backlog chain: the first one encoded again as a key frame.
    fn backlog(&self, from: u64, to: u64) -> Vec<Owned> {
        let mut decoder = Decoder::new();
        let mut chain = Vec::new();
        for frame in self.spool.iter().filter(|frame| frame.batch.seq < to) {
            decoder
                .decode(&frame.bytes, &mut |name| name.into())
                .unwrap();
            if frame.batch.seq == from {
                let mut bytes = Vec::new();
                let batch = decoder.encode_key(&mut bytes).unwrap();
                chain.push(Owned {
                    batch,
                    key: true,
                    bytes,
                    ..frame.clone()
                });
            } else if frame.batch.seq > from {
                chain.push(frame.clone());
            }
        }
        chain
    }
}

/// Values of a report; some series come and go.
fn values(host: i64, seq: u64) -> Vec<(String, f64)> {
    let mut values = vec![
        ("load".to_owned(), (seq * 3 % 17) as f64 / 4.0),
        ("bytes_total".to_owned(), (seq * 1000 + host as u64) as f64),
        ("constant".to_owned(), 7.0),
    ];
    if !seq.is_multiple_of(5) {
        values.push(("sometimes".to_owned(), seq as f64 * 0.1));
    }
    if seq > 20 {
        values.push(("late".to_owned(), -(seq as f64)));
    }
    values
}

type Answer = BTreeMap<String, Vec<(i64, f64)>>;

/// The naive model: points by series and time, the first stored wins.
#[derive(Default)]
struct Model(BTreeMap<String, BTreeMap<i64, f64>>);

impl Model {
    fn store(&mut self, frame: &Owned) {
        for (series, value) in values(frame.host, frame.batch.seq) {
            self.0
                .entry(series)
                .or_default()
                .entry(frame.batch.time_ms)
                .or_insert(value);
        }
    }

    fn range(&self, from_ms: i64, to_ms: i64) -> Answer {
        let points = |points: &BTreeMap<i64, f64>| -> Vec<(i64, f64)> {
            points
                .range(from_ms..=to_ms)
                .map(|(&time, &value)| (time, value))
                .collect()
        };
        let all = self
            .0
            .iter()
            .map(|(series, all)| (series.clone(), points(all)));
        all.filter(|(_, points)| !points.is_empty()).collect()
    }
}

fn ask(store: &SeriesStore, host: i64, from_ms: i64, to_ms: i64) -> Answer {
    let report = store.range_report(host, from_ms, to_ms, &|_| true).unwrap();
    assert_eq!((report.undecodable, report.damaged), (0, 0));
    report
        .series
        .into_iter()
        .map(|one| (one.series.to_string(), one.points))
        .collect()
}

#[derive(Debug, Clone)]
enum Action {
    /// Reports that reach the controller.
    Live(u64),
    /// Reports that stay in the spool; then the line is back, the live lane starts a chain, and
    /// the backlog follows in groups of this size, with live reports between.
    Outage(u64, usize),
    /// The last so many frames again, as a backlog chain: their acknowledgement was lost.
    Replay(u64),
    Seal,
    Reopen,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (1u64..30).prop_map(Action::Live),
        2 => (1u64..40, 1usize..12).prop_map(|(length, group)| Action::Outage(length, group)),
        2 => (1u64..30).prop_map(Action::Replay),
        3 => Just(Action::Seal),
        1 => Just(Action::Reopen),
    ];
    prop::collection::vec(action, 1..14)
}

struct World {
    options: SeriesOptions,
    disk: PowerDisk,
    clock: ManualClock,
    store: SeriesStore,
    agents: Vec<Agent>,
    models: Vec<Model>,
    time_ms: i64,
}

impl World {
    fn new() -> Self {
        Self::with(u64::MAX)
    }

    /// Small logs become many blocks, which are merged.
    fn with(segment_bytes: u64) -> Self {
        let (disk, clock) = (PowerDisk::default(), ManualClock::new());
        let options = SeriesOptions {
            segment_bytes,
            ..options(&clock)
        };
        let store = SeriesStore::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
        let agents = vec![Agent::new(1, 1), Agent::new(2, 1)];
        let models = vec![Model::default(), Model::default()];
        Self {
            options,
            disk,
            clock,
            store,
            agents,
            models,
            time_ms: START,
        }
    }

    fn send(&mut self, group: &[Owned]) {
        self.clock.advance(Duration::from_millis(7));
        let verdicts = self.store.append(&frames(group)).unwrap();
        for (frame, verdict) in group.iter().zip(verdicts) {
            assert_ne!(verdict, Appended::Conflict, "{:?}", frame.batch);
            if verdict == Appended::Stored {
                self.models[frame.host as usize - 1].store(frame);
            }
        }
    }

    /// One interval passes: every agent reports.
    fn tick(&mut self) -> Vec<Owned> {
        self.time_ms += STEP;
        let time_ms = self.time_ms;
        self.agents
            .iter_mut()
            .map(|agent| agent.report(time_ms))
            .collect()
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Live(count) => (0..count).for_each(|_| {
                let reports = self.tick();
                self.send(&reports);
            }),
            Action::Outage(count, group) => {
                let first = self.agents[0].next;
                (0..count).for_each(|_| drop(self.tick()));
                self.agents
                    .iter_mut()
                    .for_each(|agent| agent.encoder.restart());
                let last = first + count;
                let backlogs: Vec<_> = self
                    .agents
                    .iter()
                    .map(|one| one.backlog(first, last))
                    .collect();
                for part in 0..backlogs[0].len().div_ceil(group) {
                    let live = self.tick();
                    self.send(&live);
                    for backlog in &backlogs {
                        self.send(backlog.chunks(group).nth(part).unwrap());
                    }
                }
            }
            Action::Replay(count) => {
                let last = self.agents[0].next;
                let first = last.saturating_sub(count).max(1);
                for host in 0..self.agents.len() {
                    let again = self.agents[host].backlog(first, last);
                    self.send(&again);
                    self.agents[host].encoder.restart();
                }
            }
            Action::Seal => {
                self.clock.advance(Duration::from_secs(3700));
                self.act(&Action::Live(1));
                self.store.maintain().unwrap();
            }
            Action::Reopen => {
                let (disk, options) = (Arc::new(self.disk.clone()), self.options.clone());
                self.store = SeriesStore::open_on(disk, options).unwrap();
            }
        }
    }

    fn check(&self, from_ms: i64, to_ms: i64) {
        for (index, model) in self.models.iter().enumerate() {
            let host = index as i64 + 1;
            assert_eq!(
                ask(&self.store, host, from_ms, to_ms),
                model.range(from_ms, to_ms)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_what_a_list_of_samples_answers(
        actions in actions(),
        ranges in prop::collection::vec((0i64..300, 0i64..200), 1..6),
        segment_bytes in prop_oneof![Just(u64::MAX), 300u64..5000],
    ) {
        let mut world = World::with(segment_bytes);
        for action in &actions {
            world.act(action);
        }
        world.check(i64::MIN, i64::MAX);
        for (start, length) in ranges {
            let from_ms = START + start * STEP;
            world.check(from_ms, from_ms + length * STEP);
        }
        let last = world.agents[0].next - 1;
        if last > 0 {
            let latest = world.store.latest(1).unwrap().unwrap();
            prop_assert_eq!((latest.epoch, latest.seq), (1, last));
            let mut expected = values(1, last);
            let mut held: Vec<_> =
                latest.values.iter().map(|(name, value)| (name.to_string(), *value)).collect();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            held.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(held, expected);
        }
    }
}

#[test]
fn a_chain_that_began_in_an_earlier_segment_is_decoded() {
    let mut world = World::new();
    world.act(&Action::Live(100));
    world.act(&Action::Seal);
    world.act(&Action::Live(60));
    world.act(&Action::Seal);
    world.act(&Action::Live(5));
    assert_eq!(world.store.stats().sealed_segments, 2);
    let from_ms = START + 163 * STEP;
    world.check(from_ms, from_ms + STEP);
    world.check(START + 120 * STEP, START + 125 * STEP);
}

#[test]
fn two_epochs_with_one_timestamp_give_the_point_stored_first() {
    let mut world = World::new();
    world.act(&Action::Live(10));
    // A rolled-back machine: numbers and times of before, other values, in an epoch of its own.
    let mut rolled_back = Agent::new(1, 2);
    rolled_back.next = 4;
    let again: Vec<Owned> = (1..=10)
        .map(|index| rolled_back.report(START + index * STEP))
        .collect();
    world.send(&again);
    world.act(&Action::Seal);
    world.check(i64::MIN, i64::MAX);
    assert_eq!(world.store.frames(1).unwrap().len(), 21);
}

#[test]
fn only_wanted_series_are_returned_in_order_of_name() {
    let mut world = World::new();
    world.act(&Action::Live(30));
    let found = world
        .store
        .range(1, i64::MIN, i64::MAX, &|name| name.starts_with('l'))
        .unwrap();
    let names: Vec<&str> = found.iter().map(|one| &*one.series).collect();
    assert_eq!(names, ["late", "load"]);
    assert_eq!(
        world.store.range(9, i64::MIN, i64::MAX, &|_| true).unwrap(),
        []
    );
}

#[test]
fn a_query_beyond_its_bounds_says_so() {
    let clock = ManualClock::new();
    let limits = QueryLimits {
        max_points: 50,
        max_frames: 20,
        max_bytes: 1 << 20,
    };
    let options = SeriesOptions {
        limits,
        ..options(&clock)
    };
    let store = SeriesStore::open_on(Arc::new(PowerDisk::default()), options).unwrap();
    let mut agent = Agent::new(1, 1);
    let all: Vec<Owned> = (1..=21)
        .map(|index| agent.report(START + index * STEP))
        .collect();
    store.append(&frames(&all[..20])).unwrap();
    let error = store.range(1, 0, i64::MAX, &|_| true).unwrap_err();
    assert!(
        matches!(
            error,
            SeriesError::TooMuch {
                what: "points",
                limit: 50
            }
        ),
        "{error}"
    );
    assert_eq!(
        store.range(1, 0, i64::MAX, &|name| name == "load").unwrap()[0]
            .points
            .len(),
        20
    );
    store.append(&frames(&all[20..])).unwrap();
    let error = store.range(1, 0, i64::MAX, &|_| true).unwrap_err();
    assert!(
        matches!(
            error,
            SeriesError::TooMuch {
                what: "frames",
                limit: 20
            }
        ),
        "{error}"
    );
}

#[test]
fn frames_that_cannot_be_decoded_are_counted_and_the_rest_is_served() {
    let mut world = World::new();
    world.act(&Action::Live(10));
    let live = world.tick();
    world.send(&live);
    // Frame 12 never arrives; 13 and 14 continue it; 15 starts a chain; 16 is no frame at all.
    drop(world.tick());
    for _ in 13..=14 {
        let live = world.tick();
        assert_eq!(
            world.store.append(&frames(&live)).unwrap(),
            [Appended::Stored; 2]
        );
    }
    world
        .agents
        .iter_mut()
        .for_each(|agent| agent.encoder.restart());
    let live = world.tick();
    world.send(&live);
    let mut broken = world.tick();
    broken.iter_mut().for_each(|frame| frame.bytes.truncate(9));
    assert_eq!(
        world.store.append(&frames(&broken)).unwrap(),
        [Appended::Stored; 2]
    );

    let report = world
        .store
        .range_report(1, i64::MIN, i64::MAX, &|_| true)
        .unwrap();
    assert_eq!((report.frames, report.undecodable), (15, 3));
    let served: Answer = report
        .series
        .into_iter()
        .map(|one| (one.series.to_string(), one.points))
        .collect();
    assert_eq!(served, world.models[0].range(i64::MIN, i64::MAX));
    assert_eq!(world.store.stats().undecodable, 3);
}
