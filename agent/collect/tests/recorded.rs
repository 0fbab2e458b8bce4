//! Recorded hosts, end to end: the files of a host in, every sample and fact out.
//!
//! `hosts/kernel-6.18` was recorded on a virtual machine, its processes and mounts made up;
//! `hosts/kernel-4.19` is made up after that kernel's documents: fewer memory fields, disk lines of
//! 14 columns, processor lines without guest time, no pressure, a RAID, sensors, IPv6 switched off.
//! `hosts/systemd-namespace` has only the mounts that a service with `ProtectSystem=strict` sees.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may fail as the test itself may"
)]

use std::fmt::Write as _;

use xiezhi_collect::{CollectError, Collectors, HostRoot, Options, facts, host};
use xiezhi_protocol::report::{Report, parse_series};

const NOW_MS: i64 = 1_700_000_000_000;

fn recorded(name: &str) -> HostRoot {
    HostRoot::at(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/hosts")
            .join(name),
    )
}

/// A line per sample, then a line per collector that lacks something.
fn everything(name: &str) -> String {
    let mut collectors = Collectors::new(recorded(name), Options::default());
    let mut report = Report::new();
    let outcomes = collectors.collect(NOW_MS, &mut report);
    assert_eq!(outcomes.refused, 0);
    let mut text = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for (series, value) in report.iter() {
        assert!(parse_series(series).is_some(), "{series}");
        assert!(seen.insert(series.to_owned()), "twice: {series}");
        writeln!(text, "{series} {value}").unwrap();
    }
    for (collector, error) in collectors.problems() {
        writeln!(text, "# {collector}: {}", error.chain()).unwrap();
    }
    text
}

#[test]
fn a_recorded_6_18_host_yields_the_golden_report() {
    insta::assert_snapshot!(everything("kernel-6.18"));
}

#[test]
fn a_4_19_host_yields_the_golden_report_with_its_losses_stated() {
    insta::assert_snapshot!(everything("kernel-4.19"));
}

#[test]
fn facts_of_a_recorded_6_18_host_are_golden() {
    let facts = facts::read(&recorded("kernel-6.18"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&facts).unwrap());
}

#[test]
fn facts_of_a_4_19_host_are_golden() {
    let facts = facts::read(&recorded("kernel-4.19"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&facts).unwrap());
}

#[test]
fn a_services_own_mount_namespace_does_not_show() {
    let disabled = host::names()
        .into_iter()
        .filter(|name| *name != "filesystem");
    let options = Options {
        disabled: disabled.map(str::to_owned).collect(),
        ..Options::default()
    };
    let mut collectors = Collectors::new(recorded("systemd-namespace"), options);
    let mut report = Report::new();
    collectors.collect(NOW_MS, &mut report);
    assert_eq!(collectors.problems().count(), 0);
    let lines: Vec<String> = report
        .iter()
        .map(|(series, value)| format!("{series} {value}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn slow_samples_are_repeated_until_their_next_run() {
    let mut collectors = Collectors::new(recorded("kernel-4.19"), Options::default());
    let mut report = Report::new();
    collectors.collect(NOW_MS, &mut report);
    let first: Vec<(String, f64)> = report
        .iter()
        .map(|(series, value)| (series.to_owned(), value))
        .collect();
    for seconds in [15, 30, 45, 60, 75] {
        let outcomes = collectors.collect(NOW_MS + seconds * 1000, &mut report);
        assert_eq!(report.time_ms(), NOW_MS + seconds * 1000);
        assert_eq!(outcomes.samples, first.len());
        let again: Vec<(String, f64)> = report
            .iter()
            .map(|(series, value)| (series.to_owned(), value))
            .collect();
        assert_eq!(again, first);
    }
}

#[test]
fn a_clock_that_steps_back_does_not_stop_slow_collectors() {
    let folder = tempfile::tempdir().unwrap();
    let uname = folder.path().join("calls/uname");
    std::fs::create_dir(folder.path().join("calls")).unwrap();
    let disabled = host::names().into_iter().filter(|name| *name != "uname");
    let options = Options {
        disabled: disabled.map(str::to_owned).collect(),
        ..Options::default()
    };
    std::fs::write(&uname, "Linux\nbefore\n6\n1\nx86_64\n(none)\n").unwrap();
    let mut collectors = Collectors::new(HostRoot::at(folder.path()), options);
    let mut report = Report::new();
    collectors.collect(NOW_MS, &mut report);
    std::fs::write(&uname, "Linux\nafter\n6\n1\nx86_64\n(none)\n").unwrap();
    collectors.collect(NOW_MS + 15_000, &mut report);
    assert!(report.iter().any(|(series, _)| series.contains("before")));
    collectors.collect(NOW_MS - 3_600_000, &mut report);
    assert!(report.iter().any(|(series, _)| series.contains("after")));
}

#[test]
fn a_host_without_any_file_yields_errors_and_no_sample_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut collectors = Collectors::new(HostRoot::at(folder.path()), Options::default());
    let mut report = Report::new();
    let outcomes = collectors.collect(NOW_MS, &mut report);
    assert_eq!(outcomes.failed, outcomes.collectors);
    for (series, value) in report.iter() {
        assert!(
            series.starts_with("node_scrape_collector_success"),
            "{series}"
        );
        assert_eq!(value, 0.0, "{series}");
    }
    for (collector, error) in collectors.problems() {
        assert!(!error.chain().is_empty(), "{collector}");
    }
    assert!(
        !facts::read(&HostRoot::at(folder.path()))
            .unreadable
            .is_empty()
    );
}

#[test]
fn this_machine_is_read_without_a_refused_sample() {
    let mut collectors = Collectors::new(HostRoot::real(), Options::default());
    let mut report = Report::new();
    let outcomes = collectors.collect(NOW_MS, &mut report);
    assert_eq!(outcomes.refused, 0);
    assert!(outcomes.samples > 150, "{outcomes:?}");
    for (collector, error) in collectors.problems() {
        let is_loss = matches!(error, CollectError::NoData(_));
        assert!(is_loss, "{collector}: {}", error.chain());
    }
    let facts = facts::read(&HostRoot::real());
    assert!(facts.cpu_count > 0 && facts.memory_bytes > 0 && facts.boot_time_s > 0);
    assert!(!facts.hostname.is_empty() && !facts.interfaces.is_empty());
    assert!(
        facts
            .interfaces
            .iter()
            .any(|interface| !interface.addresses.is_empty())
    );
}

#[test]
fn names_of_collectors_are_unique() {
    let mut names = host::names();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
