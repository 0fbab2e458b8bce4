//! The bandwidth budget of a site, hour by hour: its own, or that of the nearest site above.
//!
//! Setting one writes a dated setting and the audit entry with it; the agents' port then tells
//! every session that it concerns. Live reports are never held back, whatever is set here.

use std::collections::HashMap;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::{
    HOURS, HourlyBudget, MOST_KBPS, hosts_with_bandwidth, new_site_bandwidth, site_bandwidths,
};
use xiezhi_model::{Site, SiteId, SiteTree};

use crate::answer::{Answer, Done};
use crate::extract::{Json, Path};
use crate::problem::Problem;
use crate::rows::SiteName;
use crate::view::View;

/// What is written down as the source of a setting.
const SOURCE: &str = "site page";

/// A limit for each hour from 0 to 23, Asia/Shanghai, in kbit/s; `null` is unlimited, 0 lets only
/// live reports pass.
type Hours = [Option<u32>; HOURS];

#[derive(Serialize, JsonSchema)]
pub(crate) struct SiteBudget {
    /// Set for this site itself.
    own: Option<Hours>,
    /// What the site would have without one of its own.
    inherited: Option<Hours>,
    /// The site above that `inherited` comes from.
    inherited_from: Option<SiteName>,
    /// Hosts of this site and below that it concerns.
    hosts: usize,
    /// How many of them are connected now.
    connected: usize,
    /// How many of them have a budget of their own, which wins.
    exceptions: usize,
    most_kbps: u32,
}

pub(crate) async fn read(view: View, Path(id): Path<i64>) -> Result<Answer<SiteBudget>, Problem> {
    let (site, tree, state) = (view.site(id)?.id, view.tree(), &view.state);
    let settings = state.inner.store.settings_at(state.now_ms()).await?;
    let budgets = site_bandwidths(&settings);
    let exceptions = hosts_with_bandwidth(&settings);
    let above = nearest(&view.whole().ancestors(site), &budgets);
    let below = concerned(tree, site, &budgets);
    let mut hosts = view.hosts();
    hosts.retain(|host| below.contains(&host.site) && host.revoked_ms.is_none());
    Ok(Answer(SiteBudget {
        own: budgets.get(&site).map(|budget| budget.kbps),
        inherited: above.map(|(_, budget)| budget.kbps),
        inherited_from: above.map(|(site, _)| SiteName::of(site, view.whole())),
        hosts: hosts.len(),
        connected: hosts
            .iter()
            .filter(|host| host.connected_since_ms.is_some())
            .count(),
        exceptions: hosts
            .iter()
            .filter(|host| exceptions.contains(&host.id))
            .count(),
        most_kbps: MOST_KBPS,
    }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBudget {
    hours: Vec<Option<u32>>,
}

/// Gives the site a budget of its own.
pub(crate) async fn set(
    view: View,
    Path(id): Path<i64>,
    Json(NewBudget { hours }): Json<NewBudget>,
) -> Result<Done, Problem> {
    let budget = HourlyBudget::new(&hours)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_budget", error.to_string()))?;
    write(&view, view.site(id)?, Some(&budget)).await
}

/// Takes the site's own budget away: that of the nearest site above holds again.
pub(crate) async fn clear(view: View, Path(id): Path<i64>) -> Result<Done, Problem> {
    let (site, state) = (view.site(id)?, &view.state);
    let settings = state.inner.store.settings_at(state.now_ms()).await?;
    if !site_bandwidths(&settings).contains_key(&site.id) {
        return Err(Problem::not_found("budget: this site has none of its own"));
    }
    write(&view, site, None).await
}

async fn write(view: &View, site: &Site, budget: Option<&HourlyBudget>) -> Result<Done, Problem> {
    let (state, who) = (&view.state, &view.who);
    let now_ms = state.now_ms();
    let setting = new_site_bandwidth(site.id, budget, now_ms, SOURCE);
    let action = if budget.is_some() {
        "site.bandwidth_set"
    } else {
        "site.bandwidth_clear"
    };
    let audit = who.audit(now_ms, action, format!("site:{}", site.id));
    let audit = audit.with("key", site.key.clone());
    state.inner.store.add_setting(&setting, audit).await?;
    state.inner.fleet.notice_budgets();
    Ok(Done)
}

fn nearest<'a>(
    above: &[SiteId],
    budgets: &'a HashMap<SiteId, HourlyBudget>,
) -> Option<(SiteId, &'a HourlyBudget)> {
    let of = |&site: &SiteId| Some((site, budgets.get(&site)?));
    above.iter().find_map(of)
}

/// The site and those below it that have no budget nearer than its own.
fn concerned(
    tree: &SiteTree,
    site: SiteId,
    budgets: &HashMap<SiteId, HourlyBudget>,
) -> Vec<SiteId> {
    let mut found = Vec::new();
    let mut open = vec![site];
    while let Some(next) = open.pop() {
        found.push(next);
        let children = tree.children(next).iter();
        open.extend(children.filter(|&child| !budgets.contains_key(child)));
    }
    found
}
