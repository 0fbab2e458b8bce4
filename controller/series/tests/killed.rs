//! A process is killed between a write and its sync, the next one opens what only the page cache
//! holds, and then the power goes too.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::power::PowerDisk;
use common::{ManualClock, Owned, frames, options};
use xiezhi_series::{Appended, SeriesStore};

const GROUPS: u64 = 12;

fn group(seq: u64) -> Vec<Owned> {
    (1..=3).map(|host| Owned::opaque(host, 1, seq, 0)).collect()
}

/// Appends groups until the disk fails; yields the number of those that were tried.
fn append_until_the_end(disk: &PowerDisk, clock: &ManualClock) -> u64 {
    let Ok(store) = SeriesStore::open_on(Arc::new(disk.clone()), options(clock)) else {
        return 0;
    };
    (1..=GROUPS)
        .find(|&seq| store.append(&frames(&group(seq))).is_err())
        .unwrap_or(GROUPS)
}

/// The agent sends again what was not acknowledged. Whatever the store says now, stored or seen
/// before, the agent forgets the batch, so it must be durable.
#[test]
fn a_replay_that_is_acknowledged_without_a_write_is_durable_all_the_same() {
    let clock = ManualClock::new();
    let whole = PowerDisk::default();
    assert_eq!(append_until_the_end(&whole, &clock), GROUPS);
    let mut replays = 0;
    for step in 0..whole.operations() {
        for seed in 0..8 {
            let disk = PowerDisk::default();
            disk.set_fuse(step);
            let tried = append_until_the_end(&disk, &clock);
            let disk = disk.after_kill();
            let store = SeriesStore::open_on(Arc::new(disk.clone()), options(&clock)).unwrap();
            let mut acknowledged = BTreeMap::new();
            for seq in 1..=tried {
                let verdicts = store.append(&frames(&group(seq))).unwrap();
                assert!(!verdicts.contains(&Appended::Conflict), "{verdicts:?}");
                replays += verdicts
                    .iter()
                    .filter(|&&one| one == Appended::Replay)
                    .count();
                acknowledged.extend(
                    group(seq)
                        .into_iter()
                        .map(|one| ((one.host, seq), one.batch)),
                );
            }
            // The machine fails before anything else is written.
            let disk = disk.after_power_loss(seed * 7919 + step);
            drop(store);
            let store = SeriesStore::open_on(Arc::new(disk), options(&clock)).unwrap();
            let mut stored = BTreeMap::new();
            for host in 1..=3 {
                for frame in store.frames(host).unwrap() {
                    let again = stored.insert((host, frame.batch.seq), frame.batch);
                    assert_eq!(again, None, "a frame is stored twice");
                }
            }
            assert_eq!(stored, acknowledged, "killed at step {step}, seed {seed}");
        }
    }
    assert!(replays > 0, "no replay was acknowledged");
}
