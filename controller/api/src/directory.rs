//! Which labels queries see on a host's series: what the controller knows of it now, so that a
//! host's whole history follows when it moves to another site.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use xiezhi_ingest::{Fleet, HostView};
use xiezhi_metrics::{Directory, Origin};
use xiezhi_model::SiteTree;
use xiezhi_promql::Labels;
use xiezhi_store::{Store, StoreError};

/// How old the table may be when a query begins. A move or a new host is seen after that.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// The controller's own key: what it records of itself. No enrolled host has it, and no site.
pub const OWN_HOST: xiezhi_series::HostKey = 0;

/// The fleet as origins of samples.
#[derive(Debug)]
pub(crate) struct FleetDirectory {
    fleet: Fleet,
    store: Store,
    made: tokio::sync::Mutex<Option<Instant>>,
    origins: RwLock<Arc<[Origin]>>,
}

impl FleetDirectory {
    pub(crate) fn new(fleet: Fleet, store: Store) -> Self {
        Self {
            fleet,
            store,
            made: tokio::sync::Mutex::default(),
            origins: RwLock::new(Arc::from([])),
        }
    }

    /// Brings the table up to date if it is older than [`FRESH_FOR`]. Queries call it first.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let mut made = self.made.lock().await;
        if made.is_some_and(|made| made.elapsed() < FRESH_FOR) {
            return Ok(());
        }
        let sites = self.store.site_tree().await?;
        let hosts = self.fleet.snapshot();
        let own = std::iter::once(own());
        let origins = own.chain(hosts.iter().map(|host| origin(host, &sites)));
        let origins = origins.collect();
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
        *made = Some(Instant::now());
        Ok(())
    }
}

impl Directory for FleetDirectory {
    fn origins(&self) -> Arc<[Origin]> {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&origins)
    }
}

fn own() -> Origin {
    Origin {
        key: OWN_HOST,
        site: 0,
        labels: Labels::new([("instance", "controller"), ("job", "xiezhi-controller")]),
    }
}

fn origin(host: &HostView, sites: &SiteTree) -> Origin {
    let site = sites.get(host.site).map_or("", |site| site.key.as_str());
    Origin {
        key: host.id.0,
        site: host.site.0,
        labels: Labels::new([
            ("host_id", host.id.to_string()),
            ("site_id", host.site.to_string()),
            ("site", site.to_owned()),
            ("instance", host.hostname.clone()),
            // What dashboards made for node_exporter select by.
            ("job", "node".to_owned()),
        ]),
    }
}
