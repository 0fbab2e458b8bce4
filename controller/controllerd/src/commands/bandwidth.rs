//! `bandwidth`: how much of a site's line backlog may take, hour by hour.

use anyhow::{Context as _, Result, bail};
use xiezhi_ingest::{HourlyBudget, new_site_bandwidth, site_bandwidths};
use xiezhi_model::{Site, SiteTree};
use xiezhi_store::Store;

use super::{by_console, open_store};
use crate::cli::Bandwidth;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// What is written down as the source of a setting.
const SOURCE: &str = "console";

/// Does what `bandwidth …` asks.
pub(super) async fn run(config: &Config, what: Bandwidth) -> Result<()> {
    let store = open_store(config).await?;
    let tree = store.site_tree().await?;
    match what {
        Bandwidth::Show { site } => show(&store, &tree, find(&tree, &site)?).await?,
        Bandwidth::Set { site, hours, limit } => {
            let site = find(&tree, &site)?;
            let now = current(&store, &tree, site).await?;
            let budget = now
                .map(|(_, budget)| budget)
                .unwrap_or_default()
                .with(hours.from, hours.to, limit.0);
            HourlyBudget::new(&budget.kbps)?;
            write(&store, site, Some(&budget)).await?;
            show(&store, &tree, site).await?;
        }
        Bandwidth::Clear { site } => {
            let site = find(&tree, &site)?;
            match current(&store, &tree, site).await? {
                Some((whose, _)) if whose.id == site.id => {}
                _ => bail!("{} has no budget of its own", site.name),
            }
            write(&store, site, None).await?;
            show(&store, &tree, site).await?;
        }
    }
    store.close().await;
    Ok(())
}

fn find<'a>(tree: &'a SiteTree, key: &str) -> Result<&'a Site> {
    tree.iter()
        .find(|site| site.key == key)
        .with_context(|| format!("there is no site {key}; `sites list` shows all"))
}

/// The budget that holds for `site` and the site that it comes from.
async fn current<'a>(
    store: &Store,
    tree: &'a SiteTree,
    site: &'a Site,
) -> Result<Option<(&'a Site, HourlyBudget)>> {
    let budgets = site_bandwidths(&store.settings_at(now_ms()).await?);
    let above = tree.ancestors(site.id);
    let mut upwards = std::iter::once(site.id).chain(above);
    Ok(upwards.find_map(|id| Some((tree.get(id)?, *budgets.get(&id)?))))
}

async fn write(store: &Store, site: &Site, budget: Option<&HourlyBudget>) -> Result<()> {
    let action = if budget.is_some() {
        "site.bandwidth_set"
    } else {
        "site.bandwidth_clear"
    };
    let setting = new_site_bandwidth(site.id, budget, now_ms(), SOURCE);
    let audit = by_console(action, format!("site:{}", site.key));
    Ok(store.add_setting(&setting, audit).await?)
}

async fn show(store: &Store, tree: &SiteTree, site: &Site) -> Result<()> {
    let Some((whose, budget)) = current(store, tree, site).await? else {
        say!("{}: no limit", site.name);
        return Ok(());
    };
    if whose.id == site.id {
        say!("{}: its own budget", site.name);
    } else {
        say!("{}: the budget of {}", site.name, whose.name);
    }
    for (hours, limit) in budget.runs() {
        let limit = match limit {
            None => "no limit".to_owned(),
            Some(0) => "live reports only".to_owned(),
            Some(kbps) => format!("{kbps} kbit/s"),
        };
        say!("{:02}:00-{:02}:00  {limit}", hours.start, hours.end);
    }
    Ok(())
}
