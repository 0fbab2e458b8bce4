//! The cluster that the configuration names: prepared before the ports open, so that what cannot work
//! ends the start and not the night.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xiezhi_metrics::cluster::{
    Ask, AskSettings, FreshDirectory, Sender, SenderSettings, Status, Target,
};
use xiezhi_series::SeriesStore;

use crate::config::Config;

/// A cluster that can be sent to and asked.
pub(crate) struct Prepared {
    target: Arc<Target>,
    status: Status,
    ask: Option<Ask>,
    settings: SenderSettings,
}

/// Prepares the cluster of the configuration, if there is one.
pub(crate) fn prepare(config: &Config, registry: &Registry) -> Result<Option<Prepared>> {
    let Some(cluster) = &config.cluster else {
        return Ok(None);
    };
    let tls = cluster
        .tls
        .build()
        .context("setting up TLS to the cluster")?;
    let target = Target {
        write: cluster.write.clone(),
        query: cluster.query.clone().unwrap_or_default(),
        auth: cluster.auth.clone(),
        tenant: cluster.tenant.clone(),
        tls,
    };
    target
        .headers()
        .context("reading how the controller says who it is")?;
    let target = Arc::new(target);
    let asked = AskSettings {
        query_bytes: cluster.query_bytes,
        timeout: config.queries.timeout,
        ..AskSettings::default()
    };
    let ask = cluster
        .query
        .as_ref()
        .map(|_| Ask::new(Arc::clone(&target), asked))
        .transpose()
        .context("preparing queries to the cluster")?;
    Ok(Some(Prepared {
        target,
        status: Status::register(registry)?,
        ask,
        settings: SenderSettings {
            folder: folder(config),
            requests: cluster.requests,
            resend: cluster.resend,
            ..SenderSettings::default()
        },
    }))
}

/// Where the durable place lies.
fn folder(config: &Config) -> PathBuf {
    config.data_dir.join("cluster")
}

impl Prepared {
    /// What the interface shows and asks.
    pub(crate) fn shown(&self) -> xiezhi_api::Cluster {
        xiezhi_api::Cluster {
            status: self.status.clone(),
            ask: self.ask.clone(),
        }
    }

    /// Starts sending.
    pub(crate) fn start(
        self,
        series: SeriesStore,
        directory: Arc<dyn FreshDirectory>,
        stopped: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>> {
        let sender = Sender::new(series, directory, self.target, self.settings, self.status)
            .context("reading how far samples were sent on")?;
        Ok(tokio::spawn(sender.run(stopped)))
    }
}
