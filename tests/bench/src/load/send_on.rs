//! What it costs to send stored samples on to a cluster: the controller's own sender, alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use prometheus::Registry;
use tokio::sync::watch;
use xiezhi_metrics::Origins;
use xiezhi_metrics::cluster::{
    Auth, FreshDirectory, Refreshed, Sender, SenderSettings, Status, Target, TlsSettings,
};
use xiezhi_promql::Label;
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Frame, LabelledHost, SeriesOptions, SeriesStore};

use super::machine::Machine;
use super::province::now_ms;
use super::verify::own_cpu_s;

const INTERVAL_MS: i64 = 15_000;
/// A sender that stands still for so long is broken.
const PATIENCE: Duration = Duration::from_secs(300);

/// Stores `reports` reports of `hosts` hosts, then sends them to `port` and says what that took.
///
/// # Errors
/// The store or the sender fails, or the sender stands still.
pub async fn run(port: u16, hosts: i64, reports: u64) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let options = SeriesOptions {
        hold: Some(Duration::from_secs(86_400)),
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&folder.path().join("series"), options)?;
    let samples = fill(&store, hosts, reports)?;
    // The highest from now on is the sender's.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before_mib = memory_mib("VmRSS:")?;
    let status = Status::register(&Registry::new())?;
    let settings = SenderSettings {
        folder: folder.path().join("cluster"),
        ..SenderSettings::default()
    };
    let sender = Sender::new(
        store,
        Arc::new(Province::of(hosts)),
        Arc::new(target(port)?),
        settings,
        status.clone(),
    )?;
    let (stop, stopped) = watch::channel(false);
    let (began, cpu) = (Instant::now(), own_cpu_s()?);
    let running = tokio::spawn(sender.run(stopped));
    while status.now().sent < samples {
        ensure!(began.elapsed() < PATIENCE, "stands at {:?}", status.now());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (cpu, wall) = (own_cpu_s()? - cpu, began.elapsed());
    let highest_mib = memory_mib("VmHWM:")?;
    stop.send_replace(true);
    running.await?;
    ensure!(status.now().sent == samples, "some came twice");
    Ok(format!(
        "samples {samples}\nwall_s {:.1}\ncpu_s_per_million {:.4}\nsender_mib {:.0}\nbefore_mib {before_mib:.0}\n",
        wall.as_secs_f64(),
        cpu / samples as f64 * 1e6,
        highest_mib - before_mib,
    ))
}

fn fill(store: &SeriesStore, hosts: i64, reports: u64) -> Result<u64> {
    let start_ms = now_ms() - reports as i64 * INTERVAL_MS;
    let machine = |host: i64| {
        (
            Machine::new(host as u64, start_ms),
            Encoder::new(INTERVAL_MS as u32),
        )
    };
    let mut machines: Vec<_> = (1..=hosts).map(machine).collect();
    let mut samples = 0;
    let mut report = Report::new();
    for seq in 1..=reports {
        let mut encoded = Vec::with_capacity(machines.len());
        for (machine, encoder) in &mut machines {
            machine.report(start_ms + seq as i64 * INTERVAL_MS, 15.0, &mut report);
            samples += report.len() as u64;
            let mut bytes = Vec::new();
            let batch = encoder.encode(seq, &report, &mut bytes);
            let key = peek(&bytes).context("a frame")?.key;
            encoded.push((batch, key, bytes));
        }
        let frames = (1..=hosts).zip(&encoded);
        let frames = frames.map(|(host, (batch, key, bytes))| Frame {
            host,
            epoch: 1,
            batch: *batch,
            key: *key,
            bytes,
        });
        store.append(&frames.collect::<Vec<_>>())?;
    }
    Ok(samples)
}

fn target(port: u16) -> Result<Target> {
    let base = format!("http://127.0.0.1:{port}");
    Ok(Target {
        write: format!("{base}/api/v1/write").parse()?,
        query: base.parse()?,
        auth: Auth::None,
        tenant: None,
        tls: TlsSettings::default().build()?,
    })
}

/// The labels that a controller gives its hosts.
#[derive(Debug)]
struct Province(Origins);

impl Province {
    fn of(hosts: i64) -> Self {
        let label = |name: &str, value: String| Label {
            name: name.into(),
            value: value.as_str().into(),
        };
        let labelled = (1..=hosts).map(|host| LabelledHost {
            host,
            labels: vec![
                label("host_id", host.to_string()),
                label("instance", format!("host-{host:05}")),
                label("job", "xiezhi".to_owned()),
                label("site", format!("gs-{:02}", host % 100)),
                label("site_id", (host % 100).to_string()),
            ],
        });
        Self(Origins {
            hosts: labelled.collect(),
            ..Origins::default()
        })
    }
}

impl FreshDirectory for Province {
    fn fresh(&self) -> Refreshed<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

fn memory_mib(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kilobytes.with_context(|| format!("no {field}"))? / 1024.0)
}
