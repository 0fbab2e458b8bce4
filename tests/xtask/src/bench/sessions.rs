//! Tens of thousands of live sessions: what they cost, and what happens when the controller dies.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::load::{self, Load};
use super::span::{Span, descriptors, machine_load, pause, resident_mib};
use super::{Programs, verdict};
use crate::stage::{Children, Ready, Stage};

/// Sessions that a province of courts has.
const WANTED: usize = 20_000;

/// Descriptors that controller and load generator need for other things.
const SPARE: usize = 500;

/// 1.5 GB.
const MOST_MIB: f64 = 1430.0;

/// The agent's default.
const INTERVAL: Duration = Duration::from_secs(15);

/// Longest wait for all sessions.
const CONNECT_WITHIN: Duration = Duration::from_secs(300);

/// A controller with its hosts connected.
struct Fleet {
    // Dropped in this order: hosts, controller, folder.
    hosts: Load,
    children: Children,
    ready: Ready,
    stage: Stage,
    count: usize,
    /// Before any session: share of a core, resident MiB.
    idle: (f64, f64),
}

/// Share of a core and memory of the controller with as many sessions as the machine allows.
pub(super) fn many(programs: &Programs) -> Result<()> {
    let mut fleet = Fleet::connect(programs)?;
    let id = fleet.controller()?;
    // The handshakes' work and the first frames belong to the start.
    pause(20);
    let (span, reports) = (Span::begin(id), fleet.hosts.get("acknowledged"));
    pause(programs.seconds.unwrap_or(600));
    let (spent, reports) = (span.end(), fleet.hosts.get("acknowledged") - reports);
    let (resident, most) = resident_mib(id);
    fleet.children.check()?;
    let cores = spent.cores();
    println!(
        "{} sessions for {:.0} s: {cores:.3} core ({:.3} user, {:.3} system), {resident:.0} MiB (most {most:.0}); \
         {:.0} reports/s acknowledged, {} sessions lost; machine load {}",
        fleet.count,
        spent.seconds,
        spent.user_s / spent.seconds,
        spent.system_s / spent.seconds,
        reports / spent.seconds,
        fleet.hosts.get("sessions") - fleet.hosts.get("connected"),
        machine_load()
    );
    let thousands = fleet.count as f64 / 1000.0;
    let slope = (
        (cores - fleet.idle.0) / thousands,
        (resident - fleet.idle.1) / thousands,
    );
    println!(
        "without sessions {:.3} core, {:.0} MiB; per 1,000 sessions {:.4} core, {:.1} MiB",
        fleet.idle.0, fleet.idle.1, slope.0, slope.1
    );
    let missing = (WANTED - fleet.count) as f64 / 1000.0;
    let holds = cores + missing * slope.0 <= 0.25 && most + missing * slope.1 <= MOST_MIB;
    verdict(
        "sessions-20k",
        &format!("{cores:.3} core, {most:.0} MiB at {} sessions", fleet.count),
        "none",
        &format!("0.25 core, {MOST_MIB} MiB at {WANTED}"),
        holds,
    );
    Ok(())
}

/// The controller is killed and started again under all of its sessions.
pub(super) fn storm(programs: &Programs) -> Result<()> {
    let mut fleet = Fleet::connect(programs)?;
    pause(20);
    let before = fleet.hosts.get("acknowledged");
    let start = Instant::now();
    Command::new("kill")
        .args(["-9", &fleet.controller()?.to_string()])
        .status()?;
    fleet
        .hosts
        .wait_until("connected", Duration::from_secs(60), |connected| {
            connected == 0.0
        })?;
    fleet.pin_port()?;
    let mut children = Children::default();
    // The old ready file would be believed.
    std::fs::remove_file(fleet.stage.folder().join("ready.json"))?;
    fleet.stage.start_controller(&mut children)?;
    let id = children.id("controller").context("no controller")?;
    let open_after = start.elapsed().as_secs_f64();
    let span = Span::begin(id);
    let wanted = fleet.count as f64;
    let half = fleet
        .hosts
        .wait_until("connected", CONNECT_WITHIN, |connected| {
            connected >= wanted / 2.0
        })?;
    fleet
        .hosts
        .wait_until("connected", CONNECT_WITHIN, |connected| connected >= wanted)?;
    let (back, spent) = (start.elapsed().as_secs_f64(), span.end());
    println!(
        "ports open again after {open_after:.1} s, half of {wanted} back after {:.1} s, all after {back:.1} s; \
         {:.2} core meanwhile ({:.1} s user, {:.1} s system); {} attempts failed; {:.0} MiB; machine load {}",
        open_after + half.as_secs_f64(),
        spent.cores(),
        spent.user_s,
        spent.system_s,
        fleet.hosts.get("failures"),
        resident_mib(id).1,
        machine_load()
    );
    // What waited goes up as backlog, is acknowledged and must be there too.
    pause(30);
    println!(
        "{} reports acknowledged before, {} in all",
        before,
        fleet.hosts.get("acknowledged")
    );
    let Fleet {
        hosts,
        children: old,
        stage,
        ..
    } = fleet;
    hosts.stop()?;
    drop((children, old));
    let said = load::verify(&stage)?;
    print!("{said}");
    let missing = load::field(&said, "missing").context("the check said nothing")?;
    verdict(
        "reconnect-storm",
        &format!(
            "{wanted} back in {back:.1} s, {:.2} core, {missing} acknowledged lost",
            spent.cores()
        ),
        "none",
        "60 s, 1 core, 0 lost",
        back <= 60.0 && spent.cores() <= 1.0 && missing == 0.0,
    );
    Ok(())
}

impl Fleet {
    fn connect(programs: &Programs) -> Result<Self> {
        let count = WANTED.min(descriptors().saturating_sub(SPARE));
        let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
        let mut hosts = load::prepare_fleet(&stage, count, INTERVAL, 0)?;
        let mut children = Children::default();
        let ready = stage.start_controller(&mut children)?;
        let id = children.id("controller").context("no controller")?;
        pause(2);
        let span = Span::begin(id);
        pause(5);
        let idle = (span.end().cores(), resident_mib(id).0);
        let span = Span::begin(id);
        load::announce(&stage, &ready)?;
        let took = hosts.wait_until("connected", CONNECT_WITHIN, |connected| {
            connected >= count as f64
        })?;
        let spent = span.end();
        println!(
            "{count} sessions after {:.0} s: {:.2} ms of CPU each, first report included; {} attempts failed",
            took.as_secs_f64(),
            spent.cpu_s() * 1000.0 / count as f64,
            hosts.get("failures")
        );
        Ok(Self {
            hosts,
            children,
            ready,
            stage,
            count,
            idle,
        })
    }

    fn controller(&self) -> Result<u32> {
        self.children.id("controller").context("no controller")
    }

    /// The next controller opens the port that the hosts know.
    fn pin_port(&self) -> Result<()> {
        let file = self.stage.folder().join("controller.yaml");
        let text = std::fs::read_to_string(&file)?;
        let pinned = text.replace(
            "agents: 127.0.0.1:0",
            &format!("agents: {}", self.ready.agents),
        );
        Ok(std::fs::write(file, pinned)?)
    }
}
