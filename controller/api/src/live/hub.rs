//! The task behind every open page.
//!
//! Once a second at most it takes what the fleet says has changed, keeps what a page may have to
//! be told, and numbers it. Pages that fall behind (a slow line, a sleeping phone) are told to read
//! everything anew instead of being queued for: what is kept for all of them together is bounded.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::task::AbortHandle;
use xiezhi_ingest::{ChangedHosts, Clock, Fleet, HostView};
use xiezhi_model::{HostId, Presence, PresenceReason, Scope, SiteId};

use super::footprint::CpuMeter;
use crate::rows::Counts;

/// Least time between two sets.
const PACE: Duration = Duration::from_secs(1);
/// Sets that a page may be behind before it is told to read everything anew, and that a page that
/// comes back is given. At one a second: a minute.
const KEPT: usize = 64;
/// More changes than this in one set are told as "read everything anew": a line that carries 20,000
/// agents has come back.
const MOST_ROWS: usize = 1000;

/// What a page is told of one host.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveRow {
    pub(crate) id: i64,
    pub(crate) site: i64,
    presence: &'static str,
    reason: &'static str,
    since_ms: i64,
    last_report_ms: Option<i64>,
}

impl From<&HostView> for LiveRow {
    fn from(host: &HostView) -> Self {
        Self {
            id: host.id.0,
            site: host.site.0,
            presence: host.presence.presence.word(),
            reason: host.presence.reason.word(),
            since_ms: host.presence.since_ms,
            last_report_ms: host.presence.last_report_ms,
        }
    }
}

/// One numbered set of changes.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) number: u64,
    /// Of the whole province.
    pub(crate) counts: Counts,
    /// Sites whose own counts changed, and what they are now.
    pub(crate) sites: Vec<(SiteId, Counts)>,
    /// Hosts whose presence changed; `None` if there were too many to name.
    pub(crate) rows: Option<Vec<LiveRow>>,
    /// Hosts of which anything else changed, mostly because they reported.
    pub(crate) touched: Vec<HostId>,
}

/// Where pages ask.
#[derive(Debug)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    sender: broadcast::Sender<Arc<Changes>>,
    table: Mutex<Table>,
    /// Tells this run of the controller from the one before, whose numbers mean nothing here.
    run: i64,
}

#[derive(Debug, Default)]
struct Table {
    number: u64,
    counts: Counts,
    by_site: HashMap<SiteId, Counts>,
    known: HashMap<HostId, Known>,
    meters: HashMap<HostId, CpuMeter>,
    kept: VecDeque<Arc<Changes>>,
}

/// What was last told of a host.
type Known = (SiteId, Presence, PresenceReason);

/// What a look at hosts found.
#[derive(Debug, Default)]
struct Found<'a> {
    hosts: Vec<&'a HostView>,
    sites: BTreeSet<SiteId>,
}

/// A page's place in the sequence.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) receiver: broadcast::Receiver<Arc<Changes>>,
    /// What the page missed, if it is still kept; `None` means that it must read everything.
    pub(crate) missed: Option<Vec<Arc<Changes>>>,
    pub(crate) number: u64,
    pub(crate) counts: Counts,
    /// The counts of each site of the page's scope; empty for the province, which has `counts`.
    pub(crate) by_site: HashMap<SiteId, Counts>,
}

impl Hub {
    pub(crate) fn start(fleet: Fleet, clock: Clock) -> Self {
        // Subscribed before the first look, so that no change falls between.
        let changes = fleet.changes();
        let shared = Arc::new(Shared {
            sender: broadcast::Sender::new(KEPT),
            table: Mutex::default(),
            run: clock.now_ms(),
        });
        shared.table().take(&fleet.snapshot(), clock.now_ms());
        let task = tokio::spawn(follow(Arc::clone(&shared), fleet, clock, changes));
        Self {
            shared,
            task: task.abort_handle(),
        }
    }

    /// CPU seconds that a host's agent uses per hour, if known.
    pub(crate) fn agent_cpu(&self, host: HostId) -> Option<f64> {
        self.shared.table().meters.get(&host)?.seconds_per_hour()
    }

    /// Subscribes a page that last saw `last_id`, if it says so.
    pub(crate) fn subscribe(&self, last_id: Option<&str>, scope: &Scope) -> Subscription {
        let table = self.shared.table();
        let receiver = self.shared.sender.subscribe();
        let last = last_id.and_then(|id| id.split_once('.'));
        let last = last.filter(|(run, _)| *run == self.shared.run.to_string());
        let last = last.and_then(|(_, number)| number.parse::<u64>().ok());
        let missed = last.and_then(|last| table.since(last));
        let mut counts = table.counts;
        let mut by_site = HashMap::new();
        if let Some(sites) = scope.sites() {
            let of = |site: &SiteId| Some((*site, *table.by_site.get(site)?));
            by_site.extend(sites.iter().filter_map(of));
            counts = Counts::default();
            by_site.values().for_each(|of_site| counts.add_all(of_site));
        }
        Subscription {
            receiver,
            missed,
            number: table.number,
            counts,
            by_site,
        }
    }

    /// The text by which a browser names the set that it saw last.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{}.{number}", self.shared.run)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes over what hosts look like now; yields those whose presence changed, and their sites.
    fn take<'a>(&mut self, hosts: &'a [HostView], now_ms: i64) -> Found<'a> {
        let mut changed = Found::default();
        for host in hosts {
            if let Some(footprint) = host.footprint {
                let meter = CpuMeter::new(now_ms, footprint.cpu_ms);
                self.meters
                    .entry(host.id)
                    .or_insert(meter)
                    .read(now_ms, footprint.cpu_ms);
            }
            let state = (host.site, host.presence.presence, host.presence.reason);
            let before = if host.revoked_ms.is_some() {
                self.known.remove(&host.id)
            } else {
                self.known.insert(host.id, state)
            };
            if host.revoked_ms.is_none() && before == Some(state) {
                continue;
            }
            if let Some((site, presence, _)) = before {
                self.counts.remove(presence);
                self.by_site.entry(site).or_default().remove(presence);
                changed.sites.insert(site);
            }
            if host.revoked_ms.is_none() {
                self.counts.add(state.1);
                self.by_site.entry(state.0).or_default().add(state.1);
                changed.sites.insert(state.0);
            }
            if host.revoked_ms.is_none() || before.is_some() {
                changed.hosts.push(host);
            }
        }
        changed
    }

    /// Numbers and keeps a set.
    fn record(
        &mut self,
        sites: &BTreeSet<SiteId>,
        rows: Option<Vec<LiveRow>>,
        touched: Vec<HostId>,
    ) -> Arc<Changes> {
        self.number += 1;
        let of = |site: &SiteId| (*site, self.by_site.get(site).copied().unwrap_or_default());
        let changes = Arc::new(Changes {
            number: self.number,
            counts: self.counts,
            sites: sites.iter().map(of).collect(),
            rows,
            touched,
        });
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&changes));
        changes
    }

    /// The sets after `last`, if all of them are kept.
    fn since(&self, last: u64) -> Option<Vec<Arc<Changes>>> {
        let oldest = self
            .kept
            .front()
            .map_or(self.number + 1, |changes| changes.number);
        if last > self.number || last + 1 < oldest {
            return None;
        }
        Some(
            self.kept
                .iter()
                .filter(|changes| changes.number > last)
                .cloned()
                .collect(),
        )
    }
}

async fn follow(
    shared: Arc<Shared>,
    fleet: Fleet,
    clock: Clock,
    mut changes: broadcast::Receiver<ChangedHosts>,
) {
    let mut ids: Vec<HostId> = Vec::new();
    loop {
        let mut lagged = false;
        match changes.recv().await {
            Ok(set) => ids.extend_from_slice(&set),
            Err(RecvError::Lagged(_)) => lagged = true,
            Err(RecvError::Closed) => return,
        }
        loop {
            match changes.try_recv() {
                Ok(set) => ids.extend_from_slice(&set),
                Err(TryRecvError::Lagged(_)) => lagged = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let hosts = if lagged {
            fleet.snapshot()
        } else {
            ids.iter().filter_map(|&id| fleet.get(id)).collect()
        };
        let set = {
            let mut table = shared.table();
            let changed = table.take(&hosts, clock.now_ms());
            let few = changed.hosts.len() <= MOST_ROWS;
            let rows = few.then(|| changed.hosts.into_iter().map(LiveRow::from).collect());
            table.record(
                &changed.sites,
                rows,
                hosts.iter().map(|host| host.id).collect(),
            )
        };
        ids.clear();
        // Nobody listens while no page is open.
        shared.sender.send(set).ok();
        tokio::time::sleep(PACE).await;
    }
}
