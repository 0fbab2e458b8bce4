//! Whose samples they are, and who may see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use xiezhi_series::{HostLabels, LabelledHost};

/// Labels that only the controller gives. A sender's labels of these names are left out, and a
/// query sees them on every series, so that a person's scope can be held to them.
pub const ASSIGNED: [&str; 5] = [DEVICE, "host_id", "site", "site_id", SOURCE];

/// The label by which series of a foreign source differ from those of hosts and of other sources: the
/// number of its token. No host has it.
pub const SOURCE: &str = "source_id";

/// The same of a device of the network: its number.
pub const DEVICE: &str = "device_id";

/// Everybody whose samples are kept, as queries see them.
#[derive(Debug, Clone)]
pub struct Origins {
    /// Hosts with the labels that each of their series carries (`host_id`, `site_id`, `instance`,
    /// `job`), devices of the network ([`DEVICE`], …) and foreign sources with theirs ([`SOURCE`],
    /// `site_id`), ascending by key.
    pub hosts: Arc<[LabelledHost]>,
    /// The site of each, in the same order; a host's whole history follows when it moves.
    pub sites: Arc<[i64]>,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            hosts: Arc::from([]),
            sites: Arc::from([]),
        }
    }
}

/// Who there is, right now.
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// Every origin. Called once per query: keep it cheap.
    fn origins(&self) -> Origins;
}

/// Whose series a caller sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    #[default]
    Province,
    /// Only origins of these sites, which is a site and all below it.
    Sites(Arc<BTreeSet<i64>>),
}

impl Scope {
    /// Whether a caller with this scope sees series of that site.
    #[must_use]
    pub fn sees(&self, site: i64) -> bool {
        match self {
            Self::Province => true,
            Self::Sites(sites) => sites.contains(&site),
        }
    }
}

/// The hosts that one caller sees, for the length of a query.
#[derive(Debug)]
pub(crate) struct Seen(Arc<[LabelledHost]>);

impl Seen {
    pub(crate) fn of(origins: Origins, scope: &Scope) -> Self {
        if *scope == Scope::Province {
            return Self(origins.hosts);
        }
        let each = origins.hosts.iter().zip(origins.sites.iter());
        let seen = each.filter(|(_, site)| scope.sees(**site));
        Self(seen.map(|(host, _)| host.clone()).collect())
    }
}

impl HostLabels for Seen {
    fn all(&self) -> Arc<[LabelledHost]> {
        Arc::clone(&self.0)
    }

    fn assigned(&self) -> &[&str] {
        &ASSIGNED
    }
}
