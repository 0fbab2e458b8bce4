//! Which labels queries see on a host's, a device's or a source's series: what the controller knows of it now, so that a
//! host's whole history follows when it moves to another site.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use xiezhi_ingest::{Fleet, HostView};
use xiezhi_metrics::cluster::{FreshDirectory, Refreshed};
use xiezhi_metrics::{DEVICE, Directory, Origins, SOURCE};
use xiezhi_model::{ApiRight, Device, Scope, SiteId, SiteTree};
use xiezhi_promql::Labels;
use xiezhi_protocol::poll::link_of;
use xiezhi_series::{HostKey, LabelledHost, device_key};
use xiezhi_store::{Store, StoreError};

use crate::resources::prometheus::{is_back, warn_once};

/// How old the table may be when a query begins. A move or a new host is seen after that.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// The controller's own key: what it records of itself. No enrolled host has it, and no site.
pub const OWN_HOST: HostKey = 0;

/// The fleet as origins of samples.
#[derive(Debug)]
pub(crate) struct FleetDirectory {
    fleet: Fleet,
    store: Store,
    made: tokio::sync::Mutex<Option<Instant>>,
    origins: RwLock<Origins>,
}

impl FleetDirectory {
    pub(crate) fn new(fleet: Fleet, store: Store) -> Self {
        Self {
            fleet,
            store,
            made: tokio::sync::Mutex::default(),
            origins: RwLock::default(),
        }
    }

    /// Brings the table up to date if it is older than [`FRESH_FOR`]. Queries call it first.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let mut made = self.made.lock().await;
        if made.is_some_and(|made| made.elapsed() < FRESH_FOR) {
            return Ok(());
        }
        let (sites, sources) = match self.known().await {
            Ok(known) => known,
            // Nothing moves while the database is away: what was known holds.
            Err(error) if matches!(error, StoreError::Away(_)) && made.is_some() => {
                warn_once(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        is_back();
        let hosts = self.fleet.snapshot();
        // A hundred thousand labels of a province: not on a thread that agents share.
        let made_aside = tokio::task::spawn_blocking(move || table(sources, &hosts, &sites));
        let Ok(origins) = made_aside.await else {
            tracing::error!("the table of hosts could not be made: queries see the one before");
            return Ok(());
        };
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
        *made = Some(Instant::now());
        Ok(())
    }
}

impl FleetDirectory {
    /// The next query finds the table too old.
    #[cfg(test)]
    pub(crate) async fn make_old(&self) {
        let mut made = self.made.lock().await;
        *made = made.and_then(|made| made.checked_sub(FRESH_FOR));
    }

    async fn known(&self) -> Result<(SiteTree, Vec<(LabelledHost, i64)>), StoreError> {
        let sites = self.store.site_tree().await?;
        // The newest have the lowest keys, and all of them lower ones than tokens.
        let devices = self.store.devices(&Scope::Province).await?;
        let devices = devices.iter().rev();
        let mut sources: Vec<_> = devices
            .map(|device| (labelled_device(device, &sites), device.site.0))
            .collect();
        sources.extend(self.sources(&sites).await?);
        Ok((sites, sources))
    }

    /// Whoever may or might write: what came with a withdrawn token stays. Ascending by key.
    async fn sources(&self, sites: &SiteTree) -> Result<Vec<(LabelledHost, i64)>, StoreError> {
        // They come newest first, which of keys below zero is ascending.
        let tokens = self.store.api_tokens().await?.into_iter();
        let writers = tokens.filter(|token| token.right == ApiRight::WriteMetrics);
        let labelled = writers.filter_map(|token| {
            let site = token.site?;
            Some((labelled_source(token.id, site, sites), site.0))
        });
        Ok(labelled.collect())
    }
}

impl FreshDirectory for FleetDirectory {
    fn fresh(&self) -> Refreshed<'_> {
        Box::pin(async {
            self.refresh().await?;
            Ok(self.origins())
        })
    }
}

impl Directory for FleetDirectory {
    fn origins(&self) -> Origins {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        origins.clone()
    }
}

/// Devices, sources, the controller itself, hosts: ascending by key.
fn table(sources: Vec<(LabelledHost, i64)>, hosts: &[HostView], sites: &SiteTree) -> Origins {
    let mut all = sources;
    all.push((own(), 0));
    let known = hosts.iter();
    all.extend(known.map(|host| (labelled_host(host, sites), host.site.0)));
    let sites = all.iter().map(|one| one.1).collect();
    Origins {
        hosts: all.into_iter().map(|one| one.0).collect(),
        sites,
    }
}

fn own() -> LabelledHost {
    labelled(
        OWN_HOST,
        &[("instance", "controller"), ("job", "xiezhi-controller")],
    )
}

fn labelled_host(host: &HostView, sites: &SiteTree) -> LabelledHost {
    let site = sites.get(host.site).map_or("", |site| site.key.as_str());
    labelled(
        host.id.0,
        &[
            ("host_id", &host.id.to_string()),
            ("instance", &host.hostname),
            // What dashboards made for node_exporter select by.
            ("job", "node"),
            ("site", site),
            ("site_id", &host.site.to_string()),
        ],
    )
}

fn labelled_device(device: &Device, sites: &SiteTree) -> LabelledHost {
    let site = sites.get(device.site).map_or("", |site| site.key.as_str());
    // What dashboards made for snmp_exporter select by; what is measured of a link is no device's.
    let (instance, job) = match link_of(&device.name) {
        Some(link) => (link, "stamp"),
        None => (device.name.as_str(), "snmp"),
    };
    labelled(
        device_key(device.id.0),
        &[
            (DEVICE, &device.id.to_string()),
            ("instance", instance),
            ("job", job),
            ("site", site),
            ("site_id", &device.site.to_string()),
        ],
    )
}

/// The key of the source whose samples come with a token: below zero, where no host is.
pub(crate) fn source_key(token: i64) -> HostKey {
    token.saturating_neg()
}

fn labelled_source(token: i64, site: SiteId, sites: &SiteTree) -> LabelledHost {
    let name = sites.get(site).map_or("", |site| site.key.as_str());
    let (token_text, site_text) = (token.to_string(), site.to_string());
    labelled(
        source_key(token),
        &[
            ("site", name),
            ("site_id", &site_text),
            (SOURCE, &token_text),
        ],
    )
}

/// Labels must be sorted by name, and an empty value means none.
fn labelled(host: HostKey, labels: &[(&str, &str)]) -> LabelledHost {
    let labels = Labels::new(labels.iter().copied());
    LabelledHost {
        host,
        labels: labels.iter().cloned().collect(),
    }
}
