//! Devices for the demonstration: a switch, a power supply and a camera that answer SNMP on loopback, and
//! a terminal that is switched off; and two lines, one of which leads nowhere.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::stage::Children;

/// Names and recordings of those that answer; the switch comes first.
const DEVICES: [(&str, &str); 3] = [
    ("hx-sw1", "huawei-vrp-switch"),
    ("jf-ups1", "apc-smart-ups"),
    ("ft3-cam1", "hikvision-camera"),
];
/// The one that is switched off, and where it would be.
const SILENT: (&str, &str) = ("ft3-terminal", "127.0.0.1:9");

/// Ports of the switch: names, what a person called them, Mbit/s, and whether a cable is in.
const PORTS: [(&str, &str, u32, bool); 12] = [
    ("GigabitEthernet0/0/1", "一楼立案大厅", 1000, true),
    ("GigabitEthernet0/0/2", "诉讼服务中心", 1000, true),
    ("GigabitEthernet0/0/3", "第三科技法庭", 1000, true),
    ("GigabitEthernet0/0/4", "第五科技法庭", 1000, true),
    ("GigabitEthernet0/0/5", "执行指挥中心", 1000, true),
    ("GigabitEthernet0/0/6", "档案室", 100, true),
    ("GigabitEthernet0/0/7", "羁押室", 100, true),
    ("GigabitEthernet0/0/8", "备用", 1000, false),
    ("GigabitEthernet0/0/9", "备用", 1000, false),
    ("GigabitEthernet0/0/10", "机房UPS", 100, true),
    ("XGigabitEthernet0/0/1", "至中院专线", 10_000, true),
    ("XGigabitEthernet0/0/2", "至省高院专线（备）", 10_000, false),
];

/// Starts the devices and writes the file that names them, in `folder`.
pub(super) fn start(
    program: &Path,
    library: &Path,
    folder: &Path,
    children: &mut Children,
) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--alive");
    for (place, (_, recording)) in DEVICES.iter().enumerate() {
        let file = library.join(recording).with_extension("snmprec");
        let file = match place {
            0 => with_ports(&file, folder)?,
            _ => file,
        };
        command.arg("1").arg(file);
    }
    let output = children.start_talking("devices", &mut command)?;
    let mut lines = BufReader::new(output).lines();
    let mut text = String::from("devices:\n");
    for (name, _) in DEVICES {
        let address = lines.next().context("a device has no address")??;
        write_device(&mut text, name, &address)?;
    }
    ensure!(
        lines.next().transpose()?.as_deref() == Some("ready"),
        "the devices did not start"
    );
    write_device(&mut text, SILENT.0, SILENT.1)?;
    let named = folder.join("devices.d");
    std::fs::create_dir_all(&named)?;
    std::fs::write(named.join("demo.yaml"), text).context("naming the devices")?;
    let named = folder.join("links.d");
    std::fs::create_dir_all(&named)?;
    std::fs::write(named.join("demo.yaml"), LINKS).context("naming the links")
}

/// Two lines of one host to itself: at the other end of one nobody listens.
const LINKS: &str = "\
reflector:
  listen: [127.0.0.1]
  peers:
    - {address: 127.0.0.0/8, key: a key of both ends}
links:
  - {name: zy-dianxin, address: 127.0.0.1, every: 15s, key: a key of both ends, note: 至中院 电信 200M}
  - {name: ft-yidong, address: \"127.0.0.1:9\", every: 15s, note: 至第三派出法庭 移动 20M}
";

fn write_device(text: &mut String, name: &str, address: &str) -> Result<()> {
    Ok(writeln!(
        text,
        "  - {{name: {name}, address: \"{address}\", every: 15s, \
         credentials: {{version: 2c, community: public}}}}"
    )?)
}

/// The recording with the ports of a court's switch.
fn with_ports(recording: &Path, folder: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(recording)
        .with_context(|| format!("reading {}", recording.display()))?;
    // Its own few rows of the table of ports go.
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("1.3.6.1.2.1.2.2.") && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    for (place, (name, alias, megabits, is_up)) in PORTS.iter().enumerate() {
        let index = place + 1;
        let state = if *is_up { 1 } else { 2 };
        let old = |column: u32, value: &str| format!("1.3.6.1.2.1.2.2.1.{column}.{index}|{value}");
        let new =
            |column: u32, value: &str| format!("1.3.6.1.2.1.31.1.1.1.{column}.{index}|{value}");
        lines.extend([
            old(2, &format!("4|{name}")),
            old(3, "2|6"),
            old(7, "2|1"),
            old(8, &format!("2|{state}")),
            new(1, &format!("4|{name}")),
            new(15, &format!("66|{megabits}")),
            new(18, &format!("4|{alias}")),
        ]);
        if *is_up {
            lines.extend([6, 7, 10, 11].map(|column| new(column, "70|1000000")));
            lines.extend([13, 14, 19, 20].map(|column| old(column, "65|0")));
        }
    }
    let file = folder.join("switch.snmprec");
    std::fs::write(&file, lines.join("\n") + "\n")?;
    Ok(file)
}
