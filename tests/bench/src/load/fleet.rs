//! Hosts at a cadence under a watcher: the state of all of them is printed many times a second, and
//! at the end every acknowledged number is written down.
//!
//! The watcher decides what happens to the controller meanwhile; the hosts only live through it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use xiezhi_protocol::range_set::RangeSet;

use super::credentials;
use super::province::{Behaviour, Counters, SimulatedHost};

/// Time between two status lines: the error of a time that a watcher measures.
pub const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// Connections per second at the start, below what a controller admits.
const STARTS_PER_SECOND: f64 = 350.0;

/// Longest wait before a host whose session was lost tries again; the agent's default.
const RETRY_WITHIN: Duration = Duration::from_secs(30);

/// What was acknowledged, by host.
pub type Acknowledged = BTreeMap<i64, RangeSet>;

/// Which hosts, and where they write what was acknowledged.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The controller's data folder, to prepare them in.
    pub data: &'a Path,
    /// Passphrase of its authority.
    pub passphrase: &'a str,
    /// The file that will hold the agents' address; the hosts wait for it.
    pub address_file: &'a Path,
    /// How many.
    pub count: usize,
    /// Time between two reports of a host.
    pub interval: Duration,
    /// JSON of [`Acknowledged`], written at the end.
    pub acknowledged_file: &'a Path,
    /// Reports of the time before that each host brings along.
    pub backlog: u64,
}

/// Prepares the hosts, prints `prepared FIRST LAST`, and lets them report until SIGTERM.
///
/// # Errors
/// They cannot be prepared, or the file cannot be written.
pub async fn run(plan: Plan<'_>, print: impl Fn(&str)) -> Result<()> {
    let hosts = credentials::prepare(plan.data, plan.passphrase, plan.count).await?;
    let ends = (
        hosts.first().map_or(0, |host| host.host),
        hosts.last().map_or(0, |host| host.host),
    );
    print(&format!("prepared {} {}", ends.0, ends.1));
    let behaviour = Behaviour {
        address: address(plan.address_file).await?,
        interval: plan.interval,
        start_within: Duration::from_secs_f64(plan.count as f64 / STARTS_PER_SECOND),
        retry_within: RETRY_WITHIN,
        backlog: plan.backlog,
    };
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for (seed, credentials) in hosts.into_iter().enumerate() {
        let (behaviour, counters, mut stopped) =
            (behaviour.clone(), Arc::clone(&counters), stopped.clone());
        tasks.spawn(async move {
            let id = credentials.host;
            let mut host = SimulatedHost::new(credentials, seed as u64 + 1);
            tokio::select! {
                () = host.run(&behaviour, &counters) => {}
                _ = stopped.changed() => {}
            }
            (id, host.acknowledged)
        });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut status = tokio::time::interval(STATUS_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = status.tick() => print(&describe(&counters)),
        }
    }
    stop.send_replace(true);
    let mut acknowledged = Acknowledged::new();
    while let Some(ended) = tasks.join_next().await {
        acknowledged.extend([ended?]);
    }
    std::fs::write(plan.acknowledged_file, serde_json::to_vec(&acknowledged)?)?;
    Ok(())
}

/// Waits for the file that will say where the agents' port is.
pub(super) async fn address(file: &Path) -> Result<String> {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            let ready: serde_json::Value = serde_json::from_str(&text)?;
            return Ok(ready
                .get("agents")
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn describe(counters: &Counters) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "status connected={} sessions={} failures={} reports={} acknowledged={} samples={} refused={} directives={}{}",
        read(&counters.connected),
        read(&counters.sessions),
        read(&counters.failures),
        read(&counters.reports),
        read(&counters.acknowledged),
        read(&counters.samples),
        read(&counters.refused),
        read(&counters.directives),
        counters.latencies.describe(),
    )
}
