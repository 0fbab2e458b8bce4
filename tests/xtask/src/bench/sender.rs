//! The row `cluster-sender`: what it costs to send samples on to a cluster.
//!
//! The receiver takes everything and keeps nothing. Ours is the controller's sender alone, with a log
//! of ten million samples before it. A vmagent is fed reports of the same machines and sends them on,
//! so its figure holds what taking them in costs. Prometheus is fed twice, with and without a
//! `remote_write`; the difference is what sending costs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::load::{Load, command, field};
use super::peers::free_port;
use super::span::{Span, machine_load, pause, resident_mib};
use super::{Size, verdict};
use crate::packages;
use crate::process::{call, cargo, output};
use crate::stage::Children;

/// Hosts that a peer is fed with, a report a second each, and connections that they share.
const PEER_FEED: [&str; 3] = ["200", "4", "1000"];
/// How long a peer is watched, after it found its pace.
const PACE_S: u64 = 15;
const WATCHED_S: u64 = 40;

/// What a program used.
struct Used {
    cpu_s_per_million: f64,
    highest_mib: f64,
}

pub(super) fn cluster(size: &Size) -> Result<()> {
    packages::ensure(packages::BENCH)?;
    let build = ["build", "--quiet", "--release", "--package", "xiezhi-bench"];
    call(&mut cargo(&build))?;
    let sink_port = free_port()?.to_string();
    let mut sink = Load::start(&mut command(&["sink", &sink_port]))?;
    sink.wait_until("samples", Duration::from_secs(30), |_| true)?;
    let hosts = size.hosts.unwrap_or(300).to_string();
    let reports = (size.minutes.unwrap_or(60) * 4).to_string();
    let said = output(&mut command(&["send-on", &sink_port, &hosts, &reports]))?;
    print!("{said}");
    let number = |name: &str| field(&said, name).with_context(|| format!("no {name} was said"));
    let (ours, ours_mib) = (number("cpu_s_per_million")?, number("sender_mib")?);
    let vmagent = watch("vmagent", Some(&sink_port))?;
    let alone = watch("prometheus", None)?;
    let both = watch("prometheus", Some(&sink_port))?;
    sink.stop()?;
    let prometheus = both.cpu_s_per_million - alone.cpu_s_per_million;
    println!(
        "prometheus {:.2} CPU-s/M without remote_write, {:.2} with",
        alone.cpu_s_per_million, both.cpu_s_per_million
    );
    println!("machine load {}", machine_load());
    let peers = format!(
        "{:.2} CPU-s/M and {:.0} MiB (vmagent, taking in included), {prometheus:.2} CPU-s/M more and {:.0} \
         MiB more (Prometheus with remote_write than without)",
        vmagent.cpu_s_per_million,
        vmagent.highest_mib,
        both.highest_mib - alone.highest_mib
    );
    verdict(
        "cluster-sender",
        &format!("{ours:.2} CPU-s/M and {ours_mib:.0} MiB"),
        &peers,
        "no more CPU than either",
        ours <= vmagent.cpu_s_per_million && ours <= prometheus,
    );
    Ok(())
}

/// Feeds a program, which sends on to the sink if there is one, and says what that cost it.
fn watch(name: &'static str, sink: Option<&str>) -> Result<Used> {
    let folder = std::env::temp_dir().join(format!("xiezhi-sender-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir(&folder)?;
    let used = watch_in(&folder, name, sink);
    std::fs::remove_dir_all(&folder)?;
    used
}

fn watch_in(folder: &Path, name: &'static str, sink: Option<&str>) -> Result<Used> {
    let port = free_port()?.to_string();
    let mut program = match name {
        "vmagent" => vmagent(folder, &port, sink),
        _ => prometheus(folder, &port, sink)?,
    };
    let mut children = Children::default();
    program.stdout(Stdio::null()).stderr(Stdio::null());
    children.start(name, &mut program)?;
    let id = children.id(name).context("it was started")?;
    let [hosts, connections, interval_ms] = PEER_FEED;
    let feed = [
        "remote-write",
        &port,
        "/api/v1/write",
        hosts,
        connections,
        interval_ms,
    ];
    let mut feeder = Load::start(&mut command(&feed))?;
    feeder.wait_until("samples", Duration::from_secs(60), |samples| samples > 0.0)?;
    pause(PACE_S);
    let (span, before) = (Span::begin(id), feeder.get("samples"));
    pause(WATCHED_S);
    let samples = feeder.get("samples") - before;
    let used = Used {
        cpu_s_per_million: span.end().cpu_s() / samples * 1e6,
        highest_mib: resident_mib(id).1,
    };
    children.check()?;
    feeder.stop()?;
    Ok(used)
}

fn vmagent(folder: &Path, port: &str, sink: Option<&str>) -> Command {
    let mut command = Command::new("vmagent");
    command
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .arg(format!("-remoteWrite.tmpDataPath={}", folder.display()));
    if let Some(sink) = sink {
        command.arg(format!(
            "-remoteWrite.url=http://127.0.0.1:{sink}/api/v1/write"
        ));
    }
    command
}

fn prometheus(folder: &Path, port: &str, sink: Option<&str>) -> Result<Command> {
    let configuration = folder.join("prometheus.yml");
    let text = match sink {
        Some(sink) => format!("remote_write: [{{url: 'http://127.0.0.1:{sink}/api/v1/write'}}]\n"),
        None => "global: {}\n".to_owned(),
    };
    std::fs::write(&configuration, text)?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", configuration.display()))
        .args(["--web.enable-remote-write-receiver", "--log.level=error"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ));
    Ok(command)
}
