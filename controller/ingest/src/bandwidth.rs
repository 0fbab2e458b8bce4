//! The bandwidth budget that a host is told when its session opens.
//!
//! Budgets are dated settings of the store: one of the host wins over that of its site, which wins
//! over those of the sites above. A directive reaches an open session only; an agent that starts
//! again learns its budget here.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tracing::warn;
use xiezhi_model::{HostId, Setting, SiteId};
use xiezhi_protocol::message::Bandwidth;
use xiezhi_store::{Store, StoreError};

/// What the settings of sites are called, before the number of the site.
const SITE: &str = "bandwidth.site.";

/// Name of the setting that holds the budget of `host`: a [`Bandwidth`] as JSON.
#[must_use]
pub fn bandwidth_setting(host: HostId) -> String {
    format!("bandwidth.host.{host}")
}

/// The budgets of sites, as they were read last. Sites are few and change seldom, and thousands of
/// hosts may come back at once.
#[derive(Debug, Default)]
pub(crate) struct SiteBandwidth(RwLock<HashMap<SiteId, Bandwidth>>);

impl SiteBandwidth {
    /// Reads the settings anew.
    pub(crate) async fn refresh(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let settings = store.settings_at(now_ms).await?;
        let budgets = inherited(store, settings.iter().filter_map(of_site).collect()).await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = budgets;
        Ok(())
    }

    /// What applies to `host` of `site` now; `None` if nobody has set anything.
    pub(crate) async fn of(
        &self,
        store: &Store,
        (host, site): (HostId, SiteId),
        now_ms: i64,
    ) -> Result<Option<Bandwidth>, StoreError> {
        let own = store.setting(&bandwidth_setting(host), now_ms).await?;
        Ok(own.as_ref().and_then(parse).or_else(|| {
            let sites = self.0.read().unwrap_or_else(PoisonError::into_inner);
            sites.get(&site).cloned()
        }))
    }
}

fn of_site(setting: &Setting) -> Option<(SiteId, Bandwidth)> {
    let site = setting.key.strip_prefix(SITE)?.parse().ok()?;
    Some((SiteId(site), parse(setting)?))
}

fn parse(setting: &Setting) -> Option<Bandwidth> {
    serde_json::from_str(&setting.value)
        .inspect_err(|failure| {
            let error: &dyn std::error::Error = failure;
            warn!(
                error,
                key = setting.key,
                "a bandwidth setting is unreadable, set it again"
            );
        })
        .ok()
}

/// The budget of every site that has one or lies below one that has; the nearest wins.
async fn inherited(
    store: &Store,
    budgets: HashMap<SiteId, Bandwidth>,
) -> Result<HashMap<SiteId, Bandwidth>, StoreError> {
    if budgets.is_empty() {
        return Ok(budgets);
    }
    let tree = store.site_tree().await?;
    let nearest = |site: SiteId| {
        let above = tree.ancestors(site);
        let mut upwards = std::iter::once(&site).chain(&above);
        upwards.find_map(|site| budgets.get(site)).cloned()
    };
    let inherited = tree.iter().map(|site| (site.id, nearest(site.id)));
    Ok(inherited
        .filter_map(|(site, budget)| Some((site, budget?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use xiezhi_model::{Actor, AuditEntry, NewSite, Tier};

    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry::new(1, Actor::Console, "test", "")
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        let file = folder.path().join("state.db");
        let store = Store::open(&format!("sqlite://{}", file.display()))
            .await
            .unwrap();
        let sites = [("a", None), ("b", Some("a")), ("c", Some("b")), ("z", None)];
        let sites = sites.map(|(key, parent)| NewSite {
            key: key.to_owned(),
            name: key.to_owned(),
            tier: Tier::HighCourt,
            parent: parent.map(str::to_owned),
            court_code: String::new(),
        });
        store.import_sites(&sites, entry()).await.unwrap();
        store
    }

    #[tokio::test]
    async fn the_nearest_budget_applies_and_a_damaged_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let mut ids = Vec::new();
        for key in ["a", "b", "c", "z"] {
            ids.push(store.site_by_key(key).await.unwrap().unwrap().id);
        }
        let values = [
            (format!("{SITE}{}", ids[0].0), r#"{"bytes_per_second":1}"#),
            (format!("{SITE}{}", ids[1].0), r#"{"bytes_per_second":2}"#),
            (format!("{SITE}{}", ids[2].0), "{"),
            (bandwidth_setting(HostId(7)), r#"{"bytes_per_second":7}"#),
        ];
        for (key, value) in values {
            let setting = Setting {
                key,
                value: value.to_owned(),
                valid_from_ms: 1,
                source: String::new(),
            };
            store.add_setting(&setting, entry()).await.unwrap();
        }
        let budgets = SiteBandwidth::default();
        budgets.refresh(&store, 1).await.unwrap();
        let cases = [
            (HostId(7), ids[0], Some(7)),
            (HostId(8), ids[0], Some(1)),
            (HostId(8), ids[1], Some(2)),
            (HostId(8), ids[2], Some(2)),
            (HostId(8), ids[3], None),
        ];
        for (host, site, expected) in cases {
            let budget = budgets.of(&store, (host, site), 1).await.unwrap();
            assert_eq!(budget.map(|budget| budget.bytes_per_second), expected);
        }
    }
}
