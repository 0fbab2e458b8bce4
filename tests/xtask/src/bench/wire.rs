//! What a report costs a thin line: bytes at IP level, both ways, by packet capture.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Programs, verdict};
use crate::process::{output, target};
use crate::stage::{Children, Stage};

/// Reports that are counted.
const REPORTS: u32 = 120;

/// Length of an Ethernet header, which loopback captures carry too.
const LINK_HEADER: usize = 14;

/// One simulated host of 150 series, a report each second: acknowledgements are batched by number,
/// so the pattern on the line is that of 15 s.
pub(super) fn bytes(programs: &Programs) -> Result<()> {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut children = Children::default();
    let ready = stage.start_controller(&mut children)?;
    let port: u16 = ready
        .agents
        .rsplit(':')
        .next()
        .context("no port")?
        .parse()?;
    let capture = stage.folder().join("wire.pcap");
    let mut load = Command::new(target().join("release/xiezhi-load"));
    load.arg("wire")
        .arg(stage.folder().join("controller"))
        .arg(stage.folder().join("passphrase"));
    load.arg(&ready.agents)
        .arg(REPORTS.to_string())
        .arg(&capture);
    // It starts the capture itself, once the session is up and its first reports are acknowledged.
    let said = output(load.stderr(Stdio::inherit()))?;
    std::thread::sleep(Duration::from_millis(200));
    print!("{said}");
    let (up, down) = count(
        &std::fs::read(&capture).context("reading the capture")?,
        port,
    )?;
    let payload: f64 =
        field(&said, "payload_per_sample").context("the load generator said nothing")?;
    let peer: f64 = field(&said, "remote_write_per_sample").unwrap_or(f64::NAN);
    let reports = f64::from(REPORTS);
    let (up, both) = (up as f64 / reports, (up + down) as f64 / reports);
    println!("{up:.0} B up and {both:.0} B both ways per report at IP level");
    let holds = payload <= 1.4 && up <= 320.0 && both <= 400.0;
    verdict(
        "wire-bytes",
        &format!("{payload:.2} B/sample, {up:.0} B up, {both:.0} B both ways"),
        &format!("{peer:.1} B/sample (remote write 1.0 with snappy, same reports)"),
        "1.4 B/sample, 320 B up, 400 B both ways",
        holds,
    );
    Ok(())
}

fn field(said: &str, name: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// IP bytes towards `port` and from it, of a classic pcap file (little-endian, Ethernet).
fn count(capture: &[u8], port: u16) -> Result<(u64, u64)> {
    let (header, mut rest) = capture
        .split_at_checked(24)
        .context("the capture is empty")?;
    if header.get(..4) != Some(&[0xd4, 0xc3, 0xb2, 0xa1]) {
        bail!("not a classic pcap file");
    }
    let (mut up, mut down) = (0, 0);
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let length = head
            .get(8..12)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        let length = length as usize;
        let (packet, next) = after
            .split_at_checked(length)
            .context("the capture is cut")?;
        rest = next;
        let Some(ip) = packet.get(LINK_HEADER..) else {
            continue;
        };
        let ip_length = u64::from(u16::from_be_bytes([byte(ip, 2), byte(ip, 3)]));
        let tcp = usize::from(byte(ip, 0) & 0x0f) * 4;
        let to = u16::from_be_bytes([byte(ip, tcp + 2), byte(ip, tcp + 3)]);
        if to == port {
            up += ip_length;
        } else {
            down += ip_length;
        }
    }
    Ok((up, down))
}

fn byte(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or_default()
}
