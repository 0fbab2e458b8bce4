//! `host`: the machines that enrolled.

use anyhow::Result;
use xiezhi_model::HostId;

use super::{by_console, local_time, open_store};
use crate::cli::Host;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Does what `host …` asks.
pub(super) async fn run(config: &Config, what: Host) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Host::List => {
            let sites = store.site_tree().await?;
            for host in store.hosts().await? {
                let site = sites.get(host.site).map_or("?", |site| site.name.as_str());
                let state = if host.revoked_ms.is_some() {
                    "revoked"
                } else {
                    ""
                };
                let seen = match host.last_seen_ms {
                    // Written once a minute.
                    0 if now_ms() - host.enrolled_ms < 120_000 => "not yet".to_owned(),
                    0 => "never".to_owned(),
                    time_ms => local_time(time_ms),
                };
                say!(
                    "{:>6}  {:<24} last seen {seen:<19}  {state:<8} {site}",
                    host.id,
                    host.hostname
                );
            }
        }
        Host::Revoke { id, reason } => {
            let audit = by_console("host.revoke", id.to_string()).with("reason", reason.clone());
            store.revoke_host(HostId(id), &reason, audit).await?;
            say!("host {id} is revoked; a running controller closes its session within seconds");
        }
    }
    store.close().await;
    Ok(())
}
