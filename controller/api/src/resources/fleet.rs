//! The fleet in numbers: versions, states and footprint. The hosts themselves are `hosts.rs`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_ingest::HostView;

use crate::answer::Answer;
use crate::rows::{Counts, dropped_of};
use crate::view::View;

#[derive(Serialize, JsonSchema)]
pub(crate) struct FleetSummary {
    now_ms: i64,
    counts: Counts,
    simulated: usize,
    revoked: usize,
    connected: usize,
    versions: Vec<Version>,
    /// Mean of the agents that told; `None` if none did.
    agent_memory_bytes_mean: Option<u64>,
    dropped: u64,
    pending: u64,
}

/// How many hosts run a version.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Version {
    version: String,
    hosts: usize,
}

/// Versions by number of hosts, most first.
pub(crate) fn versions(hosts: &[HostView]) -> Vec<Version> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for host in hosts.iter().filter(|host| host.revoked_ms.is_none()) {
        *counts.entry(&host.version).or_default() += 1;
    }
    let version = |(version, hosts): (&str, usize)| Version {
        version: version.to_owned(),
        hosts,
    };
    let mut versions: Vec<Version> = counts.into_iter().map(version).collect();
    versions.sort_by(|a, b| {
        b.hosts
            .cmp(&a.hosts)
            .then_with(|| b.version.cmp(&a.version))
    });
    versions
}

pub(crate) async fn read(view: View) -> Answer<FleetSummary> {
    let mut hosts = view.hosts();
    let all = hosts.len();
    hosts.retain(|host| host.revoked_ms.is_none());
    let mut counts = Counts::default();
    hosts
        .iter()
        .for_each(|host| counts.add(host.presence.presence));
    let memory: Vec<u64> = hosts
        .iter()
        .filter_map(|host| host.footprint)
        .map(|cost| cost.memory_bytes)
        .collect();
    Answer(FleetSummary {
        now_ms: view.state.now_ms(),
        counts,
        simulated: hosts.iter().filter(|host| host.simulated).count(),
        revoked: all - hosts.len(),
        connected: hosts
            .iter()
            .filter(|host| host.connected_since_ms.is_some())
            .count(),
        versions: versions(&hosts),
        agent_memory_bytes_mean: memory.iter().sum::<u64>().checked_div(memory.len() as u64),
        dropped: hosts.iter().map(dropped_of).sum(),
        pending: hosts.iter().map(|host| host.spool.pending).sum(),
    })
}
