//! What taking samples costs the controller, next to programs that take them as remote write.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::load::{self, Load};
use super::peers::free_port;
use super::span::{Span, Spent, machine_load, pause};
use super::{Programs, verdict};
use crate::process::output;
use crate::stage::{Children, Stage};

/// Hosts, each with a report of 150 series per interval.
const HOSTS: usize = 1000;

/// Many times the live cadence, so that a short run holds many reports; still one per frame.
const INTERVAL: Duration = Duration::from_secs(1);

/// Connections of a peer's senders, which share them: its users' Prometheus holds few.
const PEER_CONNECTIONS: usize = 250;

/// Length of a peer's run, and of its warm-up: the series are made then.
const PEER_SECONDS: u64 = 25;
const WARM_SECONDS: u64 = 12;

/// CPU seconds per million samples.
const BAR: f64 = 0.35;

/// Hosts that come back from an outage, and the reports that each brings: four hours at 15 s.
const RETURNING: usize = 200;
const BACKLOG: u64 = 960;

/// CPU seconds per million samples of a backlog.
const BACKLOG_BAR: f64 = 0.2;

/// All threads of each program, per million samples that it acknowledged.
pub(super) fn cpu(programs: &Programs) -> Result<()> {
    let ours = ours(programs)?;
    let returning = backlog(programs)?;
    let victoria = peer("victoria-metrics", "/health", |command, port, folder| {
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg("-loggerLevel=ERROR");
        command.arg(format!(
            "-storageDataPath={}",
            folder.join("victoria").display()
        ));
        Ok(())
    })?;
    let prometheus = peer("prometheus", "/-/ready", |command, port, folder| {
        let configuration = folder.join("prometheus.yml");
        std::fs::write(&configuration, "global: {}\n")?;
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg("--web.enable-remote-write-receiver");
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error");
        command.arg(format!(
            "--storage.tsdb.path={}",
            folder.join("prometheus").display()
        ));
        Ok(())
    })?;
    verdict(
        "ingest-cpu",
        &format!("{ours:.3} s/M live, {returning:.3} s/M backlog"),
        &format!("{victoria:.2} s/M (VictoriaMetrics), {prometheus:.2} s/M (Prometheus)"),
        &format!("{BAR} s/M live, {BACKLOG_BAR} s/M backlog"),
        ours <= BAR && returning <= BACKLOG_BAR,
    );
    Ok(())
}

/// Sessions over mutual TLS, fdatasync before each acknowledgement, and sealing.
fn ours(programs: &Programs) -> Result<f64> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut hosts = load::prepare_fleet(&stage, HOSTS, INTERVAL, 0)?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    load::announce(&stage, &ready)?;
    hosts.wait_until("connected", Duration::from_secs(120), |connected| {
        connected >= HOSTS as f64
    })?;
    // The first frame of each chain carries all names; it belongs to the start.
    pause(5);
    let id = children.id("controller").context("no controller")?;
    let (span, before) = (Span::begin(id), hosts.get("samples"));
    pause(programs.seconds.unwrap_or(60).min(60));
    let (spent, samples) = (span.end(), hosts.get("samples") - before);
    let live = say("controller", &spent, samples);
    let all_samples = hosts.get("samples");
    println!(
        "{} reports refused, {} sessions opened",
        hosts.get("refused"),
        hosts.get("sessions")
    );
    children.check()?;
    hosts.stop()?;
    drop(children);
    // A segment is sealed once an hour; this is what it costs, in a process of its own.
    let said = output(load::command(&["seal"]).arg(stage.folder().join("controller")))?;
    if load::field(&said, "sealed") < Some(1.0) {
        anyhow::bail!("nothing was sealed: {said}");
    }
    let seal =
        load::field(&said, "seal_cpu_s").context("sealing said nothing")? / all_samples * 1e6;
    println!(
        "sealing {seal:.3} s/M; {:.2} B per sample as a log, {:.2} sealed",
        load::field(&said, "bytes_before").unwrap_or(f64::NAN) / all_samples,
        load::field(&said, "bytes_after").unwrap_or(f64::NAN) / all_samples
    );
    Ok(live + seal)
}

/// Hosts that were cut off for hours send what they kept, as fast as it is taken.
fn backlog(programs: &Programs) -> Result<f64> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let interval = Duration::from_secs(15);
    let mut hosts = load::prepare_fleet(&stage, RETURNING, interval, BACKLOG)?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    load::announce(&stage, &ready)?;
    hosts.wait_until("connected", Duration::from_secs(120), |connected| {
        connected >= RETURNING as f64
    })?;
    let id = children.id("controller").context("no controller")?;
    let (span, before) = (Span::begin(id), hosts.get("samples"));
    let reports = RETURNING as f64 * BACKLOG as f64;
    hosts.wait_until("acknowledged", Duration::from_secs(600), |acknowledged| {
        acknowledged >= reports
    })?;
    let (spent, samples) = (span.end(), hosts.get("samples") - before);
    children.check()?;
    hosts.stop()?;
    Ok(say("backlog", &spent, samples))
}

fn peer(
    name: &'static str,
    health: &str,
    configure: impl FnOnce(&mut Command, u16, &Path) -> Result<()>,
) -> Result<f64> {
    let folder = PeerFolder::new(name)?;
    let port = free_port()?;
    let mut command = Command::new(name);
    configure(&mut command, port, &folder.0)?;
    let mut children = Children::default();
    children.start(name, command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait_healthy(port, health, &mut children)?;
    let (port, hosts, connections) = (
        port.to_string(),
        HOSTS.to_string(),
        PEER_CONNECTIONS.to_string(),
    );
    let interval = INTERVAL.as_millis().to_string();
    let mut sender = Load::start(&mut load::command(&[
        "remote-write",
        &port,
        "/api/v1/write",
        &hosts,
        &connections,
        &interval,
    ]))?;
    sender.wait_until("connected", Duration::from_secs(60), |open| {
        open >= PEER_CONNECTIONS as f64
    })?;
    pause(WARM_SECONDS);
    let id = children.id(name).context("no peer")?;
    let (span, before) = (Span::begin(id), sender.get("samples"));
    pause(PEER_SECONDS);
    let (spent, samples) = (span.end(), sender.get("samples") - before);
    if sender.get("failures") > 0.0 {
        println!("{name}: {} failures", sender.get("failures"));
    }
    children.check()?;
    sender.stop()?;
    Ok(say(name, &spent, samples))
}

/// Prints the parts and yields CPU seconds per million samples.
fn say(name: &str, spent: &Spent, samples: f64) -> f64 {
    let millions = samples / 1e6;
    println!(
        "{name:<16} {millions:.2} M samples in {:.0} s: {:.3} s/M ({:.3} user, {:.3} system); machine load {}",
        spent.seconds,
        spent.cpu_s() / millions,
        spent.user_s / millions,
        spent.system_s / millions,
        machine_load()
    );
    spent.cpu_s() / millions
}

fn wait_healthy(port: u16, path: &str, children: &mut Children) -> Result<()> {
    for _ in 0..600 {
        let answer = super::http::request(port, "GET", path, &[], "");
        if answer.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        children.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{path} at port {port} never answered well")
}

/// A peer's temporary folder, removed at the end.
struct PeerFolder(std::path::PathBuf);

impl PeerFolder {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("xiezhi-peer-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PeerFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
