//! Public shapes that several resources share. Times are Unix milliseconds unless `_s` says seconds.

use schemars::JsonSchema;
use serde::Serialize;
use xiezhi_ingest::HostView;
use xiezhi_model::{Grant, Presence, SiteId, SiteTree};

/// A site as other resources name it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SiteName {
    pub(crate) id: i64,
    pub(crate) name: String,
}

impl SiteName {
    pub(crate) fn of(id: SiteId, tree: &SiteTree) -> Self {
        let name = tree
            .get(id)
            .map(|site| site.name.clone())
            .unwrap_or_default();
        Self { id: id.0, name }
    }

    /// The sites above this one and the site itself, from the root down.
    pub(crate) fn path_to(id: SiteId, tree: &SiteTree) -> Vec<Self> {
        let mut path = tree.ancestors(id);
        path.reverse();
        path.push(id);
        path.into_iter().map(|id| Self::of(id, tree)).collect()
    }
}

/// A role and where it holds.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RoleRow {
    pub(crate) role: &'static str,
    /// `None` is the whole province.
    pub(crate) site: Option<SiteName>,
}

impl RoleRow {
    pub(crate) fn new(grant: Grant, tree: &SiteTree) -> Self {
        Self {
            role: grant.role.word(),
            site: grant.site.map(|site| SiteName::of(site, tree)),
        }
    }
}

/// A host as other resources name it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct HostName {
    pub(crate) id: i64,
    pub(crate) hostname: String,
    pub(crate) simulated: bool,
}

impl From<&HostView> for HostName {
    fn from(host: &HostView) -> Self {
        Self {
            id: host.id.0,
            hostname: host.hostname.clone(),
            simulated: host.simulated,
        }
    }
}

/// How many hosts are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Counts {
    pub(crate) up: usize,
    pub(crate) stale: usize,
    pub(crate) down: usize,
    pub(crate) unknown: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, presence: Presence) {
        *self.of(presence) += 1;
    }

    pub(crate) fn remove(&mut self, presence: Presence) {
        let count = self.of(presence);
        *count = count.saturating_sub(1);
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.up += other.up;
        self.stale += other.stale;
        self.down += other.down;
        self.unknown += other.unknown;
    }

    fn of(&mut self, presence: Presence) -> &mut usize {
        match presence {
            Presence::Up => &mut self.up,
            Presence::Stale => &mut self.stale,
            Presence::Down => &mut self.down,
            Presence::Unknown => &mut self.unknown,
        }
    }
}

/// One host of a list. A revoked host is listed with the others and says so.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct HostRow {
    pub(crate) id: i64,
    pub(crate) hostname: String,
    pub(crate) site: SiteName,
    pub(crate) simulated: bool,
    pub(crate) presence: &'static str,
    /// A word of `PresenceReason`; also the key of its sentence in the screens.
    pub(crate) reason: &'static str,
    pub(crate) since_ms: i64,
    pub(crate) last_report_ms: Option<i64>,
    pub(crate) connected_since_ms: Option<i64>,
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) interval_ms: u32,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) memory_percent: Option<f64>,
    /// The fullest writable filesystem.
    pub(crate) disk_percent: Option<f64>,
    pub(crate) load1: Option<f64>,
    pub(crate) uptime_s: Option<f64>,
    pub(crate) series: usize,
    pub(crate) series_refused: usize,
    pub(crate) agent_memory_bytes: Option<u64>,
    /// CPU seconds of the agent per hour, over the last hour at most.
    pub(crate) agent_cpu_s_per_h: Option<f64>,
    /// Its clock minus the controller's.
    pub(crate) skew_ms: Option<i64>,
    /// Batches that its spool gave up since it was made.
    pub(crate) dropped: u64,
    /// Batches not yet acknowledged.
    pub(crate) pending: u64,
    pub(crate) spool_bytes: u64,
    /// Why its spool refuses to write; empty while all is well.
    pub(crate) trouble: String,
    pub(crate) identity_conflict_ms: Option<i64>,
    pub(crate) revoked_ms: Option<i64>,
    pub(crate) certificate_expires_s: i64,
}

/// Batches that a host's spool gave up.
pub(crate) fn dropped_of(host: &HostView) -> u64 {
    let sizes = host
        .spool
        .dropped
        .iter()
        .map(|gap| gap.last.saturating_sub(gap.first) + 1);
    sizes.fold(0, u64::saturating_add)
}

impl HostRow {
    /// `agent_cpu_s_per_h` comes from the hub, which watches the footprint over time.
    pub(crate) fn new(host: &HostView, tree: &SiteTree, agent_cpu_s_per_h: Option<f64>) -> Self {
        let headline = &host.headline;
        Self {
            id: host.id.0,
            hostname: host.hostname.clone(),
            site: SiteName::of(host.site, tree),
            simulated: host.simulated,
            presence: host.presence.presence.word(),
            reason: host.presence.reason.word(),
            since_ms: host.presence.since_ms,
            last_report_ms: host.presence.last_report_ms,
            connected_since_ms: host.connected_since_ms,
            address: host.address.clone(),
            version: host.version.clone(),
            interval_ms: host.interval_ms,
            cpu_percent: tenths(headline.cpu_busy_percent),
            memory_percent: tenths(headline.memory_used_percent),
            disk_percent: tenths(headline.filesystem_used_percent),
            load1: headline.load1,
            uptime_s: headline.uptime_s,
            series: host.series,
            series_refused: host.series_refused,
            agent_memory_bytes: host.footprint.map(|footprint| footprint.memory_bytes),
            agent_cpu_s_per_h,
            skew_ms: host.skew_ms,
            dropped: dropped_of(host),
            pending: host.spool.pending,
            spool_bytes: host.spool.bytes,
            trouble: host.spool.trouble.clone(),
            identity_conflict_ms: host.identity_conflict_ms,
            revoked_ms: host.revoked_ms,
            certificate_expires_s: host.certificate_expires_s,
        }
    }
}

/// No page shows more, and the digits would be most of the answer.
fn tenths(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 10.0).round() / 10.0)
}
