//! The sample engine alone, next to programs that are given the same recorded reports.
//!
//! An hour of reports of three busy kernels (`tests/bench/recordings`) is replayed as many hosts, each at
//! its own place of a recording and with its own size of steps. Ours takes frames without a network; peers
//! take remote write over one connection.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::load::field;
use super::peers::free_port;
use super::span::Span;
use super::{Size, verdict};
use crate::packages;
use crate::process::{call, cargo, output, root, target};
use crate::stage::Children;

/// Series of a busy host in these rows; the recordings have more, of which these are spread.
const SERIES: &str = "150";
/// Hosts that a peer is given: what a sample costs it does not depend on how many there are.
const PEER_HOSTS: u64 = 20;

/// Disk after a day, everything included: an hour more, so that the day's block and its rollups are
/// there.
pub(super) fn disk_bytes(size: &Size) -> Result<()> {
    let (hosts, minutes) = (size.hosts.unwrap_or(1000), size.minutes.unwrap_or(1500));
    let folder = Folder::new("disk")?;
    let said = feed(&folder.0, hosts, minutes, &["--series", SERIES])?;
    print!("{said}");
    let ours = number(&said, "disk_bytes_per_sample")?;
    let mut peers = Vec::new();
    for peer in PEERS {
        let running = Peer::start(peer)?;
        let sent = running.send(PEER_HOSTS.min(hosts), minutes, &["--series", SERIES])?;
        running.settle()?;
        peers.push((running.disk_bytes()? / number(&sent, "samples")?, peer.name));
    }
    let holds = ours <= 1.3;
    verdict(
        "disk-bytes",
        &format!("{ours:.2} B/sample"),
        &list(&peers, "B/sample"),
        "1.3 B/sample",
        holds,
    );
    Ok(())
}

/// CPU time of the storage path, cutting and merging included.
pub(super) fn ingest(size: &Size) -> Result<()> {
    let cost = |said: &str| number(said, "cpu_s_per_million");
    let small = cost(&fed(
        size.hosts.unwrap_or(1334),
        size.minutes.unwrap_or(120),
    )?)?;
    let large = cost(&fed(
        size.hosts.unwrap_or(20_000),
        size.minutes.unwrap_or(40),
    )?)?;
    let mut peers = Vec::new();
    for peer in PEERS {
        let running = Peer::start(peer)?;
        let span = Span::begin(running.id()?);
        let sent = running.send(200, 10, &["--series", SERIES])?;
        peers.push((
            span.end().cpu_s() / number(&sent, "samples")? * 1e6,
            peer.name,
        ));
    }
    verdict(
        "engine-ingest",
        &format!("{small:.3} s/M at 200,000 series, {large:.3} s/M at 3 million"),
        &list(&peers, "s/M at 30,000"),
        "0.15 s/M",
        small.max(large) <= 0.15,
    );
    Ok(())
}

/// Resident memory at its highest.
pub(super) fn memory(size: &Size) -> Result<()> {
    let highest = |said: &str| number(said, "highest_mib");
    let small = highest(&fed(
        size.hosts.unwrap_or(1334),
        size.minutes.unwrap_or(75),
    )?)?;
    let large = highest(&fed(
        size.hosts.unwrap_or(20_000),
        size.minutes.unwrap_or(40),
    )?)?;
    let mut peers = Vec::new();
    for peer in PEERS {
        let running = Peer::start(peer)?;
        running.send(1334, 3, &["--series", SERIES])?;
        peers.push((running.resident_mib()?, peer.name));
    }
    verdict(
        "engine-memory",
        &format!("{small:.0} MiB at 200,000 series, {large:.0} MiB at 3 million"),
        &list(&peers, "MiB at 200,000"),
        "150 MB and 1.2 GB",
        small * 1.048_576 <= 150.0 && large * 1.048_576 <= 1200.0,
    );
    Ok(())
}

/// Feeds frames of 150 series, of a few hosts sent as many, so that the feeder stays small.
fn fed(hosts: u64, minutes: u64) -> Result<String> {
    let folder = Folder::new("ingest")?;
    let said = feed(
        &folder.0,
        hosts,
        minutes,
        &["--series", SERIES, "--templates", "60"],
    )?;
    print!("{said}");
    Ok(said)
}

pub(super) fn feed(folder: &Path, hosts: u64, minutes: u64, more: &[&str]) -> Result<String> {
    let mut command = engine()?;
    command.arg("feed").arg(folder);
    command
        .args(shape(hosts, minutes))
        .args(more)
        .args(recordings());
    output(&mut command)
}

fn shape(hosts: u64, minutes: u64) -> [String; 4] {
    [
        "--hosts".to_owned(),
        hosts.to_string(),
        "--minutes".to_owned(),
        minutes.to_string(),
    ]
}

fn recordings() -> [PathBuf; 3] {
    ["build", "database", "network"].map(|name| {
        root()
            .join("tests/bench/recordings")
            .join(format!("{name}.rec"))
    })
}

/// The engine's tool, built.
pub(super) fn engine() -> Result<Command> {
    let build = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "xiezhi-series",
        "--example",
        "engine",
    ];
    call(&mut cargo(&build))?;
    Ok(Command::new(target().join("release/examples/engine")))
}

pub(super) fn number(said: &str, name: &str) -> Result<f64> {
    field(said, name).with_context(|| format!("no {name} was said"))
}

pub(super) fn list(peers: &[(f64, &str)], unit: &str) -> String {
    let one = |(value, name): &(f64, &str)| format!("{value:.2} {unit} ({name})");
    peers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A program that stores the same.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    program: &'static str,
    write: &'static str,
    health: &'static str,
}

pub(super) const PEERS: [Kind; 2] = [
    Kind {
        name: "VictoriaMetrics",
        program: "victoria-metrics",
        write: "api/v1/write",
        health: "/health",
    },
    Kind {
        name: "Prometheus",
        program: "prometheus",
        write: "api/v1/write",
        health: "/-/ready",
    },
];

/// A running peer, with a folder of its own.
pub(super) struct Peer {
    kind: Kind,
    pub(super) port: u16,
    children: Children,
    folder: Folder,
}

impl Peer {
    pub(super) fn start(kind: Kind) -> Result<Self> {
        packages::ensure(packages::BENCH)?;
        let folder = Folder::new(kind.program)?;
        let port = free_port()?;
        let mut command = Command::new(kind.program);
        let data = folder.0.join("data");
        if kind.program == "prometheus" {
            let configuration = folder.0.join("prometheus.yml");
            std::fs::write(&configuration, "global: {}\n")?;
            command
                .arg(format!("--config.file={}", configuration.display()))
                .args(["--web.enable-remote-write-receiver", "--log.level=error"])
                .arg("--storage.tsdb.retention.time=100y")
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!("--storage.tsdb.path={}", data.display()));
        } else {
            command
                .args(["-loggerLevel=ERROR", "-retentionPeriod=100y"])
                .args(["-search.disableCache", "-search.latencyOffset=0s"])
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .arg(format!("-storageDataPath={}", data.display()));
        }
        let mut children = Children::default();
        children.start(
            kind.program,
            command.stdout(Stdio::null()).stderr(Stdio::null()),
        )?;
        let mut peer = Self {
            kind,
            port,
            children,
            folder,
        };
        peer.wait()?;
        Ok(peer)
    }

    fn wait(&mut self) -> Result<()> {
        for _ in 0..600 {
            if self.get(self.kind.health).is_ok() {
                return Ok(());
            }
            self.children.check()?;
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} never answered well", self.kind.program)
    }

    fn id(&self) -> Result<u32> {
        self.children.id(self.kind.program).context("no peer")
    }

    pub(super) fn get(&self, path: &str) -> Result<String> {
        let answer = super::http::request(self.port, "GET", path, &[], "")?;
        ensure!(
            answer.status == 200,
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(answer.body)
    }

    pub(super) fn send(&self, hosts: u64, minutes: u64, more: &[&str]) -> Result<String> {
        let mut command = engine()?;
        command
            .arg("send")
            .arg(format!("{}/{}", self.port, self.kind.write));
        command
            .args(shape(hosts, minutes))
            .args(more)
            .args(recordings());
        output(&mut command)
    }

    /// Lets it write what it holds and merge what it wrote.
    pub(super) fn settle(&self) -> Result<()> {
        if self.kind.program == "victoria-metrics" {
            self.get("/internal/force_flush")?;
            self.get("/internal/force_merge")?;
            std::thread::sleep(Duration::from_secs(10));
        }
        Ok(())
    }

    fn disk_bytes(&self) -> Result<f64> {
        let said = output(
            Command::new("du")
                .args(["-s", "--block-size=1"])
                .arg(&self.folder.0),
        )?;
        let bytes = said
            .split_ascii_whitespace()
            .next()
            .context("du said nothing")?;
        Ok(bytes.parse()?)
    }

    fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line
            .and_then(|line| line.split_ascii_whitespace().nth(1))
            .context("no VmRSS")?;
        Ok(kilobytes.parse::<f64>()? / 1024.0)
    }
}

/// A temporary folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("xiezhi-engine-{name}-{}", std::process::id()));
        remove(&path);
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}
