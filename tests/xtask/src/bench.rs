//! `cargo xtask bench [NAME]`: our figures next to those of other programs, from one run.
//!
//! Never a test: a figure says how much, not whether something works. A row is one entry of
//! [`ROWS`]; its last line reads `NAME: ours …, peer … (which), bar …: holds` or `short`.

mod agent;
mod authorisation;
mod conformance;
mod devices;
mod engine;
mod http;
mod ingest;
mod isolation;
mod load;
mod orders;
mod pages;
mod peers;
mod postgres;
mod queries;
mod sender;
mod sessions;
mod snmp;
mod span;
mod stamp;
mod tree;
mod usage;
mod wire;

use anyhow::{Result, bail};

use crate::packages;
use crate::process::{call, cargo};

/// A row: its name and what measures it.
type Row = (&'static str, fn(&Programs) -> Result<()>);

/// Every row that can be measured, in the order of docs/benchmarks.md.
const ROWS: &[Row] = &[
    ("agent-memory", agent::memory),
    ("agent-cpu", agent::cpu),
    ("agent-binary", agent::binary),
    ("wire-bytes", wire::bytes),
    ("ingest-cpu", ingest::cpu),
    ("query-latency", queries::latency),
    ("query-rate", queries::rate),
    ("query-isolation", isolation::queries),
    ("sessions-20k", sessions::many),
    ("revocation", orders::revocation),
    ("reconnect-storm", sessions::storm),
    ("page-weight", pages::page_weight),
    ("wall-live", pages::wall_live),
    ("tree-scale", tree::scale),
];

/// A row that needs none of our programs.
type Plain = (&'static str, fn(&Size) -> Result<()>);

/// Rows that need none of our programs; measured first.
const PLAIN: &[Plain] = &[
    ("disk-bytes", engine::disk_bytes),
    ("engine-ingest", engine::ingest),
    ("engine-memory", engine::memory),
    ("cluster-sender", sender::cluster),
    ("promql-conformance", |_| conformance::promql()),
    ("authorisation-matrix", |_| authorisation::matrix()),
    ("snmp-walk", snmp::walk),
    ("snmp-fleet", devices::fleet),
    ("trap-burst", devices::traps),
    ("stamp-accuracy", stamp::accuracy),
];

/// How large a plain row's data is, if not as large as the row says itself.
#[derive(Default)]
pub(crate) struct Size {
    hosts: Option<u64>,
    minutes: Option<u64>,
}

/// What is measured, and for how long.
pub(crate) struct Programs {
    agent: std::path::PathBuf,
    controller: std::path::PathBuf,
    /// What was asked for; each row knows what it needs otherwise.
    seconds: Option<u64>,
    size: Size,
}

/// Measures the named row, or all of them. `--seconds N` sets the length of a run, `--hosts N` and
/// `--minutes N` the data of the rows of the sample engine;
/// `--release` measures the release profile's programs instead of those that are shipped.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut names = Vec::new();
    let (mut seconds, mut release, mut size) = (None, false, Size::default());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--release" => release = true,
            "--seconds" => match rest.next().map(|text| text.parse()) {
                Some(Ok(number)) => seconds = Some(number),
                _ => bail!("--seconds needs a whole number"),
            },
            "--hosts" => size.hosts = rest.next().and_then(|text| text.parse().ok()),
            "--minutes" => size.minutes = rest.next().and_then(|text| text.parse().ok()),
            name => names.push(name.to_owned()),
        }
    }
    if let Some(name) = names.iter().find(|name| !known().any(|row| row == *name)) {
        let known: Vec<&str> = known().collect();
        bail!("there is no row `{name}`; there are {}", known.join(", "));
    }
    let wanted = |row: &str| names.is_empty() || names.iter().any(|name| name == row);
    for (name, measure) in PLAIN.iter().filter(|(name, _)| wanted(name)) {
        println!("== {name}");
        measure(&size)?;
    }
    if !ROWS.iter().any(|(name, _)| wanted(name)) {
        return Ok(());
    }
    packages::ensure(packages::TEST)?;
    packages::ensure(packages::BENCH)?;
    let programs = build(release, seconds, size)?;
    for (name, measure) in ROWS.iter().filter(|(name, _)| wanted(name)) {
        println!("== {name}");
        measure(&programs)?;
    }
    Ok(())
}

/// The names of all rows.
fn known() -> impl Iterator<Item = &'static str> {
    PLAIN
        .iter()
        .map(|(name, _)| *name)
        .chain(ROWS.iter().map(|(name, _)| *name))
}

fn build(release: bool, seconds: Option<u64>, size: Size) -> Result<Programs> {
    let (small, fast) = if release {
        ("release", "release")
    } else {
        ("dist-agent", "dist")
    };
    let build = |profile: &str, package: &str| {
        call(&mut cargo(&[
            "build",
            "--quiet",
            "--profile",
            profile,
            "--package",
            package,
        ]))
    };
    build(small, "xiezhi-agentd")?;
    build(fast, "xiezhi-controllerd")?;
    build("release", "xiezhi-bench")?;
    let target = crate::process::target();
    Ok(Programs {
        agent: target.join(small).join("xiezhi-agent"),
        controller: target.join(fast).join("xiezhi-controller"),
        seconds,
        size,
    })
}

/// Prints a row's last line. `holds` says whether ours is within the bar.
fn verdict(name: &str, ours: &str, peers: &str, bar: &str, holds: bool) {
    let word = if holds { "holds" } else { "short" };
    println!("{name}: ours {ours}, peer {peers}, bar {bar}: {word}");
}
