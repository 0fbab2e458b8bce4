//! Whose samples they are, and who may see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use xiezhi_promql::Labels;
use xiezhi_series::HostKey;

/// Labels that only the controller gives. A sender's labels of these names are left out, and a
/// query sees them on every series, so that a person's scope can be held to them.
pub const ASSIGNED: [&str; 2] = ["host_id", "site_id"];

/// A host, or another source of samples, as queries see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Its key in the engine.
    pub key: HostKey,
    /// The site that it belongs to now; its whole history follows when it moves.
    pub site: i64,
    /// Labels that each of its series carries: `host_id`, `site_id`, `instance`, `job`.
    pub labels: Labels,
}

/// Who there is, right now.
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// Every origin, by key. Called once per selection: keep it cheap.
    fn origins(&self) -> Arc<[Origin]>;
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
