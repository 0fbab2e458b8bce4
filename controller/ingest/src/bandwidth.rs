//! The bandwidth budgets of hosts: told when a session opens, and when one is changed.
//!
//! Budgets are dated settings of the store: one of the host wins over that of its site, which wins
//! over those of the sites above. Whoever sets one of a site, in the browser or at a console, only
//! writes the setting; the task here sees it within a second and tells the sessions concerned.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};
use xiezhi_model::{HostId, Setting, SiteId};
use xiezhi_protocol::message::{Bandwidth, Directive};
use xiezhi_store::{Store, StoreError};

use crate::budget::HourlyBudget;
use crate::context::Context;

/// What the settings of sites are called, before the number of the site.
const SITE: &str = "bandwidth.site.";
/// The same for hosts.
const HOST: &str = "bandwidth.host.";

/// How often the settings are looked at, besides when this process changed one.
const LOOK: Duration = Duration::from_millis(900);

/// Name of the setting that holds the budget of `host`: a [`Bandwidth`] as JSON.
#[must_use]
pub fn bandwidth_setting(host: HostId) -> String {
    format!("{HOST}{host}")
}

/// Name of the setting that holds the budget of `site` and all below it; an empty value means that
/// the site has none of its own.
#[must_use]
pub fn site_bandwidth_setting(site: SiteId) -> String {
    format!("{SITE}{site}")
}

/// The setting that gives `site` a budget from `now_ms` on, or with `None` takes it away.
#[must_use]
pub fn new_site_bandwidth(
    site: SiteId,
    budget: Option<&HourlyBudget>,
    now_ms: i64,
    source: &str,
) -> Setting {
    let written = |budget| serde_json::to_string(&Bandwidth::from(budget)).unwrap_or_default();
    Setting {
        key: site_bandwidth_setting(site),
        value: budget.map(written).unwrap_or_default(),
        valid_from_ms: now_ms,
        source: source.to_owned(),
    }
}

/// The budgets that sites have of their own, among the settings that apply.
#[must_use]
pub fn site_bandwidths(settings: &[Setting]) -> HashMap<SiteId, HourlyBudget> {
    let hourly = |(site, bandwidth): (SiteId, Bandwidth)| (site, HourlyBudget::from(&bandwidth));
    settings.iter().filter_map(of_site).map(hourly).collect()
}

/// How many hosts have a budget of their own, among the settings that apply.
#[must_use]
pub fn hosts_with_bandwidth(settings: &[Setting]) -> HashSet<HostId> {
    settings.iter().filter_map(of_host).collect()
}

/// The budgets of sites, as they were read last. Sites are few and change seldom, and thousands of
/// hosts may come back at once.
#[derive(Debug, Default)]
pub(crate) struct SiteBandwidth(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Tells whether the settings have changed since.
    mark: (i64, i64),
    budgets: HashMap<SiteId, Bandwidth>,
}

impl SiteBandwidth {
    /// Reads the settings anew if they changed; yields the sites whose hosts now have another
    /// budget.
    pub(crate) async fn refresh(
        &self,
        store: &Store,
        now_ms: i64,
    ) -> Result<HashSet<SiteId>, StoreError> {
        let mark = store.settings_mark(SITE, now_ms).await?;
        if mark == self.known().mark {
            return Ok(HashSet::new());
        }
        let settings = store.settings_at(now_ms).await?;
        let budgets = inherited(store, settings.iter().filter_map(of_site).collect()).await?;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, Known { mark, budgets });
        let sites = before.budgets.keys().chain(known.budgets.keys()).copied();
        let differs = |site: &SiteId| before.budgets.get(site) != known.budgets.get(site);
        Ok(sites.filter(differs).collect())
    }

    /// What the site of a host says; `None` if nobody has set anything.
    pub(crate) fn of_site(&self, site: SiteId) -> Option<Bandwidth> {
        self.known().budgets.get(&site).cloned()
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budget that `host` has of its own.
pub(crate) async fn of_host_alone(
    store: &Store,
    host: HostId,
    now_ms: i64,
) -> Result<Option<Bandwidth>, StoreError> {
    let own = store.setting(&bandwidth_setting(host), now_ms).await?;
    Ok(own.as_ref().and_then(parse))
}

/// Tells open sessions of changed budgets until `stop` changes.
pub(crate) async fn follow(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let mut timer = interval(LOOK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = context.fleet.budgets_changed() => {}
            _ = stop.changed() => return,
        }
        if let Err(failure) = tell(&context).await {
            let error: &dyn std::error::Error = &failure;
            warn!(error, "bandwidth budgets cannot be read, trying again");
        }
    }
}

async fn tell(context: &Context) -> Result<(), StoreError> {
    let now_ms = context.now_ms();
    let changed = context.bandwidth.refresh(&context.store, now_ms).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let settings = context.store.settings_at(now_ms).await?;
    let own = hosts_with_bandwidth(&settings);
    let mut told = 0;
    for (host, site) in context.fleet.connected() {
        if changed.contains(&site) && !own.contains(&host) {
            // Without any budget left: no limit.
            let bandwidth = context.bandwidth.of_site(site).unwrap_or_default();
            tokio::spawn(direct(context.fleet.clone(), host, bandwidth));
            told += 1;
        }
    }
    info!(sites = changed.len(), told, "bandwidth budgets changed");
    Ok(())
}

/// A host that is not reached learns its budget when its next session opens.
async fn direct(fleet: crate::Fleet, host: HostId, bandwidth: Bandwidth) {
    match fleet
        .send(host, Directive::SetBandwidth { bandwidth })
        .await
    {
        Ok(outcome) if outcome.outcome == "done" => {}
        Ok(outcome) => warn!(%host, outcome.outcome, outcome.detail, "budget was not taken"),
        Err(failure) => {
            let error: &dyn std::error::Error = &failure;
            debug!(%host, error, "budget was not told");
        }
    }
}

fn of_site(setting: &Setting) -> Option<(SiteId, Bandwidth)> {
    let site = setting.key.strip_prefix(SITE)?.parse().ok()?;
    Some((SiteId(site), parse(setting)?))
}

fn of_host(setting: &Setting) -> Option<HostId> {
    let host = setting.key.strip_prefix(HOST)?.parse().ok()?;
    parse(setting).map(|_| HostId(host))
}

fn parse(setting: &Setting) -> Option<Bandwidth> {
    if setting.value.is_empty() {
        return None;
    }
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
            tier: Tier::Other,
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
        let changed = budgets.refresh(&store, 1).await.unwrap();
        assert_eq!(changed, ids[..3].iter().copied().collect());
        assert!(budgets.refresh(&store, 1).await.unwrap().is_empty());
        let cases = [
            (HostId(7), ids[0], Some(7)),
            (HostId(8), ids[0], Some(1)),
            (HostId(8), ids[1], Some(2)),
            (HostId(8), ids[2], Some(2)),
            (HostId(8), ids[3], None),
        ];
        for (host, site, expected) in cases {
            let own = of_host_alone(&store, host, 1).await.unwrap();
            let budget = own.or_else(|| budgets.of_site(site));
            assert_eq!(budget.map(|budget| budget.bytes_per_second), expected);
        }
    }

    #[tokio::test]
    async fn a_budget_that_is_taken_away_leaves_that_of_the_site_above() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let above = store.site_by_key("a").await.unwrap().unwrap().id;
        let below = store.site_by_key("b").await.unwrap().unwrap().id;
        let limit = |kbps| HourlyBudget::default().with(0, 24, Some(kbps));
        let (wide, narrow) = (limit(80), limit(8));
        let steps = [(above, Some(&wide)), (below, Some(&narrow)), (below, None)];
        let budgets = SiteBandwidth::default();
        let mut seen = Vec::new();
        for (now_ms, (site, budget)) in (1..).zip(steps) {
            let setting = new_site_bandwidth(site, budget, now_ms, "test");
            store.add_setting(&setting, entry()).await.unwrap();
            let changed = budgets.refresh(&store, now_ms).await.unwrap();
            assert!(changed.contains(&below));
            assert_eq!(changed.contains(&above), site == above);
            let now = budgets.of_site(below).unwrap();
            seen.push(HourlyBudget::from(&now).kbps[0]);
        }
        assert_eq!(seen, [Some(80), Some(8), Some(80)]);
    }
}
