//! `host`: the machines that enrolled, and those that wait for it.

use std::path::Path;

use anyhow::{Result, ensure};
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{HOST_RECORD_HEADER, host_record_row};
use xiezhi_model::{Approval, ApprovalState, Host as Machine, HostId, Scope};
use xiezhi_store::Store;

use super::files::ListFile;
use super::{by_console, local_time, one_line, open_store};
use crate::cli::Host;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Does what `host …` asks.
pub(super) async fn run(config: &Config, what: Host) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Host::List => list(&store).await?,
        Host::Export { file, lang } => export(&store, &file, lang).await?,
        Host::Approvals { all } => approvals(&store, all).await?,
        Host::Approve { id } => {
            let host = decide(&store, id, true).await?;
            say!("request {id} of {host} is approved: it enrols within a minute");
        }
        Host::Refuse { id } => {
            let host = decide(&store, id, false).await?;
            say!("request {id} of {host} is refused");
        }
        Host::Revoke { id, reason } => {
            let audit =
                by_console("host.revoke", format!("host:{id}")).with("reason", reason.clone());
            store.revoke_host(HostId(id), &reason, audit).await?;
            say!("host {id} is revoked; a running controller closes its session within seconds");
        }
    }
    store.close().await;
    Ok(())
}

async fn list(store: &Store) -> Result<()> {
    let sites = store.site_tree().await?;
    for host in store.hosts().await? {
        let site = sites.get(host.site).map_or("?", |site| site.name.as_str());
        say!(
            "{:>6}  {:<24} {}  {site}",
            host.id,
            one_line(&host.hostname),
            state(&host, now_ms())
        );
    }
    Ok(())
}

/// What the database knows of the hosts; how they are now, the pages tell.
async fn export(store: &Store, file: &Path, language: Language) -> Result<()> {
    let sites = store.site_tree().await?;
    let hosts = store.hosts().await?;
    let mut list = ListFile::begin(file, &language.header(&HOST_RECORD_HEADER))?;
    let rows = hosts
        .iter()
        .map(|host| host_record_row(host, &sites, language));
    list.push(rows.collect())?;
    list.finish(store, by_console("hosts.export", "")).await
}

/// When it was last heard of, and since when it is refused.
fn state(host: &Machine, now_ms: i64) -> String {
    let seen = match host.last_seen_ms {
        // Written once a minute.
        0 if now_ms - host.enrolled_ms < 120_000 => "not yet".to_owned(),
        0 => "never".to_owned(),
        time_ms => local_time(time_ms),
    };
    let revoked = host.revoked_ms.map(local_time);
    let revoked = revoked.map_or_else(String::new, |time| format!("  revoked {time}"));
    format!("last seen {seen:<26}{revoked}")
}

async fn approvals(store: &Store, all: bool) -> Result<()> {
    let wanted = (!all).then_some(ApprovalState::Pending);
    let sites = store.site_tree().await?;
    let requests = store.approvals(wanted, &Scope::Province).await?;
    if requests.is_empty() {
        say!("no host waits");
    }
    for request in requests {
        let site = sites
            .get(request.site)
            .map_or("?", |site| site.name.as_str());
        say!(
            "{:>6}  {:<24} {:<8}  asked {}  token {}  {site}",
            request.id,
            one_line(&request.hostname),
            request.state.word(),
            local_time(request.requested_ms),
            request.token
        );
    }
    Ok(())
}

/// Decides once, and says so if somebody decided otherwise before. Returns the host's name.
async fn decide(store: &Store, id: i64, approve: bool) -> Result<String> {
    let action = if approve {
        "approval.approve"
    } else {
        "approval.refuse"
    };
    let audit = by_console(action, format!("approval:{id}"));
    let Approval {
        state,
        decided_by,
        hostname,
        ..
    } = store.decide_approval(id, approve, audit).await?;
    ensure!(
        approve != (state == ApprovalState::Refused),
        "request {id} was decided before, by {decided_by}: it is {}",
        state.word()
    );
    Ok(one_line(&hostname))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_inventory::demo_courts;
    use xiezhi_model::EnrolmentToken;
    use xiezhi_store::ApprovalRequest;

    #[tokio::test]
    async fn a_request_is_decided_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("state.db").display());
        let store = Store::open(&url).await.unwrap();
        let courts = demo_courts().unwrap();
        store
            .import_sites(&courts, by_console("sites.import", ""))
            .await
            .unwrap();
        let token = EnrolmentToken {
            id: "0a1b".to_owned(),
            secret_hash: "x".to_owned(),
            site: store.sites().await.unwrap()[0].id,
            uses: 2,
            uses_left: 2,
            expires_ms: now_ms() + 60_000,
            needs_approval: true,
            simulated: false,
            created_ms: now_ms(),
            created_by: "console".to_owned(),
            revoked_ms: None,
        };
        let audit = by_console("token.create", "");
        store.create_token(&token, audit).await.unwrap();
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            let request = ApprovalRequest {
                token: token.id.clone(),
                evidence_key: name.to_owned(),
                hostname: name.to_owned(),
                machine: name.to_owned(),
                version: "0.1.0".to_owned(),
            };
            let audit = by_console("host.approval_requested", "");
            let made = store.request_approval(&request, audit).await.unwrap();
            ids.push(made.id);
        }
        assert_eq!(decide(&store, ids[0], true).await.unwrap(), "one");
        assert_eq!(decide(&store, ids[1], false).await.unwrap(), "two");
        let otherwise = decide(&store, ids[1], true).await.unwrap_err().to_string();
        assert!(otherwise.contains("by console"), "{otherwise}");
        assert!(decide(&store, ids[0], false).await.is_err());
        assert!(decide(&store, 99, true).await.is_err());
        let waiting = store
            .approvals(Some(ApprovalState::Pending), &Scope::Province)
            .await
            .unwrap();
        assert_eq!(waiting, []);
    }
}
