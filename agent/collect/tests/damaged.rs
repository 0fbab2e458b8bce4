//! Whatever is in a host's files, collectors neither panic nor push what is no sample, and the
//! collectors that read other files do not notice.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may fail as the test itself may"
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use xiezhi_collect::{Collectors, HostRoot, Options, facts};
use xiezhi_protocol::report::{Report, parse_series};

/// What happens to one file.
#[derive(Debug, Clone)]
enum Damage {
    /// Ends early, at this share of its length.
    Truncated(u8),
    /// Holds other bytes at some places.
    Overwritten(Vec<(u16, u8)>),
    /// Holds nothing but this.
    Replaced(Vec<u8>),
    /// Every digit is the same; numbers become as long as they were but huge.
    Nines,
    /// Follows itself.
    Doubled,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<u8>().prop_map(Damage::Truncated),
        prop::collection::vec(any::<(u16, u8)>(), 1..20).prop_map(Damage::Overwritten),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Damage::Replaced),
        Just(Damage::Nines),
        Just(Damage::Doubled),
    ]
}

fn apply(damage: &Damage, mut content: Vec<u8>) -> Vec<u8> {
    match damage {
        Damage::Truncated(share) => content.truncate(content.len() * usize::from(*share) / 256),
        Damage::Overwritten(changes) => {
            let length = content.len();
            for (at, byte) in changes.iter().filter(|_| length > 0) {
                content[usize::from(*at) % length] = *byte;
            }
        }
        Damage::Replaced(bytes) => content.clone_from(bytes),
        Damage::Nines => {
            for byte in content.iter_mut().filter(|byte| byte.is_ascii_digit()) {
                *byte = b'9';
            }
        }
        Damage::Doubled => content.extend_from_within(..),
    }
    content
}

fn hosts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts")
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path()).unwrap();
            std::os::unix::fs::symlink(link, target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn value_of(report: &Report, wanted: &str) -> Option<f64> {
    report
        .iter()
        .find(|(series, _)| *series == wanted)
        .map(|(_, value)| value)
}

/// A series, its value, and the file that it comes from: while another file is damaged it stays.
type Untouched = (&'static str, f64, &'static str);

fn damaged_files_yield_errors_and_the_rest_of_the_data(name: &str, untouched: Untouched) {
    let folder = tempfile::tempdir().unwrap();
    copy(&hosts().join(name), folder.path());
    let host = HostRoot::at(folder.path());
    let mut files = Vec::new();
    files_below(folder.path(), &mut files);
    let config = ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..Default::default()
    };
    let strategy = (any::<prop::sample::Index>(), damage());
    let outcome = TestRunner::new(config).run(&strategy, |(index, damage)| {
        let damaged = index.get(&files);
        let content = fs::read(damaged).unwrap();
        fs::write(damaged, apply(&damage, content.clone())).unwrap();
        let mut collectors = Collectors::new(host.clone(), Options::default());
        let mut report = Report::new();
        collectors.collect(0, &mut report);
        collectors.collect(60_000, &mut report);
        let facts = facts::read(&host);
        fs::write(damaged, content).unwrap();
        for (series, value) in report.iter() {
            prop_assert!(parse_series(series).is_some(), "{}", series);
            prop_assert!(value.is_finite());
        }
        for (_, error) in collectors.problems() {
            prop_assert!(!error.chain().is_empty());
        }
        let (series, value, file) = untouched;
        if !damaged.ends_with(file) {
            prop_assert_eq!(value_of(&report, series), Some(value));
        }
        prop_assert!(facts.disks.len() <= 256);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn damaged_files_of_a_6_18_host_yield_errors_and_the_rest_of_the_data() {
    let untouched = ("node_entropy_pool_size_bits", 256.0, "poolsize");
    damaged_files_yield_errors_and_the_rest_of_the_data("kernel-6.18", untouched);
}

#[test]
fn damaged_files_of_a_4_19_host_yield_errors_and_the_rest_of_the_data() {
    let untouched = ("node_load1", 0.21, "loadavg");
    damaged_files_yield_errors_and_the_rest_of_the_data("kernel-4.19", untouched);
}
