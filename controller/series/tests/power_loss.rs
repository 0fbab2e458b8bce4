//! Whatever step the power is lost at: nothing acknowledged is lost, nothing is stored twice.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::power::{PowerDisk, Random};
use common::{ManualClock, Owned, Reporter, frames, options};
use proptest::prelude::*;
use xiezhi_series::{Appended, SeriesOptions, SeriesStore};

/// What must be stored, and what may be.
#[derive(Debug, Default)]
struct Model {
    /// (host, epoch, seq) → content checksum and bytes of what was acknowledged.
    acknowledged: BTreeMap<(i64, u64, u64), Owned>,
    /// Frames of appends that failed: each may be stored or not.
    unsure: BTreeMap<(i64, u64, u64), Vec<Owned>>,
}

impl Model {
    fn append(&mut self, store: &SeriesStore, group: &[Owned]) {
        let Ok(verdicts) = store.append(&frames(group)) else {
            for frame in group {
                self.unsure
                    .entry(key(frame))
                    .or_default()
                    .push(frame.clone());
            }
            return;
        };
        for (frame, verdict) in group.iter().zip(verdicts) {
            self.judge(frame, verdict);
        }
    }

    fn judge(&mut self, frame: &Owned, verdict: Appended) {
        let key = key(frame);
        match self.acknowledged.get(&key) {
            Some(known) if known.batch.checksum == frame.batch.checksum => {
                assert_eq!(verdict, Appended::Replay, "{key:?} repeats what is stored");
            }
            Some(_) => assert_eq!(verdict, Appended::Conflict, "{key:?} differs"),
            None => {
                let unsure = self.unsure.get(&key).cloned().unwrap_or_default();
                let same = |one: &Owned| one.batch.checksum == frame.batch.checksum;
                match verdict {
                    Appended::Stored => {}
                    Appended::Replay => assert!(unsure.iter().any(same), "{key:?} was never sent"),
                    Appended::Conflict => {
                        assert!(
                            unsure.iter().any(|one| !same(one)),
                            "{key:?} was never sent"
                        );
                        return;
                    }
                }
                self.unsure.remove(&key);
                self.acknowledged.insert(key, frame.clone());
            }
        }
    }

    fn check(&self, store: &SeriesStore) {
        let mut stored = BTreeMap::new();
        for host in 1..=3 {
            for frame in store.frames(host).unwrap() {
                let before = stored.insert((host, frame.epoch, frame.batch.seq), frame.batch);
                assert_eq!(before, None, "a frame is stored twice");
            }
        }
        for (key, frame) in &self.acknowledged {
            assert_eq!(
                stored.remove(key),
                Some(frame.batch),
                "{key:?} was acknowledged and is lost"
            );
        }
        for (key, batch) in stored {
            let unsure = self.unsure.get(&key).cloned().unwrap_or_default();
            assert!(
                unsure.iter().any(|one| one.batch == batch),
                "{key:?} was never sent"
            );
        }
        assert_eq!(store.verify().unwrap().damaged, []);
    }
}

fn key(frame: &Owned) -> (i64, u64, u64) {
    (frame.host, frame.epoch, frame.batch.seq)
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<(i64, u64, u64, u8)>),
    Wait,
    Maintain,
    Reopen,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let content = prop_oneof![9 => Just(0u8), 1 => 1u8..3];
    let frame = (1i64..=3, 1u64..=2, 1u64..40, content);
    let action = prop_oneof![
        6 => prop::collection::vec(frame, 1..12).prop_map(Action::Append),
        1 => Just(Action::Wait),
        2 => Just(Action::Maintain),
        1 => Just(Action::Reopen),
    ];
    prop::collection::vec(action, 1..25)
}

fn run(
    store: &mut SeriesStore,
    disk: &PowerDisk,
    clock: &ManualClock,
    model: &mut Model,
    action: &Action,
) {
    match action {
        Action::Append(group) => {
            let group: Vec<Owned> = group
                .iter()
                .map(|&(host, epoch, seq, content)| Owned::opaque(host, epoch, seq, content))
                .collect();
            model.append(store, &group);
        }
        Action::Wait => clock.advance(Duration::from_secs(3700)),
        Action::Maintain => drop(store.maintain()),
        Action::Reopen => {
            if let Ok(opened) = SeriesStore::open_on(Arc::new(disk.clone()), small(clock)) {
                *store = opened;
            }
        }
    }
}

fn small(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        segment_bytes: 2000,
        ..options(clock)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_frame_is_lost_and_none_doubled_at_any_step(
        lives in prop::collection::vec((actions(), 0u64..60, any::<u64>()), 1..5),
    ) {
        let clock = ManualClock::new();
        let mut disk = PowerDisk::default();
        let mut model = Model::default();
        for (actions, fuse, seed) in lives {
            let mut store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).unwrap();
            model.check(&store);
            disk.set_fuse(fuse);
            for action in &actions {
                run(&mut store, &disk, &clock, &mut model, action);
            }
            drop(store);
            disk = disk.after_power_loss(seed);
        }
        let store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).unwrap();
        model.check(&store);
        store.maintain().unwrap();
        model.check(&store);
    }
}

/// Every single step of rotation, sealing, checkpoint and opening, with several seeds each.
#[test]
fn power_may_go_at_every_step_of_sealing_and_of_opening() {
    let clock = ManualClock::new();
    let script = |disk: &PowerDisk, model: &mut Model| -> Option<()> {
        let store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).ok()?;
        for seq in 1..30 {
            let group: Vec<Owned> = (1..=3).map(|host| Owned::opaque(host, 1, seq, 0)).collect();
            model.append(&store, &group);
            if seq % 9 == 0 {
                store.maintain().ok()?;
            }
        }
        store.maintain().ok()
    };
    let whole = PowerDisk::default();
    script(&whole, &mut Model::default()).unwrap();
    let steps = whole.operations();
    assert!(steps > 80, "the script has only {steps} steps");
    for step in 0..steps {
        for seed in 0..6 {
            let disk = PowerDisk::default();
            let mut model = Model::default();
            disk.set_fuse(step);
            let _ = script(&disk, &mut model);
            assert!(disk.is_dead());
            let disk = disk.after_power_loss(seed * 7919 + step);
            // And once more while it recovers.
            disk.set_fuse(seed);
            drop(SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)));
            let disk = disk.after_power_loss(seed * 31 + step);
            let store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).unwrap();
            model.check(&store);
            drop(store);
            script(&disk, &mut model).unwrap();
            let store = SeriesStore::open_on(Arc::new(disk), small(&clock)).unwrap();
            model.check(&store);
            assert_eq!(model.unsure.len(), 0);
        }
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself_at_every_size() {
    let clock = ManualClock::new();
    let mut random = Random(5);
    for round in 0..60 {
        let disk = PowerDisk::default();
        disk.set_capacity(Some(random.below(9000) as usize));
        let store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).unwrap();
        let mut model = Model::default();
        let group = |seq: u64| -> Vec<Owned> {
            (1..=3).map(|host| Owned::opaque(host, 1, seq, 0)).collect()
        };
        let mut refused = 0;
        for seq in 1..40 {
            match store.append(&frames(&group(seq))) {
                Ok(verdicts) => group(seq)
                    .iter()
                    .zip(verdicts)
                    .for_each(|(frame, verdict)| {
                        model.judge(frame, verdict);
                    }),
                Err(error) => {
                    assert!(error.is_full(), "{error:?}");
                    assert!(store.stats().full);
                    refused += 1;
                }
            }
            if seq % 10 == 0 {
                // Sealing needs space too; it is tried again later.
                drop(store.maintain());
            }
        }
        model.check(&store);
        disk.set_capacity(None);
        for seq in 1..40 {
            model.append(&store, &group(seq));
        }
        store.maintain().unwrap();
        model.check(&store);
        assert!(!store.stats().full);
        assert_eq!(
            model.acknowledged.len(),
            39 * 3,
            "round {round}, {refused} refused"
        );
        drop(store);
        let store = SeriesStore::open_on(Arc::new(disk), small(&clock)).unwrap();
        model.check(&store);
    }
}

/// Three hosts send real reports `1..=last`, each life from the first on: what is stored already is
/// a replay that the new ones continue. Blocks are made and merged on the way.
fn send_all(
    disk: &PowerDisk,
    clock: &ManualClock,
    last: u64,
    acknowledged: &mut u64,
) -> Option<()> {
    let store = SeriesStore::open_on(Arc::new(disk.clone()), small(clock)).ok()?;
    let mut reporters: Vec<Reporter> = (1..=3).map(Reporter::new).collect();
    for seq in 1..=last {
        let group: Vec<Owned> = reporters.iter_mut().map(|host| host.report(seq)).collect();
        let verdicts = store.append(&frames(&group)).ok()?;
        if seq <= *acknowledged {
            assert_eq!(
                verdicts,
                [Appended::Replay; 3],
                "report {seq} was acknowledged"
            );
        }
        *acknowledged = seq.max(*acknowledged);
        if seq % 5 == 0 {
            store.maintain().ok()?;
        }
    }
    store.maintain().ok()
}

/// Every point of reports `1..=last` is there once; later ones may be.
fn check_points(store: &SeriesStore, last: u64) {
    for host in 1..=3 {
        let report = store
            .range_report(host, i64::MIN, i64::MAX, &|_| true)
            .unwrap();
        assert_eq!((report.undecodable, report.damaged), (0, 0));
        if last > 0 {
            assert_eq!(report.series.len(), 40);
        }
        for series in &report.series {
            for (index, &(time_ms, value)) in series.points.iter().enumerate() {
                let seq = ((time_ms - 1_700_000_010_000) / 15_000) as u64;
                assert_eq!(
                    seq,
                    index as u64 + 1,
                    "a point is lost, doubled or invented"
                );
                let expected = Reporter::values(host, seq);
                let (_, expected) = expected
                    .iter()
                    .find(|(name, _)| **name == *series.series)
                    .unwrap();
                assert_eq!(value, *expected);
            }
            assert!(
                series.points.len() as u64 >= last,
                "{} of {last}",
                series.points.len()
            );
        }
    }
}

#[test]
fn no_acknowledged_sample_is_lost_and_none_doubled_at_any_even_step_of_cut_and_merge() {
    power_goes_at_every_second_step_of_cut_and_merge(0);
}

#[test]
fn no_acknowledged_sample_is_lost_and_none_doubled_at_any_odd_step_of_cut_and_merge() {
    power_goes_at_every_second_step_of_cut_and_merge(1);
}

/// Two tests make every step, so that two cores share them.
fn power_goes_at_every_second_step_of_cut_and_merge(first: u64) {
    const LAST: u64 = 36;
    let clock = ManualClock::new();
    let whole = PowerDisk::default();
    send_all(&whole, &clock, LAST, &mut 0).unwrap();
    let store = SeriesStore::open_on(Arc::new(whole.clone()), small(&clock)).unwrap();
    check_points(&store, LAST);
    let names = whole.names();
    assert!(
        names.contains(&"block-0000000001-0000000006.xzb".to_owned()),
        "nothing was merged: {names:?}"
    );
    drop(store);
    let steps = whole.operations();
    assert!(steps > 200, "the script has only {steps} steps");
    for step in (first..steps).step_by(2) {
        let disk = PowerDisk::default();
        let mut acknowledged = 0;
        disk.set_fuse(step);
        let _ = send_all(&disk, &clock, LAST, &mut acknowledged);
        let mut disk = disk.after_power_loss(step * 7919 + 5);
        // And once more while it recovers and goes on.
        disk.set_fuse(step % 37);
        let _ = send_all(&disk, &clock, LAST, &mut acknowledged);
        disk = disk.after_power_loss(step * 31 + 1);
        let store = SeriesStore::open_on(Arc::new(disk.clone()), small(&clock)).unwrap();
        check_points(&store, acknowledged);
        drop(store);
        send_all(&disk, &clock, LAST, &mut acknowledged).unwrap();
        let store = SeriesStore::open_on(Arc::new(disk), small(&clock)).unwrap();
        check_points(&store, LAST);
        assert_eq!(store.frames(2).unwrap().len() as u64, LAST);
        assert_eq!(store.verify().unwrap().damaged, []);
    }
}
