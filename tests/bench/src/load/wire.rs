//! One host under a packet capture.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use xiezhi_protocol::report::Report;

use super::credentials;
use super::machine::Machine;
use super::province::{self, Behaviour, Counters, now_ms};
use super::remote_write;

/// Runs one host with a report each second, captures `reports` of them into `capture`, and says
/// how many bytes of payload a sample took, ours and as remote write.
///
/// # Errors
/// The controller or tcpdump did not do its part.
pub async fn run(
    data: &Path,
    passphrase: &str,
    address: &str,
    reports: u64,
    capture: &Path,
) -> Result<String> {
    let hosts = credentials::prepare(data, passphrase, 1).await?;
    let behaviour = Behaviour {
        address: address.to_owned(),
        interval: Duration::from_secs(1),
        start_within: Duration::ZERO,
        retry_within: Duration::from_secs(1),
        backlog: 0,
    };
    let counters = Arc::new(Counters::default());
    let tasks = province::start(hosts, &behaviour, &counters);
    // Key frame and first acknowledgements belong to the start, not to the steady state.
    reach(&counters.acknowledged, 8).await?;
    let port = address.rsplit(':').next().context("no port")?;
    let mut dump = tokio::process::Command::new("tcpdump")
        .args(["-i", "lo", "--immediate-mode", "-U", "-w"])
        .arg(capture)
        .args(["tcp", "port", port])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting tcpdump")?;
    let mut said = BufReader::new(dump.stderr.take().context("no output")?).lines();
    while let Some(line) = said.next_line().await? {
        if line.contains("listening on") {
            break;
        }
    }
    let (first, bytes) = (read(&counters.reports), read(&counters.payload_bytes));
    reach(&counters.reports, first + reports).await?;
    let sent = read(&counters.payload_bytes) - bytes;
    // The last report's acknowledgement may still be under way; it belongs to the next four.
    tokio::time::sleep(Duration::from_millis(500)).await;
    dump.kill().await?;
    drop(tasks);
    let mut machine = Machine::new(1, now_ms());
    let mut report = Report::new();
    let mut peer = 0;
    for step in 0..20 {
        machine.report(now_ms() + step * 1000, 1.0, &mut report);
        peer += remote_write::body(&report, "gs-host-01").len();
    }
    let samples = (reports as usize * report.len()) as f64;
    Ok(format!(
        "series {}\npayload_per_sample {:.3}\nremote_write_per_sample {:.2}\n",
        report.len(),
        sent as f64 / samples,
        peer as f64 / (20 * report.len()) as f64,
    ))
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

async fn reach(counter: &AtomicU64, wanted: u64) -> Result<()> {
    let start = std::time::Instant::now();
    let before = read(counter);
    while read(counter) < wanted {
        if start.elapsed() > Duration::from_secs(30 + 2 * (wanted - before)) {
            bail!("{} of {wanted} reached", read(counter));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
