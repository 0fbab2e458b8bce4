//! The fuzz targets on every run of the suite: kept inputs, arbitrary bytes, and damaged copies of valid
//! and of kept inputs.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use xiezhi_fuzz_entries::{ALL, Target};

/// A change to a valid input.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = || any::<prop::sample::Index>();
    let change = prop_oneof![
        4 => (place(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        3 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), 1usize..20).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ];
    prop::collection::vec(change, 0..5)
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Flip(at, bit) => *at.get_mut(&mut bytes) ^= 1 << bit,
            Change::Set(at, byte) => *at.get_mut(&mut bytes) = *byte,
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Remove(at, count) => {
                let start = at.index(bytes.len());
                bytes.drain(start..(start + count).min(bytes.len()));
            }
            Change::Insert(at, new) => {
                let start = at.index(bytes.len());
                bytes.splice(start..start, new.iter().copied());
            }
        }
    }
    bytes
}

fn drive(target: &Target) {
    let mut seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    seeds.extend(target.kept());
    for seed in &seeds {
        (target.run)(seed);
    }
    (target.run)(&[]);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(150)
    });
    let damaged = (prop::sample::select(seeds), changes());
    let result = runner.run(&damaged, |(seed, changes)| {
        (target.run)(&apply(seed, &changes));
        Ok(())
    });
    assert!(result.is_ok(), "{}: {result:?}", target.name);
    let result = runner.run(&prop::collection::vec(any::<u8>(), 0..400), |bytes| {
        (target.run)(&bytes);
        Ok(())
    });
    assert!(result.is_ok(), "{}: {result:?}", target.name);
}

fn drive_named(name: &str) {
    let target = ALL.iter().find(|target| target.name == name);
    assert!(target.is_some(), "no target {name}");
    target.into_iter().for_each(drive);
}

#[test]
fn sample_frames_are_read_without_panic() {
    drive_named("frames");
}

#[test]
fn event_batches_are_read_without_panic() {
    drive_named("events");
}

#[test]
fn polls_of_devices_are_read_without_panic() {
    drive_named("polls");
}

#[test]
fn records_acknowledgements_messages_and_tokens_are_read_without_panic() {
    for name in ["records", "acks", "messages", "token"] {
        drive_named(name);
    }
}

#[test]
fn spool_segments_are_read_without_panic() {
    drive_named("spool");
}

#[test]
fn files_of_the_sample_store_are_read_without_panic() {
    drive_named("log");
}

#[test]
fn chunks_and_pieces_of_blocks_are_read_without_panic() {
    for name in ["chunks", "pieces"] {
        drive_named(name);
    }
}

#[test]
fn a_story_of_the_sample_store_ends_well() {
    drive_named("store");
}

#[test]
fn configuration_is_read_without_panic() {
    drive_named("config");
}

#[test]
fn any_query_text_gets_an_answer_or_an_error() {
    drive_named("promql");
}

#[test]
fn bodies_of_remote_write_are_stored_once_or_refused() {
    drive_named("remote_write");
}

#[test]
fn readers_of_what_strangers_send_and_disks_hold_have_kept_inputs() {
    for name in [
        "log",
        "chunks",
        "pieces",
        "promql",
        "remote_write",
        "spreadsheet",
    ] {
        let target = ALL.iter().find(|target| target.name == name);
        let kept = target.map(Target::kept).unwrap_or_default();
        assert!(kept.len() >= 8, "{name} has only {}", kept.len());
        let bytes: usize = kept.iter().map(Vec::len).sum();
        assert!(bytes < 100_000, "{name} keeps {bytes} bytes");
    }
}

#[test]
fn every_target_has_its_file_for_the_fuzzer() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    files.sort();
    let mut names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

#[test]
fn spreadsheets_become_rows_or_problems() {
    drive_named("spreadsheet");
}
