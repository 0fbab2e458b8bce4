//! The rows `trap-burst` and `snmp-fleet`: what asking devices costs a host, with the program as it is
//! shipped. The devices are played by a process of their own, what they tell is taken by another, so
//! that neither is counted.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::snmp::{Switches, switch};
use super::span::{Span, machine_load, resident_mib};
use super::{Size, verdict};
use crate::process::{call, cargo, target};

/// Traps of a storm, how many come at once, and of how many devices.
const TRAPS: u32 = 20_000;
const BURST: u32 = 50;
const SENDERS: u32 = 50;

/// Devices that are asked each minute, and how many more are dead.
const FLEET: u32 = 3_000;
const DEAD: u32 = 30;

/// Most of a core, and memory in MiB.
const BAR: (f64, f64) = (0.03, 30.0);

/// How late a device may be asked because others are dead, milliseconds.
const LATE_MS: u64 = 1_000;

/// 20,000 traps of 50 devices, 50 each millisecond: none may be lost.
pub(super) fn traps(_: &Size) -> Result<()> {
    let folder = prepare()?;
    let recording = folder.join("switch.snmprec");
    std::fs::write(&recording, device())?;
    let (switches, addresses) = Switches::start(&["--spread", &SENDERS.to_string()], &recording)?;
    write_devices(&folder, &addresses, 0)?;
    let port = free_port()?;
    let mut asker = Asker::start(&folder, &["--traps", &format!("127.0.0.1:{port}")])?;
    asker.report(|report| number(report, "/polls") >= u64::from(SENDERS))?;
    let before = Span::begin(asker.id);
    let took = storm(port)?;
    let taken = |report: &Value| number(report, "/traps/taken") == u64::from(TRAPS);
    // What is lost never comes: after half a minute that is the figure.
    let report = asker.report_within(taken, Duration::from_secs(30))?;
    let spent = before.end();
    let told = |place: &str| number(&report, place);
    let (kernel, queue) = (told("/traps/lost/kernel"), told("/traps/lost/queue"));
    let (taken, held_back) = (told("/traps/taken"), told("/traps/held_back"));
    let missing = u64::from(TRAPS) - taken;
    println!(
        "{TRAPS} sent in {:.2} s by {SENDERS} devices; received {}, dropped by the kernel {kernel}, by the queue {queue}; told {}, held back {held_back}",
        took.as_secs_f64(),
        told("/traps/received"),
        taken - told("/traps/repeated") - held_back,
    );
    println!(
        "CPU {:.2} s, polls at once included; machine load {}",
        spent.cpu_s(),
        machine_load()
    );
    drop((asker, switches));
    std::fs::remove_dir_all(&folder)?;
    verdict(
        "trap-burst",
        &format!("{missing} of {TRAPS} lost"),
        "none",
        "0",
        missing == 0,
    );
    Ok(())
}

/// 3,000 switches with 100 ports each minute, and 30 more that are dead.
pub(super) fn fleet(size: &Size) -> Result<()> {
    let folder = prepare()?;
    let recording = folder.join("switch.snmprec");
    std::fs::write(&recording, device())?;
    let count = size
        .hosts
        .map_or(FLEET, |hosts| u32::try_from(hosts).unwrap_or(FLEET));
    let minutes = size.minutes.unwrap_or(3);
    let (switches, addresses) =
        Switches::start(&["--alive", "--spread", &count.to_string()], &recording)?;
    write_devices(&folder, &addresses, DEAD)?;
    let mut asker = Asker::start(&folder, &[])?;
    // Within the first minute each is asked for the first time and recognised.
    let answered = |report: &Value| number(report, "/answered") >= u64::from(count);
    asker.report_within(answered, Duration::from_secs(180))?;
    asker.worst_ms = 0;
    let before = asker.report(|_| true)?;
    let span = Span::begin(asker.id);
    // What it says is read meanwhile, because a pipe that is full would hold everything up.
    asker.report_within(|_| false, Duration::from_secs(60 * minutes))?;
    let spent = span.end();
    let (now_mib, most_mib) = resident_mib(asker.id);
    let after = asker.report(|_| true)?;
    let answers = number(&after, "/answered") - number(&before, "/answered");
    let worst = asker.worst_ms;
    println!(
        "{count} switches and {DEAD} dead ones for {minutes} min: about {answers} polls answered"
    );
    println!(
        "CPU {:.2} s (user {:.2}, system {:.2}); RSS {now_mib:.1} MiB, at most {most_mib:.1}; asked at most {worst} ms late; machine load {}",
        spent.cpu_s(),
        spent.user_s,
        spent.system_s,
        machine_load()
    );
    drop((asker, switches));
    std::fs::remove_dir_all(&folder)?;
    verdict(
        "snmp-fleet",
        &format!(
            "{:.2} % of a core, {most_mib:.1} MiB, {worst} ms late",
            spent.cores() * 100.0
        ),
        "none",
        "3 %, 30 MiB, none delayed",
        spent.cores() <= BAR.0 && most_mib <= BAR.1 && worst <= LATE_MS,
    );
    Ok(())
}

/// A number of a report; 0 if it is not there.
fn number(report: &Value, place: &str) -> u64 {
    report
        .pointer(place)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// Builds what is needed, and makes the folder.
fn prepare() -> Result<PathBuf> {
    for package in ["xiezhi-test-device", "xiezhi-devicesd"] {
        call(&mut cargo(&[
            "build",
            "--quiet",
            "--release",
            "--package",
            package,
        ]))?;
    }
    let folder = std::env::temp_dir().join(format!("xiezhi-devices-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("devices.d"))?;
    std::fs::create_dir_all(folder.join("profiles.d"))?;
    std::fs::write(folder.join("profiles.d/switch.yaml"), PROFILE)?;
    Ok(folder)
}

/// What is read of a switch: what all are read for that have ports.
const PROFILE: &str = "profile: switch\nversion: 1\nkind: switch\nsource: made for this figure\n\
    label: {zh: 交换机, en: switch}\nextends: [generic-system, generic-interfaces]\n\
    match:\n  - {sys_object_id: [1.3.6.1.4.1.99999.1], priority: 1}\n";

/// A switch of 100 ports that says what it is.
fn device() -> String {
    format!(
        "{}\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.99999.1\n1.3.6.1.2.1.1.3.0|67|100000000\n1.3.6.1.2.1.1.5.0|4|switch\n",
        switch()
    )
}

fn write_devices(folder: &Path, addresses: &[String], dead: u32) -> Result<()> {
    let nobody = (0..dead).map(|number| format!("127.200.0.{}:161", number + 1));
    let mut text = String::from("credentials: {all: {version: 2c, community: public}}\ndevices:\n");
    for (number, address) in addresses.iter().cloned().chain(nobody).enumerate() {
        text.push_str(&format!(
            "- {{name: sw-{number}, address: '{address}', credentials: all}}\n"
        ));
    }
    Ok(std::fs::write(folder.join("devices.d/all.yaml"), text)?)
}

fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.port())
}

/// Sends all traps, 50 each millisecond, each of another port, from the devices' own addresses.
fn storm(port: u16) -> Result<Duration> {
    let first = u32::from(Ipv4Addr::new(127, 16, 0, 1));
    let sockets = (0..SENDERS).map(|number| UdpSocket::bind((Ipv4Addr::from(first + number), 0)));
    let sockets: Vec<UdpSocket> = sockets.collect::<std::io::Result<_>>()?;
    let start = Instant::now();
    for burst in 0..TRAPS / BURST {
        for (socket, place) in sockets.iter().cycle().zip(0..BURST) {
            let trap = trap(burst * BURST + place);
            socket.send_to(&trap, (Ipv4Addr::LOCALHOST, port))?;
        }
        let due = start + Duration::from_millis(u64::from(burst) + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(start.elapsed())
}

/// A linkDown over SNMPv2c with the community `public`; the port is written in four octets.
fn trap(number: u32) -> Vec<u8> {
    let [high, middle, low] = [14, 7, 0].map(|by| u8::try_from(number >> by & 0x7f).unwrap_or(0));
    let port = [0x81, 0x80 | high, 0x80 | middle, low];
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap_or(0);
        [&[tag, length], content].concat()
    };
    let name = [&[0x2b, 6, 1, 2, 1, 2, 2, 1, 1][..], &port].concat();
    let value = element(2, &[1, high, middle, low]);
    let bindings = [
        element(0x30, &[6, 8, 0x2b, 6, 1, 2, 1, 1, 3, 0, 0x43, 1, 7]),
        element(
            0x30,
            &[
                6, 10, 0x2b, 6, 1, 6, 3, 1, 1, 4, 1, 0, 6, 9, 0x2b, 6, 1, 6, 3, 1, 1, 5, 3,
            ],
        ),
        element(0x30, &[element(6, &name), value].concat()),
    ];
    let head = [2, 1, 5, 2, 1, 0, 2, 1, 0];
    let pdu = element(
        0xa7,
        &[&head[..], &element(0x30, &bindings.concat())].concat(),
    );
    element(0x30, &[&[2, 1, 1, 4, 6][..], b"public", &pdu].concat())
}

/// The program, with somebody who takes what it hands over; both end with this.
struct Asker {
    stand_in: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    /// The program's own number.
    id: u32,
    worst_ms: u64,
}

impl Drop for Asker {
    fn drop(&mut self) {
        // Its standard input closes, and it ends the program.
        drop(self.stand_in.stdin.take());
        drop(self.stand_in.wait());
    }
}

impl Asker {
    fn start(folder: &Path, words: &[&str]) -> Result<Self> {
        let target = target().join("release");
        let log = std::fs::File::create(folder.join("log"))?;
        let mut stand_in = Command::new(target.join("xiezhi-stand-in"))
            .arg(target.join("xiezhi-devices"))
            .args(["run", "--report-every", "1", "--config-dir"])
            .arg(folder.join("devices.d"))
            .arg("--state")
            .arg(folder.join("state"))
            .arg("--profiles")
            .arg(folder.join("profiles.d"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("starting the program")?;
        let output = stand_in.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next().context("it said nothing")??;
        let id = first
            .strip_prefix("pid ")
            .context("it has no number")?
            .parse()?;
        Ok(Self {
            stand_in,
            lines,
            id,
            worst_ms: 0,
        })
    }

    fn report(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let patience = Duration::from_secs(300);
        let report = self.report_within(&wanted, patience)?;
        ensure!(
            wanted(&report),
            "no such report within {patience:?}: {report}"
        );
        Ok(report)
    }

    /// The first report that is as wanted, or the last that came in time.
    fn report_within(
        &mut self,
        wanted: impl Fn(&Value) -> bool,
        patience: Duration,
    ) -> Result<Value> {
        let start = Instant::now();
        loop {
            let line = self.lines.next().context("the program ended")??;
            if let Some(text) = line.strip_prefix("worst ") {
                self.worst_ms = self.worst_ms.max(text.parse()?);
            }
            let Some(text) = line.strip_prefix("report ") else {
                continue;
            };
            let report: Value = serde_json::from_str(text)?;
            if wanted(&report) || start.elapsed() > patience {
                return Ok(report);
            }
        }
    }
}
