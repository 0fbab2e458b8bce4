//! The spool against a simple model, under seeded kills at any byte, power cuts and full disks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use xiezhi_protocol::batch::Stream;

use crate::disk::{Disk, Faults};
use crate::tests::{info, set};
use crate::{Limits, Spool, SpoolError};

#[derive(Debug, Clone)]
enum Step {
    Append { stream: u8, key: bool, size: usize },
    Ack { stream: u8, skip: u64, count: u64 },
    Tick { ms: i64 },
    GiveUp { stream: u8, skip: u64 },
    Full { room: usize },
    Roomy,
    Kill,
    KillAfter { bytes: usize },
    PowerCut { seed: u64 },
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0u8..4, prop::bool::weighted(0.2), 0usize..600)
            .prop_map(|(stream, key, size)| Step::Append { stream, key, size }),
        5 => (0u8..4, 0u64..6, 0u64..12)
            .prop_map(|(stream, skip, count)| Step::Ack { stream, skip, count }),
        2 => (0i64..2_000_000).prop_map(|ms| Step::Tick { ms }),
        1 => (0u8..4, 0u64..6).prop_map(|(stream, skip)| Step::GiveUp { stream, skip }),
        1 => (0usize..900).prop_map(|room| Step::Full { room }),
        1 => Just(Step::Roomy),
        1 => Just(Step::Kill),
        3 => (0usize..1500).prop_map(|bytes| Step::KillAfter { bytes }),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..120)
}

type Batches = BTreeMap<(Stream, u64), (bool, Vec<u8>)>;

/// What must hold, and what may be missing.
struct Model {
    /// Appended with success.
    batches: Batches,
    settled: BTreeSet<(Stream, u64)>,
    /// Not yet durable against a power cut.
    volatile: BTreeSet<(Stream, u64)>,
    /// Lost in a way that the spool warned of.
    excused: BTreeSet<(Stream, u64)>,
}

struct World {
    dir: tempfile::TempDir,
    faults: Arc<Mutex<Faults>>,
    spool: Option<Spool>,
    model: Model,
    boot: u32,
    now_ms: i64,
}

const LIMITS: Limits = Limits {
    max_bytes: 32 * 1024 + 12_000,
    max_age_ms: 20_000_000,
};

impl World {
    fn new() -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            faults: Arc::default(),
            spool: None,
            model: Model {
                batches: BTreeMap::new(),
                settled: BTreeSet::new(),
                volatile: BTreeSet::new(),
                excused: BTreeSet::new(),
            },
            boot: 0,
            now_ms: 0,
        };
        world.reopen();
        world
    }

    fn reopen(&mut self) {
        self.spool = None;
        {
            let mut faults = self.faults.lock().unwrap();
            faults.dead = false;
            faults.dies_after = None;
            faults.room = None;
        }
        let disk = Disk {
            faults: Some(Arc::clone(&self.faults)),
        };
        let boot = self.boot.to_string();
        self.spool =
            Some(Spool::open_with(self.dir.path(), LIMITS, self.now_ms, &boot, disk).unwrap());
        self.check();
    }

    fn dead(&self) -> bool {
        self.faults.lock().unwrap().dead
    }

    fn kill(&mut self) {
        let in_memory = self.in_memory();
        self.model.excused.extend(in_memory);
        self.spool = None;
    }

    /// What the spool has warned of: a process that dies takes it along.
    fn in_memory(&self) -> BTreeSet<(Stream, u64)> {
        let lanes = self.spool.as_ref().unwrap().lanes.iter();
        let segments = lanes.flat_map(|lane| lane.segments.iter().map(|s| (lane.stream, s)));
        segments
            .filter_map(|(stream, segment)| Some((stream, segment.tail_first?, segment.last)))
            .flat_map(|(stream, from, last)| (from..=last).map(move |seq| (stream, seq)))
            .collect()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append { stream, key, size } => self.append(stream, key, size),
            Step::Ack {
                stream,
                skip,
                count,
            } => {
                let stream = Stream::from_number(stream).unwrap();
                let spool = self.spool.as_mut().unwrap();
                let Some(first) = spool.first_unsettled(stream, 0) else {
                    return;
                };
                let (first, last) = (first + skip, first + skip + count);
                let last = last.min(spool.next_seq(stream) - 1);
                if first > last {
                    return;
                }
                spool.ack(stream, &set(&[(first, last)]));
                self.model
                    .settled
                    .extend((first..=last).map(|seq| (stream, seq)));
            }
            Step::Tick { ms } => {
                self.now_ms += ms;
                self.spool.as_mut().unwrap().tick(self.now_ms);
                let healthy = self.spool.as_ref().unwrap().status().trouble.is_empty();
                if ms >= 60_000 && healthy && !self.dead() {
                    self.model.volatile.clear();
                }
            }
            Step::GiveUp { stream, skip } => {
                let stream = Stream::from_number(stream).unwrap();
                let spool = self.spool.as_mut().unwrap();
                let Some(first) = spool.first_unsettled(stream, 0) else {
                    return;
                };
                spool.give_up(stream, first + skip);
            }
            Step::Full { room } => self.faults.lock().unwrap().room = Some(room),
            Step::Roomy => self.faults.lock().unwrap().room = None,
            Step::Kill => {
                self.kill();
                self.reopen();
            }
            Step::KillAfter { bytes } => self.faults.lock().unwrap().dies_after = Some(bytes),
            Step::PowerCut { seed } => {
                self.kill();
                self.cut_power(seed);
                self.boot += 1;
                let volatile = std::mem::take(&mut self.model.volatile);
                self.model.excused.extend(volatile);
                self.reopen();
            }
            Step::Close => {
                self.faults.lock().unwrap().room = None;
                self.spool.as_mut().unwrap().close();
                if !self.dead() {
                    self.model.volatile.clear();
                    self.boot += 1;
                }
                self.kill();
                self.reopen();
            }
        }
    }

    fn append(&mut self, stream: u8, key: bool, size: usize) {
        let stream = Stream::from_number(stream).unwrap();
        let spool = self.spool.as_mut().unwrap();
        let seq = spool.next_seq(stream);
        assert!(
            !self.model.batches.contains_key(&(stream, seq)),
            "{stream:?} {seq} is used again"
        );
        let bytes: Vec<u8> = (0..size).map(|at| (at as u64 * seq) as u8).collect();
        let mut key = key || stream != Stream::Samples;
        let mut outcome = spool.append(stream, info(stream, seq), key, &bytes);
        if let Err(SpoolError::NeedsKey { .. }) = outcome {
            key = true;
            outcome = spool.append(stream, info(stream, seq), key, &bytes);
        }
        let in_memory = spool.counters().memory_bytes > 0;
        match outcome {
            // A process that died inside the call never learnt its outcome and sent nothing.
            _ if self.dead() => return,
            Ok(()) => {}
            Err(SpoolError::Full { .. } | SpoolError::State(_)) => return,
            Err(other) => panic!("{other}"),
        }
        self.model.batches.insert((stream, seq), (key, bytes));
        if stream != Stream::Security || in_memory {
            self.model.volatile.insert((stream, seq));
        }
    }

    /// Everything that was appended is here as it went, or there is a reason.
    fn check(&mut self) {
        let spool = self.spool.as_mut().unwrap();
        let mut found = BTreeSet::new();
        for stream in Stream::ALL {
            let mut cursor = spool.cursor(stream, 0);
            let mut bytes = Vec::new();
            let mut before = None;
            while let Some(record) = spool.read(&mut cursor, &mut bytes) {
                let seq = record.info.seq;
                assert!(before < Some(seq), "in order");
                if let Some((key, expected)) = self.model.batches.get(&(stream, seq)) {
                    assert_eq!(record.info, info(stream, seq));
                    assert_eq!((record.key, &bytes), (*key, expected), "{stream:?} {seq}");
                }
                assert!(
                    record.key || before == Some(seq - 1),
                    "a delta follows its frame"
                );
                found.insert((stream, seq));
                before = Some(seq);
                bytes.clear();
            }
        }
        let dropped = spool.status().dropped;
        for &(stream, seq) in self.model.batches.keys() {
            assert!(
                spool.next_seq(stream) > seq,
                "{stream:?} {seq} could be used again"
            );
            let is_dropped = || {
                dropped
                    .iter()
                    .any(|d| d.stream == stream && d.first <= seq && seq <= d.last)
            };
            let there = found.contains(&(stream, seq));
            let known = self.model.settled.contains(&(stream, seq))
                || self.model.excused.contains(&(stream, seq));
            assert!(
                there || known || is_dropped(),
                "{stream:?} {seq} is lost without a word"
            );
        }
        assert!(spool.status().bytes <= LIMITS.max_bytes + 64 * 1024);
    }

    /// Leaves of each file what was synced, and any part of the rest.
    fn cut_power(&mut self, mut seed: u64) {
        let mut random = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let durable = self.faults.lock().unwrap().durable.clone();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let now = fs::read(&path).unwrap();
            let synced = durable.get(&path).cloned().unwrap_or_default();
            let left = if path.ends_with("state") {
                mix_sectors(&synced, &now, &mut random)
            } else {
                let sure = synced.len().min(now.len());
                now[..sure + random() % (now.len() - sure + 1)].to_vec()
            };
            fs::write(&path, left).unwrap();
        }
        bring_back_removed(self.dir.path(), &durable, &mut random);
    }
}

fn mix_sectors(old: &[u8], new: &[u8], random: &mut impl FnMut() -> usize) -> Vec<u8> {
    let mut mixed = new.to_vec();
    for (target, source) in mixed.chunks_mut(512).zip(old.chunks(512)) {
        if random().is_multiple_of(2) {
            target.copy_from_slice(source);
        }
    }
    mixed
}

fn bring_back_removed(
    dir: &Path,
    durable: &std::collections::HashMap<std::path::PathBuf, Vec<u8>>,
    random: &mut impl FnMut() -> usize,
) {
    for (path, bytes) in durable {
        if path.starts_with(dir) && !path.exists() && random().is_multiple_of(4) {
            fs::write(path, bytes).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_without_a_word_and_no_number_is_used_twice(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            // A process that dies while it gives these up has not told anyone yet.
            let in_memory = world.in_memory();
            world.run(step);
            if world.dead() {
                world.model.excused.extend(in_memory);
                world.kill();
                world.reopen();
            }
        }
        world.kill();
        world.reopen();
    }
}
