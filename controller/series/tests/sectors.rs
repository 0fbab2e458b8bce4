//! One bad sector costs what lies in it: of every file, each sector is damaged alone, and what is lost is
//! what the pieces have that lie there, and no more.
//!
//! What a piece has is found out by damaging one byte of it. So a file of which one byte costs little and a
//! sector costs all fails here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, Owned, Reporter, options};
use xiezhi_promql::{Budget, Label, Limits, MatchOp, Matcher, Select, SelectHint, Storage as _};
use xiezhi_series::{
    Appended, HostLabels, LabelledHost, Selector, SeriesOptions, SeriesStore, VerifyReport,
};

const HOSTS: i64 = 3;
/// Reports of half an hour.
const REPORTS: u64 = 12;
const CHECKPOINT: &str = "dedup.checkpoint";
const PREVIOUS: &str = "dedup.previous";
const LOG: &str = "wal-0000000009.log";

/// A point, or a frame that is known.
type Fact = (String, i64, u64);

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

/// A store that was stopped.
struct Stopped {
    disk: PowerDisk,
    options: SeriesOptions,
    last: Vec<Owned>,
}

impl Stopped {
    /// So many half hours, each in a log of its own, of which the last is no block yet.
    fn after(half_hours: u64, retention: Duration) -> Self {
        let (clock, disk) = (ManualClock::new(), PowerDisk::default());
        let options = SeriesOptions {
            retention,
            ..options(&clock)
        };
        let mut reporters: Vec<Reporter> = (1..=HOSTS).map(Reporter::new).collect();
        let store = SeriesStore::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
        let mut last = Vec::new();
        for seq in 1..=half_hours * REPORTS {
            last = reporters.iter_mut().map(|host| host.report(seq)).collect();
            // Each a group of its own: a group that is cut short is torn off whole.
            for one in &last {
                assert_eq!(store.append(&[one.frame()]).unwrap(), [Appended::Stored]);
            }
            if seq % REPORTS == 0 {
                store.maintain().unwrap();
                clock.advance(Duration::from_secs(1801));
            }
        }
        Self {
            disk,
            options,
            last,
        }
    }

    fn open(&self, disk: &PowerDisk) -> SeriesStore {
        SeriesStore::open_on(Arc::new(disk.clone()), self.options.clone()).unwrap()
    }

    fn file(&self, is_it: impl Fn(&str) -> bool) -> String {
        let mut names = self.disk.names().into_iter().filter(|name| is_it(name));
        let name = names.next().unwrap();
        assert_eq!(names.next(), None);
        name
    }
}

/// All that is answered.
fn told(store: &SeriesStore) -> BTreeSet<Fact> {
    let request = Select {
        matchers: vec![Matcher::new("__name__", MatchOp::Regex, ".+").unwrap()],
        start_ms: i64::MIN / 2,
        end_ms: i64::MAX / 2,
        hint: SelectHint {
            function: "max_over_time".to_owned(),
            range_ms: 300_000,
            ..SelectHint::default()
        },
    };
    let selector = Selector::new(store.clone(), Arc::new(Hosts));
    let budget = Budget::new(Limits::default());
    let mut told = BTreeSet::new();
    for series in selector.select(&request, &budget).unwrap() {
        for (&time_ms, value) in series.times.iter().zip(&*series.values) {
            told.insert((series.labels.to_string(), time_ms, value.to_bits()));
        }
    }
    for host in 1..=HOSTS {
        for frame in store.frames(host).unwrap() {
            let number = (format!("frame of {host}"), frame.batch.seq as i64, 0);
            told.insert(number);
        }
    }
    told
}

/// Where a file is damaged, or was torn off.
fn damaged(report: &VerifyReport, disk: &PowerDisk, name: &str, length: u64) -> Vec<Range<u64>> {
    let of_file = report.damaged.iter().filter(|damage| damage.file == name);
    let mut ranges: Vec<_> = of_file
        .map(|damage| damage.offset..damage.offset + damage.bytes)
        .collect();
    let left = disk.length(name) as u64;
    if left < length {
        ranges.push(left..length);
    }
    ranges
}

fn joined(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.collect();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// A piece of a file, and what is lost with a byte of it.
struct Piece {
    range: Range<u64>,
    lost: BTreeSet<Fact>,
}

fn pieces(stopped: &Stopped, name: &str, whole: &BTreeSet<Fact>) -> Vec<Piece> {
    let length = stopped.disk.length(name) as u64;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    while at < length {
        let disk = stopped.disk.after_kill();
        disk.flip(name, at as usize);
        let store = stopped.open(&disk);
        let found = damaged(&store.verify().unwrap(), &disk, name, length);
        let Some(range) = found.iter().find(|range| range.contains(&at)) else {
            assert_eq!(found, [], "{name} {at}");
            at += 8;
            continue;
        };
        at = range.end;
        pieces.push(Piece {
            range: range.clone(),
            lost: whole - &told(&store),
        });
    }
    pieces
}

/// Damages each sector of a file. Returns how many facts the worst of them cost.
fn damage_each_sector(stopped: &Stopped, name: &str) -> usize {
    let whole = told(&stopped.open(&stopped.disk.after_kill()));
    let pieces = pieces(stopped, name, &whole);
    let before = stopped.disk.bytes(name);
    let mut worst = 0;
    for (length, zeroed) in [(512, true), (512, false), (4096, true), (4096, false)] {
        for sector in 0..before.len().div_ceil(length) {
            let what = format!("{name}: sector {sector} of {length} bytes, zeroed: {zeroed}");
            let disk = stopped.disk.after_kill();
            disk.spoil(name, sector, length, zeroed);
            let after = disk.bytes(name);
            let is_hit = |piece: &&Piece| {
                let range = piece.range.start as usize..piece.range.end as usize;
                before[range.clone()] != after[range]
            };
            let store = stopped.open(&disk);
            let lost = &whole - &told(&store);
            let hit = || pieces.iter().filter(is_hit);
            let expected: BTreeSet<Fact> = hit().flat_map(|piece| piece.lost.clone()).collect();
            assert_eq!(lost, expected, "{what}");
            let report = store.verify().unwrap();
            assert_eq!(report.set_aside, Vec::<String>::new(), "{what}");
            let found = damaged(&report, &disk, name, before.len() as u64);
            assert_eq!(
                joined(found.into_iter()),
                joined(hit().map(|piece| piece.range.clone())),
                "{what}"
            );
            worst = worst.max(lost.len());
        }
    }
    for sector in 0..stopped.disk.sectors(name) {
        let disk = stopped.disk.after_kill();
        disk.refuse(name, Some(sector));
        let store = stopped.open(&disk);
        let range = sector * 4096..(sector + 1) * 4096;
        let hit = pieces
            .iter()
            .filter(|piece| piece.range.start < range.end && range.start < piece.range.end);
        let expected: BTreeSet<Fact> = hit.flat_map(|piece| piece.lost.clone()).collect();
        let what = format!("{name}: sector {sector} refused");
        assert_eq!(&whole - &told(&store), expected, "{what}");
        let met = store.damage_met();
        assert!(met.set_aside.is_empty(), "{what}");
        // Pages of samples are not read by a start: it is a question that meets them.
        assert!(expected.is_empty() || !met.is_none(), "{what}");
    }
    worst
}

#[test]
fn a_bad_sector_of_a_log_costs_the_records_in_it() {
    let stopped = Stopped::after(1, Duration::from_secs(86_400));
    let worst = damage_each_sector(&stopped, "wal-0000000001.log");
    assert!(worst > 0);
}

#[test]
fn a_bad_sector_of_a_block_costs_the_pages_in_it() {
    // Six half hours are one block, and two are blocks of their own.
    let stopped = Stopped::after(9, Duration::from_secs(86_400));
    for name in [
        "block-0000000001-0000000006.xzb",
        "block-0000000008-0000000008.xzb",
    ] {
        let points = damage_each_sector(&stopped, name);
        assert!(points > 0, "{name}");
    }
    // Of chains that began before it, a log has the state.
    assert!(damage_each_sector(&stopped, LOG) > 0);
}

#[test]
fn a_bad_sector_of_steps_costs_the_pages_in_it() {
    let stopped = Stopped::after(52, Duration::from_secs(7200));
    for step in ["-300.xzb", "-3600.xzb"] {
        let first = |name: &str| name.starts_with("rollup-0000000001-") && name.ends_with(step);
        let name = stopped.file(first);
        let store = stopped.open(&stopped.disk.after_kill());
        assert!(told(&store).iter().all(|fact| fact.1 != 1_700_000_025_000));
        drop(store);
        let points = damage_each_sector(&stopped, &name);
        assert_eq!(points > 0, step == "-300.xzb", "{name}");
    }
}

#[test]
fn a_bad_sector_of_what_is_known_to_be_stored_costs_nothing() {
    let stopped = Stopped::after(9, Duration::from_secs(86_400));
    let whole = told(&stopped.open(&stopped.disk.after_kill()));
    for name in [CHECKPOINT, PREVIOUS] {
        for sector in 0..stopped.disk.length(name).div_ceil(512) {
            for zeroed in [true, false] {
                let disk = stopped.disk.after_kill();
                disk.spoil(name, sector, 512, zeroed);
                let store = stopped.open(&disk);
                assert_eq!(told(&store), whole, "{name} {sector}");
                for one in &stopped.last {
                    assert_eq!(store.append(&[one.frame()]).unwrap(), [Appended::Replay]);
                }
            }
        }
    }
}
