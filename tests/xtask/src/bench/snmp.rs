//! The row `snmp-walk`: what it costs to read the interfaces of a switch with 100 ports.
//!
//! The switches are played by a process of their own, so that what they need is nobody's. The peer is
//! net-snmp's `snmpbulkwalk`, a process for each table, as scripts call it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::load::field;
use super::span::machine_load;
use super::{Size, usage, verdict};
use crate::packages;
use crate::process::{call, cargo, output, target};

/// Switches.
const SWITCHES: &str = "200";

/// How often each is read by us; the peer reads each once.
const ROUNDS: &str = "20";

/// Ports of a switch.
const PORTS: u32 = 100;

/// Highest CPU time of 1,000 walks, seconds.
const BAR_S: f64 = 0.4;

pub(super) fn walk(_: &Size) -> Result<()> {
    packages::ensure(packages::TEST)?;
    call(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "xiezhi-test-device",
    ]))?;
    let example = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "xiezhi-devices",
        "--example",
        "walks",
    ];
    call(&mut cargo(&example))?;
    let folder = std::env::temp_dir().join(format!("xiezhi-snmp-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    let (ours, peer) = measured?;
    println!("machine load {}", machine_load());
    verdict(
        "snmp-walk",
        &format!("{ours:.3} CPU-s per 1,000 walks"),
        &format!("{peer:.1} (snmpbulkwalk, a process for each table)"),
        "0.4",
        ours <= BAR_S,
    );
    Ok(())
}

fn measure(folder: &Path) -> Result<(f64, f64)> {
    let recording = folder.join("switch.snmprec");
    std::fs::write(&recording, switch())?;
    let (switches, addresses) = Switches::start(&[SWITCHES], &recording)?;
    let list = folder.join("addresses");
    std::fs::write(&list, addresses.join("\n"))?;
    let mut walks = Command::new(target().join("release/examples/walks"));
    let said = output(walks.arg(ROUNDS).arg(&list))?;
    print!("{said}");
    let number = |name: &str| field(&said, name).with_context(|| format!("no {name} was said"));
    let ours = number("cpu_s")? / number("walks")? * 1000.0;
    let before = usage::waited_cpu_s();
    for address in &addresses {
        for table in ["1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"] {
            let mut peer = Command::new("snmpbulkwalk");
            peer.args(["-v2c", "-cpublic", "-Cr25", "-On", "-m", "", address, table]);
            let lines = output(&mut peer)?.lines().count();
            ensure!(
                lines >= 1900,
                "snmpbulkwalk printed {lines} lines of {table}"
            );
        }
    }
    let peer = (usage::waited_cpu_s() - before) / addresses.len() as f64 * 1000.0;
    drop(switches);
    Ok((ours, peer))
}

/// The played switches; they end with this.
pub(super) struct Switches(Child);

impl Drop for Switches {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Switches {
    /// Starts those that `words` ask for; their addresses come with them.
    pub(super) fn start(words: &[&str], recording: &Path) -> Result<(Self, Vec<String>)> {
        let mut child = Command::new(target().join("release/xiezhi-fake-devices"))
            .args(words)
            .arg(recording)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the switches")?;
        let output = child.stdout.take().context("no output")?;
        let switches = Self(child);
        let mut addresses = Vec::new();
        for line in BufReader::new(output).lines() {
            match line? {
                line if line == "ready" => return Ok((switches, addresses)),
                address => addresses.push(address),
            }
        }
        bail!("the switches ended");
    }
}

/// ifTable and ifXTable of a switch, as snmpsim writes them.
pub(super) fn switch() -> String {
    let mut lines = vec!["1.3.6.1.2.1.1.1.0|4|a switch of 100 ports".to_owned()];
    for port in 1..=PORTS {
        let mut add = |table: &str, column: u32, kind: &str, value: String| {
            lines.push(format!(
                "1.3.6.1.2.1.{table}.{column}.{port}|{kind}|{value}"
            ));
        };
        for column in 1..=22 {
            let (kind, value) = match column {
                2 => ("4", format!("GigabitEthernet0/0/{port}")),
                6 => ("4x", format!("001a2b3c4d{port:02x}")),
                1 | 3 | 4 | 7 | 8 => ("2", (column + port).to_string()),
                5 => ("66", "1000000000".to_owned()),
                9 => ("67", (port * 1000).to_string()),
                21 => ("66", "0".to_owned()),
                22 => ("6", "0.0".to_owned()),
                _ => ("65", (column * 100_000_007 + port).to_string()),
            };
            add("2.2.1", column, kind, value);
        }
        for column in 1..=19 {
            let (kind, value) = match column {
                1 | 18 => ("4", format!("GE0/0/{port}")),
                14 | 16 | 17 => ("2", "1".to_owned()),
                15 => ("66", "1000".to_owned()),
                19 => ("67", "0".to_owned()),
                6..=13 => (
                    "70",
                    (u64::from(column) << 40 | u64::from(port)).to_string(),
                ),
                _ => ("65", (column * 100_003 + port).to_string()),
            };
            add("31.1.1.1", column, kind, value);
        }
    }
    lines.join("\n")
}
