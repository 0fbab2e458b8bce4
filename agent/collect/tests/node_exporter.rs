//! Values against node_exporter on the same machine at the same moment.
//!
//! Ours are read before and after each scrape. A counter of theirs must lie between the two every
//! time. A gauge may have moved out and back in between, so it must lie between the two at least
//! once in [`ROUNDS`] rounds. Names and label sets must agree but for what
//! `node_exporter_differences.txt` lists with a reason.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may fail as the test itself may"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use xiezhi_collect::{Collectors, HostRoot, Options};
use xiezhi_protocol::report::Report;

const ROUNDS: usize = 40;

type Series = BTreeMap<String, f64>;

struct Exporter {
    process: Child,
    address: String,
}

impl Exporter {
    fn start() -> Option<Self> {
        let process = Command::new("prometheus-node-exporter")
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--web.disable-exporter-metrics",
            ])
            .arg("--collector.processes")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = process else {
            xiezhi_test_skip::skip("there is no prometheus-node-exporter: apt-get install it");
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while address.is_none() {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "node_exporter ended early"
            );
            if line.contains("Listening on") {
                address = line
                    .trim()
                    .rsplit_once("address=")
                    .map(|(_, text)| text.to_owned());
            }
        }
        // Its log must be read on, or it would block once the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self {
            process,
            address: address.unwrap(),
        })
    }

    fn connect(&self) -> Connection {
        Connection(BufReader::new(TcpStream::connect(&self.address).unwrap()))
    }
}

/// One connection for all scrapes: it is itself among the sockets that both sides count.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn scrape(&mut self) -> Series {
        self.0
            .get_mut()
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        let mut length = None;
        let mut line = self.line().to_lowercase();
        assert!(line.contains(" 200 "), "{line}");
        while !line.is_empty() {
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = Some(text.parse().unwrap());
            }
            line = self.line().to_lowercase();
        }
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).unwrap();
        while length.is_none() {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            let start = body.len();
            body.resize(start + size, 0);
            self.0.read_exact(&mut body[start..]).unwrap();
            self.line();
            if size == 0 {
                break;
            }
        }
        String::from_utf8(body)
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("node_"))
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn ours(collectors: &mut Collectors, report: &mut Report) -> Series {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    collectors.collect(i64::try_from(now_ms).unwrap(), report);
    report
        .iter()
        .map(|(series, value)| (series.to_owned(), value))
        .collect()
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap()
}

fn is_counter(name: &str) -> bool {
    let is_protocol_counter = name.starts_with("node_netstat_")
        && !name.ends_with("_CurrEstab")
        && !name.ends_with("_Forwarding");
    name.ends_with("_total") || name.starts_with("node_vmstat_") || is_protocol_counter
}

/// What rounding may take from a value: node_exporter multiplies by 0.001 where we divide, and our
/// time is in whole milliseconds.
fn slack(name: &str, value: f64) -> f64 {
    let rounding = value.abs() * 1e-9;
    if name == "node_time_seconds" || name.starts_with("node_schedstat_") {
        return rounding + 0.001;
    }
    // Whoever counts is itself running: node_exporter finds its own process so, while ours is a
    // thread of a test whose process waits.
    if name.starts_with("node_processes_") && name.ends_with("_state") {
        return 1.0;
    }
    rounding
}

/// The lines of the committed list: kind, name pattern, whether it must occur.
fn listed() -> Vec<(String, String, bool)> {
    let text = include_str!("node_exporter_differences.txt");
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let (kind, pattern) = (words.next().unwrap(), words.next().unwrap());
            assert!(words.next().is_some(), "no reason is given: {line}");
            let (kind, required) = match kind.strip_suffix('?') {
                Some(kind) => (kind, false),
                None => (kind, true),
            };
            assert!(
                ["theirs", "ours", "labels"].contains(&kind),
                "unknown kind: {line}"
            );
            (kind.to_owned(), pattern.to_owned(), required)
        })
        .collect()
}

fn matches(pattern: &str, series: &str) -> bool {
    let name = name_of(series);
    let (pattern, condition) = match pattern.split_once('{') {
        Some((pattern, condition)) => (pattern, condition.strip_suffix('}').unwrap()),
        None => (pattern, ""),
    };
    let is_named = match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    let has = |(label, values): (&str, &str)| {
        let mut values = values.split('|');
        values.any(|value| series.contains(&format!("{label}=\"{value}\"")))
    };
    is_named && condition.split_once('=').is_none_or(has)
}

#[test]
fn a_listed_difference_with_a_condition_excuses_no_other_series() {
    let pattern = "node_filesystem_*{fstype=nfs|cifs}";
    let size = |kind: &str| format!("node_filesystem_size_bytes{{device=\"a\",fstype=\"{kind}\"}}");
    assert!(matches(pattern, &size("nfs")) && matches(pattern, &size("cifs")));
    assert!(!matches(pattern, &size("nfs4")) && !matches(pattern, &size("ext4")));
    assert!(!matches(pattern, "node_load1"));
}

/// Differences of one round, as `kind series`. What came or went between our two readings does not
/// count.
fn differences(before: &Series, theirs: &Series, after: &Series) -> BTreeSet<String> {
    let names = |all: &Series| -> BTreeSet<String> {
        all.keys()
            .map(|series| name_of(series).to_owned())
            .collect()
    };
    let (names_before, their_names, names_after) = (names(before), names(theirs), names(after));
    let mut found = BTreeSet::new();
    for series in theirs.keys() {
        if !before.contains_key(series) && !after.contains_key(series) {
            let name = name_of(series);
            let is_known = names_before.contains(name) || names_after.contains(name);
            found.insert(format!(
                "{} {series}",
                if is_known { "labels" } else { "theirs" }
            ));
        }
    }
    for series in before.keys().filter(|series| after.contains_key(*series)) {
        if !theirs.contains_key(series) {
            let name = name_of(series);
            let is_known = their_names.contains(name);
            found.insert(format!(
                "{} {series}",
                if is_known { "labels" } else { "ours" }
            ));
        }
    }
    found
}

#[test]
fn every_shared_value_agrees_and_every_difference_is_listed() {
    let Some(exporter) = Exporter::start() else {
        return;
    };
    let options = Options {
        slow_every_ms: 0,
        ..Options::default()
    };
    let mut collectors = Collectors::new(HostRoot::real(), options);
    let mut connection = exporter.connect();
    let mut report = Report::new();
    let mut wrong = BTreeMap::new();
    let mut never_between = BTreeMap::new();
    let mut once_between = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut compared = BTreeSet::new();
    for _ in 0..ROUNDS {
        let before = ours(&mut collectors, &mut report);
        let theirs = connection.scrape();
        let after = ours(&mut collectors, &mut report);
        found.extend(differences(&before, &theirs, &after));
        for (series, value) in &theirs {
            let (Some(first), Some(last)) = (before.get(series), after.get(series)) else {
                continue;
            };
            compared.insert(series.clone());
            let slack = slack(name_of(series), *value);
            let is_between =
                first.min(*last) - slack <= *value && *value <= first.max(*last) + slack;
            let numbers = format!("{first} … {value} … {last}");
            match (is_between, is_counter(name_of(series))) {
                (true, _) => _ = once_between.insert(series.clone()),
                (false, true) => _ = wrong.insert(series.clone(), numbers),
                (false, false) => _ = never_between.insert(series.clone(), numbers),
            }
        }
    }
    never_between.retain(|series, _| !once_between.contains(series));
    assert!(
        wrong.is_empty(),
        "counters are not between our two readings: {wrong:#?}"
    );
    assert!(
        never_between.is_empty(),
        "gauges never agreed: {never_between:#?}"
    );
    assert!(
        compared.len() > 150,
        "only {} series were compared",
        compared.len()
    );
    check_listed(&found);
    println!(
        "{} series agree, {} differences are listed",
        compared.len(),
        found.len()
    );
}

fn check_listed(found: &BTreeSet<String>) {
    let listed = listed();
    let is_listed = |difference: &str| {
        let (kind, series) = difference.split_once(' ').unwrap();
        listed
            .iter()
            .any(|(known, pattern, _)| known == kind && matches(pattern, series))
    };
    let unlisted: Vec<_> = found
        .iter()
        .filter(|difference| !is_listed(difference))
        .collect();
    let occurs = |kind: &str, pattern: &str| {
        found
            .iter()
            .filter_map(|found| found.split_once(' '))
            .any(|(known, series)| known == kind && matches(pattern, series))
    };
    let gone: Vec<_> = listed
        .iter()
        .filter(|(kind, pattern, required)| *required && !occurs(kind, pattern))
        .collect();
    assert!(
        unlisted.is_empty() && gone.is_empty(),
        "node_exporter_differences.txt needs an edit; not listed: {unlisted:#?}; gone: {gone:#?}"
    );
}
