//! Samples of sources that are no hosts: nothing acknowledged is lost at any step, and nothing is
//! stored twice.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::foreign::{Row, START, append, open, points, report, rotate, small};
use common::power::PowerDisk;
use common::{ManualClock, Reporter, frames, options};
use proptest::prelude::*;
use xiezhi_series::SeriesStore;

/// What must be stored, and what may be.
#[derive(Debug, Default)]
struct Model {
    acknowledged: BTreeMap<(i64, &'static str, i64), u64>,
    /// Values of samples whose append failed: each may be stored or not.
    unsure: BTreeMap<(i64, &'static str, i64), BTreeSet<u64>>,
}

impl Model {
    fn append(&mut self, store: &SeriesStore, source: i64, rows: &[Row]) {
        let outcome = append(store, source, rows);
        let mut expected = report(0, 0, 0);
        let mut is_sure = true;
        for (text, points) in rows {
            for &(time_ms, value) in points {
                let key = (source, *text, time_ms);
                let is_known = self.acknowledged.contains_key(&key);
                if outcome.is_err() && is_known {
                    continue;
                }
                if outcome.is_err() {
                    self.unsure.entry(key).or_default().insert(value.to_bits());
                    continue;
                }
                match self.acknowledged.get(&key) {
                    Some(known) if *known == value.to_bits() => expected.repeated += 1,
                    Some(_) => expected.contradicted += 1,
                    None if self.unsure.contains_key(&key) => {
                        is_sure = false;
                        self.unsure.entry(key).or_default().insert(value.to_bits());
                    }
                    None => {
                        self.acknowledged.insert(key, value.to_bits());
                        expected.stored += 1;
                    }
                }
            }
        }
        let Ok(mut got) = outcome else { return };
        got.first_contradicted = None;
        if is_sure {
            assert_eq!(got, expected);
        } else {
            self.learn(store);
        }
    }

    /// What may have been stored is so now, with one value or another.
    fn learn(&mut self, store: &SeriesStore) {
        let stored = read(store);
        self.unsure.retain(|key, values| match stored.get(key) {
            Some(value) => {
                assert!(values.contains(value), "{key:?} was never sent");
                self.acknowledged.insert(*key, *value);
                false
            }
            None => true,
        });
    }

    fn check(&self, store: &SeriesStore) {
        let mut stored = read(store);
        for (key, value) in &self.acknowledged {
            assert_eq!(stored.remove(key), Some(*value), "{key:?} was acknowledged");
        }
        for (key, value) in stored {
            let values = self.unsure.get(&key);
            assert!(
                values.is_some_and(|values| values.contains(&value)),
                "{key:?}"
            );
        }
        assert_eq!(store.verify().unwrap().damaged, []);
        assert_eq!(store.stats().damaged, 0);
    }
}

const TEXTS: [&str; 4] = ["a", "b{x=\"1\"}", "b{x=\"2\"}", "c_total"];

fn read(store: &SeriesStore) -> BTreeMap<(i64, &'static str, i64), u64> {
    let mut all = BTreeMap::new();
    for source in [-2, -1] {
        for text in TEXTS {
            for (time_ms, value) in points(store, source, text) {
                all.insert((source, text, time_ms), value.to_bits());
            }
        }
    }
    all
}

#[derive(Debug, Clone)]
enum Action {
    Append(i64, Vec<(usize, i64, u8)>),
    Frames,
    Wait,
    Maintain,
    Reopen,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let value = prop_oneof![9 => Just(0u8), 1 => 1u8..3];
    let sample = (0usize..4, 0i64..40, value);
    let action = prop_oneof![
        8 => (-2i64..0, prop::collection::vec(sample, 1..12))
            .prop_map(|(source, samples)| Action::Append(source, samples)),
        1 => Just(Action::Frames),
        2 => Just(Action::Wait),
        3 => Just(Action::Maintain),
        1 => Just(Action::Reopen),
    ];
    prop::collection::vec(action, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_sample_is_lost_and_none_stored_twice_at_any_step(
        lives in prop::collection::vec((actions(), 0u64..60, any::<u64>()), 1..5),
    ) {
        let clock = ManualClock::new();
        let mut disk = PowerDisk::default();
        let mut model = Model::default();
        let mut seq = 0;
        for (actions, fuse, seed) in lives {
            let mut store = open(&disk, &clock);
            model.check(&store);
            disk.set_fuse(fuse);
            for action in actions {
                match action {
                    Action::Append(source, samples) => {
                        let rows: Vec<Row> = samples
                            .iter()
                            .map(|&(text, at, value)| {
                                let value = f64::from(value) + at as f64 * 1.5;
                                (TEXTS[text], vec![(START + at * 400_000, value)])
                            })
                            .collect();
                        model.append(&store, source, &rows);
                    }
                    Action::Frames => {
                        seq += 1;
                        drop(store.append(&frames(&[Reporter::new(1).report(seq)])));
                    }
                    Action::Wait => clock.advance(Duration::from_secs(3700)),
                    Action::Maintain => drop(store.maintain()),
                    Action::Reopen => {
                        if let Ok(opened) = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)) {
                            store = opened;
                        }
                    }
                }
            }
            drop(store);
            disk = disk.after_power_loss(seed);
        }
        let store = open(&disk, &clock);
        model.learn(&store);
        model.check(&store);
        rotate(&store, &clock);
        model.check(&store);
    }
}

/// Two sources send `1..=last`, each life from the first on, as a sender does that heard no answer:
/// values that rise, a late sample now and then, and frames of a host between.
fn send_all(
    disk: &PowerDisk,
    clock: &ManualClock,
    last: i64,
    acknowledged: &mut i64,
) -> Option<()> {
    let store = SeriesStore::open_on(Arc::new(disk.clone()), small(clock)).ok()?;
    let mut host = Reporter::new(1);
    for step in 1..=last {
        for source in [-2, -1] {
            let mut rows: Vec<Row> = TEXTS[..3]
                .iter()
                .map(|text| (*text, vec![(START + step * 15_000, step as f64 * 0.5)]))
                .collect();
            if step % 4 == 0 {
                rows.push((TEXTS[3], vec![(START - step, step as f64)]));
            }
            let sent = rows.len() as u64;
            let got = append(&store, source, &rows).ok()?;
            if step <= *acknowledged {
                assert_eq!(got, report(0, sent, 0), "step {step} was acknowledged");
            }
            assert_eq!(got.stored + got.repeated, sent);
        }
        *acknowledged = step.max(*acknowledged);
        store.append(&frames(&[host.report(step as u64)])).ok()?;
        if step % 5 == 0 {
            store.maintain().ok()?;
        }
    }
    store.maintain().ok()
}

fn check_all(store: &SeriesStore, last: i64) {
    for source in [-2, -1] {
        for text in &TEXTS[..3] {
            let points = points(store, source, text);
            assert!(points.len() as i64 >= last, "{} of {last}", points.len());
            for (index, &(time_ms, value)) in points.iter().enumerate() {
                let step = index as i64 + 1;
                assert_eq!((time_ms, value), (START + step * 15_000, step as f64 * 0.5));
            }
        }
        assert!(points(store, source, TEXTS[3]).len() as i64 >= last / 4);
    }
}

#[test]
fn power_may_go_at_every_step_of_append_cut_and_merge() {
    const LAST: i64 = 24;
    let clock = ManualClock::new();
    let whole = PowerDisk::default();
    send_all(&whole, &clock, LAST, &mut 0).unwrap();
    check_all(&open(&whole, &clock), LAST);
    let names = whole.names();
    assert!(
        names.contains(&"block-0000000001-0000000006.xzb".to_owned()),
        "nothing was merged: {names:?}"
    );
    let steps = whole.operations();
    assert!(steps > 200, "the script has only {steps} steps");
    for step in 0..steps {
        let disk = PowerDisk::default();
        let mut acknowledged = 0;
        disk.set_fuse(step);
        let _ = send_all(&disk, &clock, LAST, &mut acknowledged);
        let mut disk = disk.after_power_loss(step * 7919 + 5);
        // And once more while it recovers and goes on.
        disk.set_fuse(step % 37);
        let _ = send_all(&disk, &clock, LAST, &mut acknowledged);
        disk = disk.after_power_loss(step * 31 + 1);
        check_all(&open(&disk, &clock), acknowledged);
        send_all(&disk, &clock, LAST, &mut acknowledged).unwrap();
        let store = open(&disk, &clock);
        check_all(&store, LAST);
        assert_eq!(store.verify().unwrap().damaged, []);
        assert_eq!(store.stats().damaged, 0);
    }
}

#[test]
fn a_full_disk_refuses_all_of_a_request_and_what_was_named_in_it_is_named_again() {
    let clock = ManualClock::new();
    for capacity in (60..2400).step_by(60) {
        let disk = PowerDisk::default();
        disk.set_capacity(Some(capacity));
        let store = open(&disk, &clock);
        let mut model = Model::default();
        let rows = |step: i64| -> Vec<Row> {
            let text = |index: i64| TEXTS[(step + index) as usize % 4];
            (0..2)
                .map(|index| (text(index), vec![(START + step * 15_000, 4.25)]))
                .collect()
        };
        for step in 0..20 {
            if let Err(error) = append(&store, -1, &rows(step)) {
                assert!(error.is_full(), "{error:?}");
                assert!(store.stats().full);
            } else {
                for (text, points) in rows(step) {
                    model
                        .acknowledged
                        .insert((-1, text, points[0].0), points[0].1.to_bits());
                }
            }
        }
        model.check(&store);
        disk.set_capacity(None);
        for step in 0..20 {
            model.append(&store, -1, &rows(step));
        }
        assert!(!store.stats().full);
        drop(store);
        model.check(&open(&disk, &clock));
    }
}

#[test]
fn a_damaged_record_costs_its_own_series_and_never_mixes_two() {
    let clock = ManualClock::new();
    let whole = PowerDisk::default();
    let options = || options(&clock);
    let store = SeriesStore::open_on(Arc::new(whole.clone()), options()).unwrap();
    for step in 0..8i64 {
        let rows: Vec<Row> = TEXTS
            .iter()
            .take(1 + step as usize / 2)
            .zip(1i64..)
            .map(|(text, number)| (*text, vec![(START + step * 15_000, number as f64)]))
            .collect();
        append(&store, -1, &rows).unwrap();
    }
    drop(store);
    for offset in (4120..whole.length("wal-0000000001.log")).step_by(3) {
        let disk = whole.after_kill();
        disk.flip("wal-0000000001.log", offset);
        let store = SeriesStore::open_on(Arc::new(disk.clone()), options()).unwrap();
        let more: Vec<Row> = TEXTS
            .iter()
            .rev()
            .zip(1i64..)
            .map(|(text, number)| (*text, vec![(START + 900_000, 5.0 - number as f64)]))
            .collect();
        append(&store, -1, &more).unwrap();
        for store in [
            store,
            SeriesStore::open_on(Arc::new(disk.clone()), options()).unwrap(),
        ] {
            for (text, number) in TEXTS.iter().zip(1i64..) {
                let points = points(&store, -1, text);
                assert!(
                    points.iter().all(|point| point.1 == number as f64),
                    "{text}: {points:?}"
                );
                assert_eq!(points.last().unwrap().0, START + 900_000);
            }
        }
    }
}
